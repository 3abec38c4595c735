"""The settings of pocket's training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


def _f(default: Any, text: str) -> Any:
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


@dataclass(kw_only=True)
class PocketArgs:
    """What training pocket needs; ``finetune/configs/pocket.yaml`` has the shipped recipe."""

    out: str = field(metadata={"help": "the folder that gets the model, its tokenizer and its card"})
    run: str = _f("runs/pocket", "checkpoints; the command goes on from what lies here")
    start: str = _f("", "a folder whose weights the run begins with, instead of random ones")
    seed: int = _f(0, "everything that is drawn follows from it")
    minutes: float = _f(60.0, "of the processor at work, over all sittings; while others have it, none pass")
    steps: int = _f(0, "updates instead of minutes, where it is not 0")
    test_samples: int = _f(40, "held-out samples of each kind to measure the result on; 0 does not measure")
    export_only: bool = _f(False, "export and measure the newest checkpoint, and train no further")
    save_every: int = _f(100, "updates between two checkpoints")

    vocab: int = _f(3072, "tokens of the vocabulary")
    tokenizer_samples: int = _f(12000, "samples that the tokenizer is trained on")
    width: int = _f(192, "of the hidden state; six heads")
    layers: int = _f(4, "transformer layers")
    heads: int = _f(6, "attention heads")
    feed_forward: int = _f(512, "width of the feed-forward part")

    batch_tokens: int = _f(3072, "tokens of a batch, padding included")
    pool: int = _f(256, "samples drawn at once, then batched by length")
    compile: bool = _f(False, "compile the layers where they compute in fp32 or on a GPU; needs a C++ compiler")
    parts: int = _f(1, "batches of an update")
    precision: Literal["auto", "fp32", "bf16"] = _f(
        "auto", "of the products, the weights stay float32; auto: bf16 where the hardware is for it"
    )
    muon_lr: float = _f(0.008, "peak learning rate of the layers' matrices")
    adam_lr: float = _f(0.0015, "peak learning rate of the embedding, the biases and the norms")
    warmup_steps: int = _f(20, "updates over which the learning rate rises")
    decay_from: float = _f(0.25, "share of the budget from which the learning rate falls, to a twentieth")
    copy_steps: int = _f(15, "batches of repeated random sequences before the first sample")
    copy_share: float = _f(0.06, "and their share afterwards")
    full_share: float = _f(0.12, "share of the batches whose whole text teaches")
    text_until: float = _f(0.33, "share of the budget after which only answers teach: no copying, no whole texts")
    grow_until: float = _f(1.5, "share of the budget at which all samples would have reached their full length")
    shares: list[str] = _f(["role=1"], "the mix of the families, name=share")

    @property
    def mix(self) -> dict[str, float]:
        """The families' shares as numbers."""
        return {name: float(share) for name, share in (item.split("=") for item in self.shares)}
