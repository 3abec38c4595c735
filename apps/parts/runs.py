"""The folder whose runs are shown: of evaluations and of trainings."""

from __future__ import annotations

import os
from pathlib import Path

RUNS = "EGOSRAG_APP_RUNS"


def runs() -> Path:
    """The folder that the environment names, else ``runs`` of the checkout."""
    return Path(os.environ.get(RUNS) or Path(__file__).resolve().parents[2] / "runs")
