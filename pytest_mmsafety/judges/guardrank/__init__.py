"""MLLMGuard's judge."""
