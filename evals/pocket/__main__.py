"""``python -m evals.pocket``."""

from evals.common.command import run
from evals.pocket.command import command

run(command)
