"""``python -m evals.judge``."""

from evals.common.command import run
from evals.judge.command import agree, label, pair, rank, score

run(score, pair, rank, agree, label)
