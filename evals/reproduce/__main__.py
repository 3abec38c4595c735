"""``python -m evals.reproduce``."""

from evals.common.command import run
from evals.reproduce.command import command

run(command)
