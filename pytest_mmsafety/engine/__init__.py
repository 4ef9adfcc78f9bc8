"""Cases asked in batches, on two threads, and kept."""
