"""The loss without waste: no padding, no logits at tokens that are not learned, never all logits at once.

A batch is one row of sequences end to end (``DataCollatorWithFlattening``); position ids that start again keep them
apart. On a GPU transformers' own kernels do that; on a CPU its mask would be a dense square over the whole batch, so
attention is computed sequence by sequence there.
"""

from __future__ import annotations

import types
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IGNORED = -100
PACKED = "egosrag_packed"  # the name under which transformers knows _packed
# Logits in one piece, at most: a gigabyte in fp32. Above it they are computed in pieces, and again for the gradient.
LOGITS_AT_ONCE = 2**28


def attention() -> str:
    """The attention implementation for packed sequences on this machine."""
    from transformers.utils import is_flash_attn_2_available

    if torch.cuda.is_available():
        return "flash_attention_2" if is_flash_attn_2_available() else "sdpa"
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(PACKED, _packed)
    AttentionMaskInterface.register(PACKED, lambda *_, **__: None)
    return PACKED


def _packed(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sequence of a flattened batch.

    Args:
        module: the attention layer.
        query: (1, heads, tokens, width).
        key: (1, key-value heads, tokens, width); ``value`` likewise.
        value: see ``key``.
        attention_mask: none is ever made for this implementation.
        dropout: of attention weights.
        scaling: of the scores.
        cu_seq_lens_q: where the sequences begin and end, (sequences + 1).
        _: what other implementations need.

    Returns:
        (1, tokens, heads, width), and no weights.
    """
    bounds = [0, query.shape[2]] if cu_seq_lens_q is None else cu_seq_lens_q.tolist()
    lengths = [end - start for start, end in pairwise(bounds)]
    grouped = query.shape[1] != key.shape[1]
    # split, not slices: the gradient of each slice is a zeroed tensor of the whole batch.
    parts = [
        F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling, is_causal=True, enable_gqa=grouped)
        for q, k, v in zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def fuse(model: PreTrainedModel) -> None:
    """Let ``model(..., labels=...)`` compute the head at learned tokens only, and give back the loss without logits.

    The forward is replaced on the instance, below PEFT, DDP and FSDP, so each of them works as it does with the
    model's own.
    """
    from transformers.modeling_outputs import CausalLMOutputWithPast

    plain = model.forward

    def forward(
        self: Any,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **inputs: Any,
    ) -> CausalLMOutputWithPast:
        if labels is None:
            return plain(**inputs)  # type: ignore[no-any-return]
        inputs = {name: value for name, value in inputs.items() if value is not None}
        hidden = self.get_decoder()(**{**inputs, "use_cache": False}).last_hidden_state
        loss = answer_loss(hidden, self.get_output_embeddings(), labels, num_items_in_batch)
        return CausalLMOutputWithPast(loss=loss)

    model.forward = types.MethodType(forward, model)


def answer_loss(
    hidden: torch.Tensor, head: torch.nn.Module, labels: torch.Tensor, learned: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Cross-entropy at the tokens whose label is not ``IGNORED``: their sum over ``learned``.

    Args:
        hidden: the decoder's last states, (batch, tokens, width).
        head: from states to logits over the vocabulary.
        labels: (batch, tokens); the token at t is predicted by the state at t - 1.
        learned: learned tokens of the whole step, over micro-batches and processes; those of this batch unless given.

    Returns:
        A scalar in nats.
    """
    targets = labels[:, 1:].reshape(-1)
    kept = (targets != IGNORED).nonzero().squeeze(-1)
    states = hidden[:, :-1].reshape(-1, hidden.shape[-1])[kept]
    targets = targets[kept]
    vocabulary = int(head.weight.shape[0])  # type: ignore[index, arg-type]
    pieces = max(1, -(-len(kept) * vocabulary // LOGITS_AT_ONCE))
    total = states.sum() * 0.0  # a batch with nothing to learn still takes part in the backward pass
    for some, wanted in zip(states.chunk(pieces), targets.chunk(pieces), strict=True):
        if pieces == 1:
            total = total + _piece(some, head, wanted)
        else:
            total = total + torch.utils.checkpoint.checkpoint(_piece, some, head, wanted, use_reentrant=False)
    return total / (max(len(kept), 1) if learned is None else learned)


def _piece(states: torch.Tensor, head: torch.nn.Module, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(head(states).float(), targets, reduction="sum")
