"""The folder of a run: where its checkpoints and its result stand, and which of them are whole.

A checkpoint that was cut off (a kill, a full disk) is never resumed from and never replaces a whole one; the result
is written beside its place first and moved there at the end.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from egosrag.errors import TrainingError

CHECKPOINTS = "checkpoints"
PARTIAL = ".partial"  # a result that is not whole yet
SAMPLES = "samples.jsonl"  # what the model said meanwhile


def prepare(out: Path, *, resume: bool, overwrite: bool) -> Path | None:
    """Make the place of the result ready.

    Returns:
        The checkpoint to resume from, or None.

    Raises:
        TrainingError: there is a result or an unfinished run already, or nothing to resume.
    """
    if out.exists() and not out.is_dir():
        raise TrainingError(f"{out} is a file: give --out a folder")
    checkpoints = out / CHECKPOINTS
    last = whole_checkpoint(checkpoints)
    if resume:
        if last is None:
            raise TrainingError(f"there is no whole checkpoint in {checkpoints}: start without --resume")
        for broken in set(checkpoints.glob("checkpoint-*")):
            if not _is_whole(broken):
                shutil.rmtree(broken)
        return last
    if not overwrite and last is not None:
        raise TrainingError(f"{out} holds an unfinished run: go on with --resume true, or start with --overwrite true")
    if not overwrite and (out / "run.json").exists():
        raise TrainingError(f"{out} holds a finished run: give another --out, or --overwrite true")
    shutil.rmtree(checkpoints, ignore_errors=True)
    return None


def whole_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint in ``folder`` that was written to its end: the trainer's state is its last file."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]), reverse=True)
    return next((path for path in found if _is_whole(path)), None)


def _is_whole(path: Path) -> bool:
    try:
        json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def unsaved(folder: Path, error: Exception, last: Path | None) -> TrainingError:
    """The error of a checkpoint or result that could not be written; ``last`` is the whole one to go on from."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())[:160]
    if "inline_container" in reason:  # torch's archive writer, where the system took fewer bytes than it was given
        reason = "no space left on the disk"
    then = f"go on from {last.name} with --resume true" if last else "start again"
    return TrainingError(f"cannot save {folder}: {reason}; free some space and {then}")


def publish(partial: Path, out: Path) -> None:
    """Move what ``save`` wrote to its place, and drop the checkpoints that led to it."""
    for path in sorted(partial.iterdir()):
        os.replace(path, out / path.name)
    partial.rmdir()
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
