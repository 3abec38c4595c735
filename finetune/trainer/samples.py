"""Replies to the same prompts during a training: ``samples.jsonl`` beside its checkpoints.

Generation is greedy, without dropout and with its own random state, so the training is the same with and without it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from egosrag.prompts.encode import encode, encode_text
from finetune.trainer.args import SftArgs
from finetune.trainer.generation import generate_greedy
from finetune.trainer.run_folder import SAMPLES

_MAX_NEW_TOKENS = 64


class Samples(TrainerCallback):
    """Writes the model's replies before the first step, at every ``save_steps``, and at the end.

    Args:
        args: the run's settings; ``sample_prompts``, ``system``, ``template`` and ``max_length`` are read.
        tokenizer: of the model that is trained.
    """

    def __init__(self, args: SftArgs, tokenizer: Any) -> None:
        self._args, self._tokenizer = args, tokenizer
        self._file = Path(args.out) / SAMPLES
        self._last_step = -1  # the step of the newest rows

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        """Drop the rows of steps that are repeated after a resume, and write the first replies."""
        if state.is_world_process_zero:
            self._drop_rows_after(state.global_step)
            self._write(state.global_step, kw["model"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        """Write replies where a checkpoint is due."""
        if state.is_world_process_zero and state.global_step % self._args.save_steps == 0:
            self._write(state.global_step, kw["model"])

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        """Write the finished model's replies."""
        if state.is_world_process_zero:
            self._write(state.global_step, kw["model"])

    def _drop_rows_after(self, step: int) -> None:
        lines = self._file.read_text(encoding="utf-8").splitlines(keepends=True) if self._file.is_file() else []
        retained = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step] if step else []
        self._last_step = json.loads(retained[-1])["step"] if retained else -1
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text("".join(retained), encoding="utf-8")

    def _write(self, step: int, model: Any) -> None:
        if step == self._last_step:
            return
        self._last_step = step
        prompts = [self._encode(prompt) for prompt in self._args.sample_prompts]
        replies = self._generate(model, prompts, model.generation_config.eos_token_id)
        rows = [{"step": step, "prompt": p, "text": t} for p, t in zip(self._args.sample_prompts, replies, strict=True)]
        with self._file.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def _encode(self, prompt: str) -> list[int]:
        """The prompt's ids, encoded as the rows of this run are."""
        if self._args.shape == "text":
            return encode_text(self._tokenizer, prompt)
        opening: list[BaseMessage] = [SystemMessage(self._args.system)] if self._args.system else []
        return encode(self._tokenizer, [*opening, HumanMessage(prompt)], template=self._args.template)

    def _generate(self, model: Any, prompts: Sequence[Sequence[int]], stops: Sequence[int]) -> list[str]:
        was_training, device = model.training, model.device
        model.eval()
        try:
            with (
                torch.random.fork_rng([device] if device.type == "cuda" else []),  # generate draws, even if greedy
                torch.autocast(device.type, torch.bfloat16, enabled=self._args.computes_in_bf16),
            ):
                return generate_greedy(model, self._tokenizer, prompts, stops, _MAX_NEW_TOKENS)
        finally:
            model.train(was_training)
