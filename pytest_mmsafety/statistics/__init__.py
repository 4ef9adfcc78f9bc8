"""Estimates with intervals, decisions about bounds, families of them."""
