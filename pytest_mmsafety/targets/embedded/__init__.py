"""The offline demo target."""
