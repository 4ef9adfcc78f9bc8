"""The published metrics, exactly as their authors compute them, one module a benchmark.

Pure functions on plain labels, for figures that compare with published ones. What gates use, with intervals,
is in :mod:`pytest_mmsafety.metrics`.
"""
