"""pocket in the shape of Qwen2.5-0.5B: it says what pocket says, and takes the time of a model of half a billion.

What prompt lookup gains depends on how often a model really copies, and on what a step costs. A random checkpoint
copies nothing, and a step of pocket is too short to wait for memory; this one has the words of the one and the cost
of the other. pocket's weights lie in a corner of the larger ones, the rest adds nothing to them.
"""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

SHAPE = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "vocab_size": 151_936}
_HEADS, _SIZE = 14, 64


def grow(folder: Path, **shape: int) -> str:
    """Save the grown pocket as a checkpoint folder.

    The one difference to Qwen2.5-0.5B: it has as many heads of keys as of queries, as pocket has.

    Args:
        folder: where.
        shape: fields of ``SHAPE`` that differ.
    """
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

    source = Path(str(files("egosrag") / "data" / "pocket"))
    small: Any = AutoModelForCausalLM.from_pretrained(source)
    fields = small.config.to_dict() | SHAPE | shape
    width, heads = small.config.hidden_size, small.config.num_attention_heads
    share = width / fields["hidden_size"]
    fields |= {"num_attention_heads": _HEADS, "num_key_value_heads": _HEADS, "head_dim": _SIZE}
    fields |= {"layer_types": ["full_attention"] * fields["num_hidden_layers"]}
    fields |= {"rms_norm_eps": small.config.rms_norm_eps * share}
    torch.manual_seed(0)
    large: Any = Qwen2ForCausalLM(Qwen2Config(**fields))
    theirs = dict(large.named_parameters())
    # Dimension j of a head turns as fast as dimension 2j of one twice as large.
    turning = torch.cat([torch.arange(0, 32, 2), torch.arange(32, 64, 2)])
    inside = torch.cat([head * _SIZE + turning for head in range(heads)])
    with torch.no_grad():
        for name, weight in theirs.items():
            # What pocket has no layer for is computed and then added nowhere.
            if name.endswith(("o_proj.weight", "down_proj.weight", "embed_tokens.weight", "bias")):
                weight.zero_()
        for name, weight in small.named_parameters():
            place = theirs[name]
            if "norm" in name:
                # The mean of squares is taken over all dimensions, most of which are zero here.
                place[:width] = weight * share**0.5
            elif name.split(".")[-2] in ("q_proj", "k_proj", "v_proj"):
                scale = 2**0.5 if "q_proj" in name else 1.0  # attention divides by the root of a head's size
                if name.endswith("bias"):
                    place[inside] = weight * scale
                else:
                    place.zero_()
                    place[inside, :width] = weight * scale
            elif name.endswith("o_proj.weight"):
                place[:width, inside] = weight
            else:
                if "gate_proj" in name or "up_proj" in name:
                    place.zero_()
                place[: weight.shape[0], : weight.shape[1]] = weight
    large.save_pretrained(folder)
    for file in (*source.glob("tokenizer*"), source / "generation_config.json"):
        shutil.copy(file, folder)
    return str(folder)
