"""What a model says to the same prompts while it is trained: ``samples.jsonl`` beside its checkpoints.

Greedy, without dropout and with random numbers of their own: a run learns exactly what it would learn without them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from transformers import GenerationConfig, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from egosrag.prompts.encode import encode, encode_text
from finetune.trainer.args import SftArgs
from finetune.trainer.folder import SAMPLES
from finetune.trainer.loss import PACKED

_NEW_TOKENS = 64


class Samples(TrainerCallback):
    """Writes what the model says before the first step, at every ``save_steps``, and at the end.

    Args:
        args: the run's settings; ``sample_prompts``, ``system``, ``template`` and ``max_length`` are read.
        tokenizer: of the model that is trained.
    """

    def __init__(self, args: SftArgs, tokenizer: Any) -> None:
        self._args, self._tokenizer = args, tokenizer
        self._file = Path(args.out) / SAMPLES
        self._last = -1  # the step of the newest rows

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of: Any) -> None:
        """Drop rows of steps that are taken again, and begin."""
        if state.is_world_process_zero:
            self._keep_until(state.global_step)
            self._write(state.global_step, of["model"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of: Any) -> None:
        """Ask again, where a checkpoint is due."""
        if state.is_world_process_zero and state.global_step % self._args.save_steps == 0:
            self._write(state.global_step, of["model"])

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of: Any) -> None:
        """Ask the finished model."""
        if state.is_world_process_zero:
            self._write(state.global_step, of["model"])

    def _keep_until(self, step: int) -> None:
        lines = self._file.read_text(encoding="utf-8").splitlines(keepends=True) if self._file.is_file() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step] if step else []
        self._last = json.loads(kept[-1])["step"] if kept else -1
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text("".join(kept), encoding="utf-8")

    def _write(self, step: int, net: Any) -> None:
        if step == self._last:
            return
        self._last = step
        prompts = [self._ids(prompt)[-self._args.max_length :] for prompt in self._args.sample_prompts]
        said = self._said(net, prompts, net.generation_config.eos_token_id)
        rows = [{"step": step, "prompt": p, "text": t} for p, t in zip(self._args.sample_prompts, said, strict=True)]
        with self._file.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def _ids(self, prompt: str) -> list[int]:
        """The prompt as rows of this run are encoded."""
        if self._args.shape == "text":
            return encode_text(self._tokenizer, prompt)
        opening: list[BaseMessage] = [SystemMessage(self._args.system)] if self._args.system else []
        return encode(self._tokenizer, [*opening, HumanMessage(prompt)], template=self._args.template)

    def _said(self, net: Any, prompts: Sequence[Sequence[int]], stops: Sequence[int]) -> list[str]:
        was_training, device = net.training, net.device
        net.eval()
        try:
            with (
                torch.random.fork_rng([device] if device.type == "cuda" else []),  # generate draws, even greedily
                torch.autocast(device.type, torch.bfloat16, enabled=self._args.precision == "bf16"),
            ):
                return written(net, self._tokenizer, prompts, stops, _NEW_TOKENS)
        finally:
            net.train(was_training)


@torch.inference_mode()
def written(
    net: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], stops: Sequence[int], new_tokens: int
) -> list[str]:
    """What a model in training goes on to write after each prompt, greedily, all of them at once.

    Args:
        net: the model or PEFT model, in evaluation mode.
        tokenizer: its tokenizer.
        prompts: token ids, of any lengths.
        stops: the tokens that end a reply; the last one fills up shorter prompts.
        new_tokens: to write, at most.
    """
    width = max(map(len, prompts))
    ids = torch.tensor([[stops[-1]] * (width - len(p)) + list(p) for p in prompts], device=net.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=net.device)
    base = net.get_base_model() if hasattr(net, "get_base_model") else net
    attention = base.config._attn_implementation
    if attention == PACKED:  # training's attention knows neither padding nor a cache
        base.set_attn_implementation("sdpa")
    try:
        config = GenerationConfig(max_new_tokens=new_tokens, eos_token_id=list(stops), pad_token_id=stops[-1])
        ids = net.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    finally:
        base.set_attn_implementation(attention)
    return list(tokenizer.batch_decode(ids[:, width:], skip_special_tokens=True))
