"""What is written beside a checkpoint: ``run.json`` with all that decided the result, and the loss as ``loss.png``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors")
_ROOT = Path(__file__).resolve().parents[2]


class Progress(TrainerCallback):
    """Prints a line for every point of the loss curve on standard error, and keeps the time."""

    def __init__(self) -> None:
        self.started = 0.0
        self.first_step = 0
        self.first_tokens = 0
        self.seconds = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock; a resumed run counts what it does itself."""
        self.started, self.first_step = time.monotonic(), state.global_step
        self.first_tokens = state.num_input_tokens_seen

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """One line: step, loss, learning rate, speed, time left."""
        self.seconds = time.monotonic() - self.started
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        done = max(state.global_step - self.first_step, 1)
        left = self.seconds / done * (state.max_steps - state.global_step)
        print(
            f"step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}  lr {logs['learning_rate']:.2e}  "
            f"{self.speed(state):.0f} tokens/s  {left / 60:.1f} min left",
            file=sys.stderr,
            flush=True,
        )

    def speed(self, state: TrainerState) -> float:
        """Tokens a second over all processes; there is no padding among them."""
        return (state.num_input_tokens_seen - self.first_tokens) / max(self.seconds, 1e-9)


def versions() -> dict[str, str | None]:
    """Python's and the deciding packages' versions."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def commit() -> str | None:
    """The commit of this checkout, with ``+changes`` where files differ from it; None outside of git."""
    try:
        git = ["git", "-C", str(_ROOT)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=20)
        if head.returncode:
            return None
        status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() + ("+changes" if status.stdout.strip() else "")


def device() -> str:
    """The name of the GPU, or of the processor where there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()


def template_of(tokenizer: Any, used: bool) -> dict[str, Any]:
    """Whether rows were rendered by the chat template, and its hash."""
    text = tokenizer.chat_template if used else None
    return {"used": used, "sha256": hashlib.sha256(text.encode()).hexdigest() if isinstance(text, str) else None}


def curve(state: TrainerState) -> list[tuple[int, float]]:
    """(step, loss) pairs of the run."""
    return [(entry["step"], entry["loss"]) for entry in state.log_history if "loss" in entry]


def write(folder: Path, args: Any, state: TrainerState, progress: Progress, **more: Any) -> dict[str, Any]:
    """Write ``run.json`` and ``loss.png`` into ``folder``.

    Args:
        folder: where the result is.
        args: the run's settings, a dataclass.
        state: the trainer's, after the run.
        progress: that watched the run.
        more: further parts of the record.

    Returns:
        The record.
    """
    import torch

    cuda = torch.cuda.is_available()
    points = curve(state)
    record: dict[str, Any] = {
        "settings": dataclasses.asdict(args),
        "commit": commit(),
        "versions": versions(),
        "device": device(),
        "steps": state.global_step,
        "epochs": state.epoch,
        "tokens": state.num_input_tokens_seen,
        "seconds": round(progress.seconds, 2),
        "tokens_per_second": round(progress.speed(state), 1),
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if cuda else None,
        **more,
        "loss": points,
    }
    (folder / "run.json").write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if points:
        plot(points, folder / "loss.png", title=f"{Path(args.model).name}: training loss")
    return record


def plot(points: list[tuple[int, float]], path: Path, *, title: str) -> None:
    """Draw (step, loss) pairs."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(7, 4))).add_axes((0.1, 0.13, 0.87, 0.78))
    axes.set(xlabel="step", ylabel="loss (nats a learned token)", title=title)
    axes.plot(*zip(*points, strict=True), marker="." if len(points) < 50 else None)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
