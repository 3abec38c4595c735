"""The output folder of a run: start or resume it, find its last complete checkpoint, move the result into place.

An interrupted checkpoint (a kill, a full disk) is never resumed from and never replaces a complete one; the result is
written to ``.partial`` first and moved into place at the end.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from egosrag.errors import TrainingError

CHECKPOINTS = "checkpoints"
PARTIAL = ".partial"  # a result that is not complete yet
SAMPLES = "samples.jsonl"  # replies to the sample prompts during the training


def prepare(out: Path, *, resume: bool, overwrite: bool) -> Path | None:
    """Prepare the output folder.

    Returns:
        The checkpoint to resume from, or None.

    Raises:
        TrainingError: the folder contains a result or an unfinished run, or there is nothing to resume.
    """
    if out.exists() and not out.is_dir():
        raise TrainingError(f"{out} is a file: give --out a folder")
    checkpoints = out / CHECKPOINTS
    last = last_complete_checkpoint(checkpoints)
    if resume:
        if last is None:
            raise TrainingError(f"there is no complete checkpoint in {checkpoints}: start without --resume")
        for checkpoint in set(checkpoints.glob("checkpoint-*")):
            if not _is_complete(checkpoint):
                shutil.rmtree(checkpoint)
        return last
    if not overwrite and last is not None:
        raise TrainingError(
            f"{out} contains an unfinished run: continue it with --resume true, or start anew with --overwrite true"
        )
    if not overwrite and (out / "run.json").exists():
        raise TrainingError(f"{out} contains a finished run: give another --out, or --overwrite true")
    shutil.rmtree(checkpoints, ignore_errors=True)
    return None


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint in ``folder`` that was written completely; the trainer's state is its last file."""
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]), reverse=True)
    return next((path for path in checkpoints if _is_complete(path)), None)


def _is_complete(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def save_error(folder: Path, error: Exception, last: Path | None) -> TrainingError:
    """The error for a checkpoint or result that could not be written; ``last`` is the checkpoint to resume from."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())[:160]
    if "inline_container" in reason:  # torch's archive writer, when the disk is full
        reason = "no space left on the disk"
    then = f"continue from {last.name} with --resume true" if last else "start again"
    return TrainingError(f"cannot save {folder}: {reason}; free some space and {then}")


def publish(partial: Path, out: Path) -> None:
    """Move the complete result from ``partial`` into ``out``, and delete the checkpoints before it."""
    for path in sorted(partial.iterdir()):
        os.replace(path, out / path.name)
    partial.rmdir()
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
