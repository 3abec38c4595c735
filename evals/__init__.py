"""Evaluations, each a command: ``python -m evals.NAME --help`` (README.md lists them).

Modules here are commands of one file; packages give the order to read their files in their docstrings. Read ``common``
first: records, experiment, estimates. Evaluations use public names of egosrag only, and none imports another's command.
"""
