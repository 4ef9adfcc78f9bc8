"""The search for what breaks a model: perturbed variants asked within a budget, shrunk, kept."""
