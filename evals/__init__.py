"""Evaluations, each a command: python -m evals.NAME --help. They use the package's public names only."""
