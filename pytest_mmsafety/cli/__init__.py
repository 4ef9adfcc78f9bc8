"""The ``mmsafety`` command."""
