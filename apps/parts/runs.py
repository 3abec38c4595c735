"""The folder with the evaluation results and training runs that the pages show."""

from __future__ import annotations

import os
from pathlib import Path

RUNS = "EGOSRAG_APP_RUNS"


def runs_folder() -> Path:
    """The folder that the environment variable names, else ``runs`` of the current folder, else of the checkout."""
    if named := os.environ.get(RUNS):
        return Path(named)
    here = Path.cwd() / "runs"
    return here if here.is_dir() else Path(__file__).resolve().parents[2] / "runs"
