"""``python -m evals.nextline``."""

from evals.common.command import run
from evals.nextline.command import command

run(command)
