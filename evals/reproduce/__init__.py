"""The whole report in one command: ``python -m evals.reproduce --config mini | full``.

``stages`` reads a plan (``mini.yaml``, ``full.yaml``) and runs its commands; ``material`` makes the data of the mini
plan; ``page`` writes the results beside the report's own (``original.yaml``).
"""
