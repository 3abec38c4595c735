"""Speed, each side in one run on the same work: ``python -m evals.speed.chat | ppl | train | rag --json``."""
