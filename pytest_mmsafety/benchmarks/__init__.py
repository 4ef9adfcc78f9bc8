"""The published benchmarks: their data read, their metrics exactly, their published results."""
