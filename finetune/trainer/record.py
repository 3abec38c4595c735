"""Write the record of a run beside its checkpoint: ``run.json`` and the loss curve as ``loss.png``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from transformers import TrainerState

from finetune.trainer.args import SftArgs
from finetune.trainer.progress import Progress

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors")
_ROOT = Path(__file__).resolve().parents[2]


def package_versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that influence a result; None if not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def git_commit() -> str | None:
    """The commit of this checkout, with ``+changes`` if files differ from it; None outside of git."""
    git = ["git", "-C", str(_ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=20)
        if head.returncode:
            return None
        status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() + ("+changes" if status.stdout.strip() else "")


def device_name() -> str:
    """The name of the GPU, or of the processor if there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()


def template_record(tokenizer: Any, used: bool) -> dict[str, Any]:
    """Whether rows were rendered with the chat template, and the template's hash."""
    text = tokenizer.chat_template if used else None
    return {"used": used, "sha256": hashlib.sha256(text.encode()).hexdigest() if isinstance(text, str) else None}


def loss_curve(state: TrainerState) -> list[tuple[int, float]]:
    """(step, loss) pairs of the run."""
    return [(entry["step"], entry["loss"]) for entry in state.log_history if "loss" in entry]


def write_record(
    folder: Path, args: SftArgs, state: TrainerState, progress: Progress, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``run.json`` and ``loss.png`` into ``folder``.

    Args:
        folder: the folder of the result.
        args: the run's settings.
        state: the trainer's state after the run.
        progress: the run's callback, for time and speed.
        more: the command's own parts of the record.

    Returns:
        The record.
    """
    import torch

    cuda = torch.cuda.is_available()
    curve = loss_curve(state)
    record: dict[str, Any] = {
        "settings": dataclasses.asdict(args),
        "commit": git_commit(),
        "versions": package_versions(),
        "device": device_name(),
        "steps": state.global_step,
        "epochs": state.epoch,
        "tokens": state.num_input_tokens_seen,
        "seconds": round(progress.seconds, 2),
        "tokens_per_second": round(progress.tokens_per_second(state), 1),
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if cuda else None,
        **more,
        "loss": curve,
    }
    (folder / "run.json").write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if curve:
        plot_loss(curve, folder / "loss.png", title=f"{Path(args.model).name}: training loss")
    return record


def plot_loss(curve: list[tuple[int, float]], path: Path, *, title: str) -> None:
    """Draw (step, loss) pairs as a PNG file."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(7, 4))).add_axes((0.1, 0.13, 0.87, 0.78))
    axes.set(xlabel="step", ylabel="loss (nats per token)", title=title)
    axes.plot(*zip(*curve, strict=True), marker="." if len(curve) < 50 else None)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
