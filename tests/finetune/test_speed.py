"""Model FLOPs utilisation (MFU) counts the matrix products that the loss needs."""

from __future__ import annotations

from pathlib import Path

from finetune.trainer import flops
from finetune.trainer.model import load_weights


def test_mfu_counts_the_products_that_the_loss_needs(tiny_qwen: Path) -> None:
    import torch

    model = load_weights(str(tiny_qwen), torch.float32)
    c = model.config
    key_value = c.hidden_size // c.num_attention_heads * c.num_key_value_heads
    layer = 2 * c.hidden_size**2 + 2 * c.hidden_size * key_value + 3 * c.hidden_size * c.intermediate_size
    body, head = c.num_hidden_layers * layer, c.vocab_size * c.hidden_size
    assert flops.flops_per_token(model, 1.0) == 6 * (body + head)
    assert flops.flops_per_token(model, 0.25) == 6 * (body + head / 4)
    model.requires_grad_(False)
    assert flops.flops_per_token(model, 1.0) == 4 * (body + head), "a frozen weight needs no gradient of its own"
    speed = 0.45 * 2 * 989e12 / (4 * (body + head))
    assert flops.mfu(model, speed, 1.0, "NVIDIA H100 80GB HBM3", 2) == 0.45
    assert flops.mfu(model, speed, 1.0, "another device", 2) is None
