"""The embedded model, measured."""
