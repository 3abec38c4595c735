"""pocket in the shape of Qwen2.5-0.5B: it generates what pocket generates, at the cost of half a billion weights.

The gain of prompt lookup depends on how often a model really copies, and on what a decoding step costs. A random
checkpoint copies nothing, and a step of pocket is too short to be bound by memory; this checkpoint has the words of one
and the cost of the other. pocket's weights are a corner of the larger matrices; the rest contributes nothing.
"""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

SHAPE = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "vocab_size": 151_936}
_HEADS, _HEAD_SIZE = 14, 64


def grow(folder: Path, **shape: int) -> str:
    """Save the grown pocket as a checkpoint folder.

    The one difference to Qwen2.5-0.5B: as in pocket, there are as many key heads as query heads.

    Args:
        folder: Where to save it.
        shape: Fields of ``SHAPE`` that differ.
    """
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

    source = Path(str(files("egosrag") / "data" / "pocket"))
    small: Any = AutoModelForCausalLM.from_pretrained(source)
    fields = small.config.to_dict() | SHAPE | shape
    share = small.config.hidden_size / fields["hidden_size"]
    fields |= {"num_attention_heads": _HEADS, "num_key_value_heads": _HEADS, "head_dim": _HEAD_SIZE}
    fields |= {"layer_types": ["full_attention"] * fields["num_hidden_layers"]}
    fields |= {"rms_norm_eps": small.config.rms_norm_eps * share}
    torch.manual_seed(0)
    large: Any = Qwen2ForCausalLM(Qwen2Config(**fields))
    _copy_weights(small, large, share)
    large.save_pretrained(folder)
    for file in (*source.glob("tokenizer*"), source / "generation_config.json"):
        shutil.copy(file, folder)
    return str(folder)


def _copy_weights(small: Any, large: Any, share: float) -> None:
    """Copy a small Qwen2 into a corner of a larger one, so that both generate the same.

    Args:
        small: The source.
        large: The target, with random weights.
        share: Hidden size of the small model divided by the large one's.
    """
    import torch

    width, heads = small.config.hidden_size, small.config.num_attention_heads
    targets = dict(large.named_parameters())
    # Rotary embedding: dimension j of a head rotates as fast as dimension 2j of a head twice as large.
    rotated = torch.cat([torch.arange(0, 32, 2), torch.arange(32, 64, 2)])
    rows = torch.cat([head * _HEAD_SIZE + rotated for head in range(heads)])
    with torch.no_grad():
        for name, weight in targets.items():
            # The layers and dimensions that pocket does not have are computed and then add zero.
            if name.endswith(("o_proj.weight", "down_proj.weight", "embed_tokens.weight", "bias")):
                weight.zero_()
        for name, weight in small.named_parameters():
            target = targets[name]
            if "norm" in name:
                # The mean of squares is over all dimensions, most of which are zero here.
                target[:width] = weight * share**0.5
            elif name.split(".")[-2] in ("q_proj", "k_proj", "v_proj"):
                scale = 2**0.5 if "q_proj" in name else 1.0  # attention divides by the root of the head size
                if name.endswith("bias"):
                    target[rows] = weight * scale
                else:
                    target.zero_()
                    target[rows, :width] = weight * scale
            elif name.endswith("o_proj.weight"):
                target[:width, rows] = weight
            else:
                if "gate_proj" in name or "up_proj" in name:
                    target.zero_()
                target[: weight.shape[0], : weight.shape[1]] = weight
