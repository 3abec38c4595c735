"""Settings of a supervised or continued training (``finetune.sft``): data, optimization, LoRA, checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from egosrag.errors import SettingsError
from egosrag.models.runtime.cpu import has_fast_bfloat16
from finetune.cli import required, setting
from finetune.data.args import DataArgs


@dataclass(kw_only=True)
class SftArgs(DataArgs):
    """Settings of one supervised or continued training; ``finetune/configs`` has an example of each."""

    model: str = required("the model to start from: a hub id or a checkpoint folder")
    out: str = required("output folder: the checkpoint or adapter, run.json and loss.png")

    lr: float = setting(2e-5, "peak learning rate of AdamW")
    schedule: Literal["cosine", "linear", "constant"] = setting(
        "cosine", "how the learning rate decays after the warm-up"
    )
    warmup: float = setting(0.0, "warm-up: a number of steps if 1 or more, a share of all steps if below 1")
    batch_size: int = setting(8, "rows per step, over all processes and micro-batches")
    micro_batch: int | None = setting(None, "rows per process and forward pass; by default all of the process's share")
    epochs: float = setting(3.0, "passes over the data")
    max_steps: int = setting(-1, "stop after this many steps; -1: after the epochs")
    weight_decay: float = setting(0.0, "weight decay of AdamW")
    max_grad_norm: float = setting(1.0, "clip gradients to this norm; 0: do not clip")
    seed: int = setting(42, "seed of the row order, of dropout and of new weights")
    precision: Literal["auto", "bf16", "fp32"] = setting(
        "auto", "bf16: weights in fp32, computation in bf16; auto: bf16 where the GPU or CPU multiplies it by itself"
    )
    activation_checkpointing: bool = setting(False, "recompute activations to save memory, about a quarter slower")
    fsdp: bool = setting(False, "shard weights and optimizer state over the processes (FSDP2)")
    workers: int = setting(0, "processes that prepare batches")

    lora: bool = setting(False, "train a LoRA adapter instead of all weights")
    lora_r: int = setting(8, "rank of the adapter")
    lora_alpha: int = setting(16, "the adapter is scaled by lora_alpha / lora_r")
    lora_dropout: float = setting(0.0, "dropout on the adapter's input")
    lora_targets: str = setting("all-linear", "all-linear, or module names separated by commas")
    train_special_tokens: bool = setting(
        False, "LoRA: train the embeddings of the chat template's tokens too (for base models)"
    )

    log_steps: int = setting(10, "steps between two points of the loss curve")
    save_steps: int = setting(500, "steps between two checkpoints")
    keep: int = setting(2, "number of checkpoints to keep")
    sample_prompts: list[str] = setting([], "prompts to answer at every save_steps; replies go into samples.jsonl")
    resume: bool = setting(False, "continue from the last complete checkpoint in out")
    overwrite: bool = setting(False, "replace the contents of out")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch_size", "log_steps", "save_steps", "keep", "lora_r"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}: give a number of at least 1")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise SettingsError(f"micro_batch is {self.micro_batch}: give a number of at least 1, or leave it out")
        if self.lr <= 0 or self.warmup < 0 or (self.epochs <= 0 and self.max_steps < 1):
            raise SettingsError("lr and epochs must be greater than 0 and warmup not negative: correct the settings")
        if self.sample_prompts and self.fsdp:
            raise SettingsError(
                "sample_prompts needs the whole model on every device: leave out sample_prompts or fsdp"
            )
        if self.resume and self.overwrite:
            raise SettingsError("resume continues the run in out and overwrite deletes it: choose one of them")

    @property
    def computes_in_bf16(self) -> bool:
        """Whether the model computes in bf16: ``precision``, or what ``training_device`` multiplies by itself."""
        return has_fast_bfloat16(training_device()) if self.precision == "auto" else self.precision == "bf16"


def training_device() -> str:
    """The type of the device that trains: the GPU or another accelerator, else ``cpu``."""
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator.type if accelerator else "cpu"
