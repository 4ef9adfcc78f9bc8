"""The pytest plugin. Only here is pytest imported."""
