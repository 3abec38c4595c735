"""Settings of pocket's training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from finetune.cli import required, setting


@dataclass(kw_only=True)
class PocketArgs:
    """Settings of pocket's training; ``finetune/configs/pocket.yaml`` is the recipe of the shipped model."""

    out: str = required("output folder for the model, its tokenizer and its model card")
    run: str = setting("runs/pocket", "folder of the checkpoints; a run continues from the checkpoint in it")
    start: str = setting("", "a folder with weights to start from, instead of random ones")
    seed: int = setting(0, "seed of all random choices")
    minutes: float = setting(60.0, "budget in minutes of CPU time, over all restarts; time of other processes is free")
    steps: int = setting(0, "budget in updates instead of minutes, if not 0")
    test_samples: int = setting(40, "held-out samples of each kind to evaluate the result on; 0: no evaluation")
    export_only: bool = setting(False, "export and evaluate the newest checkpoint without training")
    save_every: int = setting(100, "updates between two checkpoints")

    vocab: int = setting(3072, "tokens of the vocabulary")
    tokenizer_samples: int = setting(12000, "samples that the tokenizer is trained on")
    width: int = setting(192, "size of the hidden state; the copy circuit needs six heads")
    layers: int = setting(4, "transformer layers")
    heads: int = setting(6, "attention heads")
    feed_forward: int = setting(512, "width of the feed-forward layers")

    batch_tokens: int = setting(3072, "tokens of a batch, padding included")
    pool: int = setting(256, "samples drawn at once, then batched by length")
    compile: bool = setting(False, "compile the layers if they compute in fp32 or on a GPU; needs a C++ compiler")
    parts: int = setting(1, "batches per update")
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "of matrix products, weights stay float32; auto: bf16 if the hardware is fast at it"
    )
    muon_lr: float = setting(0.008, "peak learning rate of the layers' matrices")
    adam_lr: float = setting(0.0015, "peak learning rate of the embedding, the biases and the norms")
    warmup_steps: int = setting(20, "updates of the learning rate's warm-up")
    decay_from: float = setting(0.25, "share of the budget after which the learning rate decays, to a twentieth")
    copy_steps: int = setting(15, "batches of repeated random sequences before the first sample")
    copy_share: float = setting(0.06, "share of such batches afterwards")
    full_share: float = setting(0.12, "share of the batches with a loss on the whole text")
    text_until: float = setting(
        0.33, "share of the budget after which only answers have a loss: no copying, no whole texts"
    )
    grow_until: float = setting(1.5, "share of the budget at which samples reach their full length")
    shares: list[str] = setting(["role=1"], "share of each family of samples, as name=share")

    @property
    def family_shares(self) -> dict[str, float]:
        """The share of each family as a number."""
        return {name: float(share) for name, share in (item.split("=") for item in self.shares)}
