"""MMSafeAware."""
