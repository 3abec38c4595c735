"""The folder with the evaluation results and training runs that the pages show."""

from __future__ import annotations

import os
from pathlib import Path

RUNS = "EGOSRAG_APP_RUNS"


def runs_folder() -> Path:
    """The folder that the environment variable names, else ``runs`` in the checkout."""
    return Path(os.environ.get(RUNS) or Path(__file__).resolve().parents[2] / "runs")
