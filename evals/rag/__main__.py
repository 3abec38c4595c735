"""``python -m evals.rag``."""

from evals.common.command import run
from evals.rag.command import command

run(command)
