"""The whole report in one command: ``python -m evals.reproduce --config mini | full`` (see ``__main__``)."""
