"""Gates evaluated on runs."""
