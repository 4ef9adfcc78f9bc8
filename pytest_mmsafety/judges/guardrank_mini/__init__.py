"""GuardRank-mini: the small judge that is shipped, and its training."""
