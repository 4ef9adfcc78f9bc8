"""MLLMGuard."""
