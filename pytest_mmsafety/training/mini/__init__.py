"""Training of GuardRank-mini."""
