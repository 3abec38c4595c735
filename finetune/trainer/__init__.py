"""A training run: settings, model, loss, the loop, its record."""
