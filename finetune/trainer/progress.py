"""Progress of a training: one line on standard error for each point of the loss curve, and the speed."""

from __future__ import annotations

import sys
import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class Progress(TrainerCallback):
    """Prints a line for each point of the loss curve on standard error, and measures the time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0
        self._first_step = 0
        self._first_tokens = 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock; a resumed run counts only its own steps."""
        self._started, self._first_step = time.monotonic(), state.global_step
        self._first_tokens = state.num_input_tokens_seen

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Print step, loss, learning rate, speed and remaining time."""
        self.seconds = time.monotonic() - self._started
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        done = max(state.global_step - self._first_step, 1)
        remaining = self.seconds / done * (state.max_steps - state.global_step)
        print(
            f"step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}  lr {logs['learning_rate']:.2e}  "
            f"{self.tokens_per_second(state):.0f} tokens/s  {remaining / 60:.1f} min left",
            file=sys.stderr,
            flush=True,
        )

    def tokens_per_second(self, state: TrainerState) -> float:
        """Tokens per second over all processes; there is no padding to leave out."""
        return (state.num_input_tokens_seen - self._first_tokens) / max(self.seconds, 1e-9)
