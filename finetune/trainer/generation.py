"""Greedy batch generation with a model in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from finetune.trainer.loss import PACKED


@torch.inference_mode()
def generate_greedy(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], stops: Sequence[int], max_new_tokens: int
) -> list[str]:
    """Continue all prompts in one batch, greedily.

    Args:
        model: the model or PEFT model, in evaluation mode.
        tokenizer: its tokenizer.
        prompts: token ids, of any lengths.
        stops: the tokens that end a reply; the last one pads shorter prompts.
        max_new_tokens: maximum tokens of a continuation.

    Returns:
        The continuations as text, without special tokens.
    """
    width = max(map(len, prompts))
    ids = torch.tensor([[stops[-1]] * (width - len(p)) + list(p) for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    attention = base.config._attn_implementation
    if attention == PACKED:  # it supports neither padding nor a KV cache
        base.set_attn_implementation("sdpa")
    try:
        config = GenerationConfig(max_new_tokens=max_new_tokens, eos_token_id=list(stops), pad_token_id=stops[-1])
        ids = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    finally:
        base.set_attn_implementation(attention)
    return list(tokenizer.batch_decode(ids[:, width:], skip_special_tokens=True))
