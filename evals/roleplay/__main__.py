"""``python -m evals.roleplay``."""

from evals.common.command import run
from evals.roleplay.command import command

run(command)
