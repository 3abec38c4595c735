"""Initialize a Qwen2 with a copying circuit (induction heads) in its first two layers.

Two heads of the first layer attend to the previous token; four of the second attend to positions whose previous token
is the current token, and copy the token there towards the output: "A B ... A" gives "B" (Olsson et al. 2022). Training
finds such a circuit by itself, but only after millions of tokens; here everything else is learned around it, and it is
trained like all other weights.
"""

from __future__ import annotations

import torch
from transformers import Qwen2ForCausalLM

PREVIOUS_TOKEN_HEADS = 2  # in the first layer
# Rotary frequencies from this index on are too low to disturb a match over a few hundred tokens.
FIRST_SLOW_FREQUENCY = 5


@torch.no_grad()
def install_copy_circuit(model: Qwen2ForCausalLM, seed: int = 0) -> None:
    """Set the embedding and the heads of the first two layers of ``model``; the other layers are not changed.

    The width must be that of six heads, which share the basis below, and the embeddings must be tied.
    """
    config = model.config
    width, size = config.hidden_size, config.hidden_size // config.num_attention_heads
    generator = torch.Generator().manual_seed(seed)
    model.model.embed_tokens.weight.normal_(0.0, width**-0.5, generator=generator)
    basis, _ = torch.linalg.qr(torch.randn(width, width, generator=generator))
    current, previous, payload = basis[: 2 * size], basis[2 * size : 4 * size], basis[2 * size :]
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    _attend_to_previous_token(first, model.model.rotary_emb.inv_freq.float(), size)
    for head in range(PREVIOUS_TOKEN_HEADS):
        rows = slice(head * size, (head + 1) * size)
        first.v_proj.weight[rows] = current[rows]
        first.o_proj.weight[:, rows] = 0.12 * previous[rows].T
    slow = torch.arange(size) % (size // 2) >= FIRST_SLOW_FREQUENCY
    for head in range(4):
        rows, pair = slice(head * size, (head + 1) * size), slice((head % 2) * size, (head % 2 + 1) * size)
        second.q_proj.weight[rows] = 2.0 * slow[:, None] * current[pair]
        second.k_proj.weight[rows] = 2.0 * slow[:, None] * previous[pair]
        second.v_proj.weight[rows] = payload[rows]
        second.o_proj.weight[:, rows] = 0.4 * payload[rows].T


def _attend_to_previous_token(
    attention: torch.nn.Module, frequencies: torch.Tensor, size: int, sharpness: float = 6.0
) -> None:
    """Make the first heads attend to the previous token.

    With rotary positions the biases alone can do this: the key points along 1, the query along minus the angle of one
    step, so their product is largest one step back.
    """
    half = size // 2
    for head in range(PREVIOUS_TOKEN_HEADS):
        upper, lower = slice(head * size, head * size + half), slice(head * size + half, (head + 1) * size)
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight[upper] = 0.0
            projection.weight[lower] = 0.0
        attention.k_proj.bias[upper] = sharpness
        attention.q_proj.bias[upper] = sharpness * torch.cos(frequencies)
        attention.q_proj.bias[lower] = -sharpness * torch.sin(frequencies)
