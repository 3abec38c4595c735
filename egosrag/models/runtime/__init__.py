"""The inference runtime of local checkpoints."""
