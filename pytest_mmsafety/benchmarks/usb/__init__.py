"""USB-SafeBench."""
