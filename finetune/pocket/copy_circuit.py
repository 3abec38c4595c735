"""Start a Qwen2 with a copying circuit in its first two layers, so that training need not find one.

Two heads of the first layer attend to the token before; four of the second look for places whose token before is the
current token, and bring what stands there towards the output: "A B ... A" gives "B" (Olsson et al. 2022, induction
heads). Training finds such a circuit by itself, but only after millions of tokens; here everything else is learned
around it, and it is trained on like every other weight.
"""

from __future__ import annotations

import torch
from transformers import Qwen2ForCausalLM

LOOK_BACK = 2  # heads of the first layer
SLOW = 5  # the rotary frequencies from this one on turn too slowly to disturb a match at a few hundred tokens


@torch.no_grad()
def install(model: Qwen2ForCausalLM, seed: int = 0) -> None:
    """Set the embedding and the heads of the first two layers of ``model``; the other layers stay as they are.

    Needs a width of six heads of one size (the basis below is shared out among them) and tied embeddings.
    """
    config = model.config
    width, size = config.hidden_size, config.hidden_size // config.num_attention_heads
    generator = torch.Generator().manual_seed(seed)
    model.model.embed_tokens.weight.normal_(0.0, width**-0.5, generator=generator)
    basis, _ = torch.linalg.qr(torch.randn(width, width, generator=generator))
    now, before, carried = basis[: 2 * size], basis[2 * size : 4 * size], basis[2 * size :]
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    _look_back(first, model.model.rotary_emb.inv_freq.float(), size)
    for head in range(LOOK_BACK):
        rows = slice(head * size, (head + 1) * size)
        first.v_proj.weight[rows] = now[rows]
        first.o_proj.weight[:, rows] = 0.12 * before[rows].T
    slow = torch.arange(size) % (size // 2) >= SLOW
    for head in range(4):
        rows, pair = slice(head * size, (head + 1) * size), slice((head % 2) * size, (head % 2 + 1) * size)
        second.q_proj.weight[rows] = 2.0 * slow[:, None] * now[pair]
        second.k_proj.weight[rows] = 2.0 * slow[:, None] * before[pair]
        second.v_proj.weight[rows] = carried[rows]
        second.o_proj.weight[:, rows] = 0.4 * carried[rows].T


def _look_back(attention: torch.nn.Module, frequencies: torch.Tensor, size: int, sharpness: float = 6.0) -> None:
    """Make the first heads attend one token back.

    Rotary position makes it a matter of the biases alone: the key points along 1, the query along minus the angle
    of one step, so their product is largest one step back.
    """
    half = size // 2
    for head in range(LOOK_BACK):
        upper, lower = slice(head * size, head * size + half), slice(head * size + half, (head + 1) * size)
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight[upper] = 0.0
            projection.weight[lower] = 0.0
        attention.k_proj.bias[upper] = sharpness
        attention.q_proj.bias[upper] = sharpness * torch.cos(frequencies)
        attention.q_proj.bias[lower] = -sharpness * torch.sin(frequencies)
