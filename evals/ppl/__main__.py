"""``python -m evals.ppl``."""

from evals.common.command import run
from evals.ppl.command import command

run(command)
