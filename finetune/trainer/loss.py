"""Fused loss on packed sequences: no padding, no logits at tokens without a label, never all logits at once.

A batch is one row of packed sequences (``DataCollatorWithFlattening``) whose position ids restart at each sequence. On
a GPU transformers' own kernels keep the sequences apart; on a CPU its mask would be a dense square over the whole
batch, so attention is computed sequence by sequence there.
"""

from __future__ import annotations

import types
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from finetune.data.tokenization import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PACKED = "egosrag_packed"  # the name under which transformers knows _packed_attention
# Most logits computed at once: one gigabyte in fp32. More are computed in chunks, and again for the gradient.
MAX_LOGITS = 2**28
# Logits in fp32 at once on a CPU: eight megabytes, which its cache holds.
_LOGITS_ON_CPU = 2**21


def attention_implementation() -> str:
    """The name of the attention implementation for packed sequences on this machine."""
    from transformers.utils import is_flash_attn_2_available

    if torch.cuda.is_available():
        return "flash_attention_2" if is_flash_attn_2_available() else "sdpa"
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(PACKED, _packed_attention)
    AttentionMaskInterface.register(PACKED, lambda *_, **__: None)
    return PACKED


def _packed_attention(
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
    """Causal attention within each sequence of a packed batch; the signature is transformers'.

    Args:
        module: the attention layer.
        query: (1, heads, tokens, head size).
        key: (1, key-value heads, tokens, head size); ``value`` likewise.
        value: see ``key``.
        attention_mask: unused; no mask is made for this implementation.
        dropout: of attention weights.
        scaling: of the scores.
        cu_seq_lens_q: offsets of the sequences, (sequences + 1).
        _: arguments of other implementations.

    Returns:
        (1, tokens, heads, head size), and None for the attention weights.
    """
    bounds = [0, query.shape[2]] if cu_seq_lens_q is None else cu_seq_lens_q.tolist()
    lengths = [end - start for start, end in pairwise(bounds)]
    grouped = query.shape[1] != key.shape[1]
    # split, not slices: the gradient of each slice would be a zeroed tensor of the whole batch.
    parts = [
        F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling, is_causal=True, enable_gqa=grouped)
        for q, k, v in zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def use_fused_loss(model: PreTrainedModel) -> None:
    """Make ``model(..., labels=...)`` compute the head at labelled tokens only and return the loss without logits.

    The forward is replaced on the instance, below PEFT, DDP and FSDP, so each of them works as with the model's own.
    """
    from transformers.modeling_outputs import CausalLMOutputWithPast

    original = model.forward

    def forward(
        self: Any,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **inputs: Any,
    ) -> CausalLMOutputWithPast:
        if labels is None:
            return original(**inputs)  # type: ignore[no-any-return]
        inputs = {name: value for name, value in inputs.items() if value is not None}
        hidden = self.get_decoder()(**{**inputs, "use_cache": False}).last_hidden_state
        loss = answer_loss(hidden, self.get_output_embeddings(), labels, num_items_in_batch)
        return CausalLMOutputWithPast(loss=loss)

    model.forward = types.MethodType(forward, model)


def answer_loss(
    hidden: torch.Tensor, head: torch.nn.Module, labels: torch.Tensor, items: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Cross-entropy summed over the tokens whose label is not ``IGNORED``, divided by ``items``.

    Args:
        hidden: the decoder's last hidden states, (batch, tokens, width).
        head: from hidden states to logits over the vocabulary.
        labels: (batch, tokens); the token at t is predicted by the state at t - 1.
        items: labelled tokens of the whole step, over micro-batches and processes; None: those of this batch.

    Returns:
        A scalar in nats.
    """
    targets = labels[:, 1:].reshape(-1)
    labelled = (targets != IGNORED).nonzero().squeeze(-1)
    states = hidden[:, :-1].reshape(-1, hidden.shape[-1])[labelled]
    targets = targets[labelled]
    vocabulary = int(head.weight.shape[0])  # type: ignore[index, arg-type]
    chunks = max(1, -(-len(labelled) * vocabulary // MAX_LOGITS))
    total = states.sum() * 0.0  # a batch without labels still takes part in the backward pass
    for some_states, some_targets in zip(states.chunk(chunks), targets.chunk(chunks), strict=True):
        if chunks == 1:
            total = total + _summed_cross_entropy(some_states, head, some_targets)
        else:
            total = total + torch.utils.checkpoint.checkpoint(
                _summed_cross_entropy, some_states, head, some_targets, use_reentrant=False
            )
    return total / (max(len(labelled), 1) if items is None else items)


def _summed_cross_entropy(states: torch.Tensor, head: torch.nn.Module, targets: torch.Tensor) -> torch.Tensor:
    loss: torch.Tensor = _CrossEntropyInPlace.apply(head(states), targets)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropyInPlace(torch.autograd.Function):
    """Summed cross-entropy whose gradient takes the place of the logits, as in Liger Kernel (Hsu et al., 2024).

    ``F.cross_entropy`` of bf16 logits makes five more arrays of their size, four of them in fp32; here a few rows at a
    time are in fp32. The logits must not be used elsewhere, and there is one backward pass.
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), device=logits.device)
        rows = max(1, (_LOGITS_ON_CPU if logits.device.type == "cpu" else MAX_LOGITS) // logits.shape[1])
        for some_logits, some_targets in zip(logits.split(rows), targets.split(rows), strict=True):
            values, target = some_logits.float(), some_targets[:, None]
            norm = values.logsumexp(1, keepdim=True)
            total += (norm - values.gather(1, target)).sum()
            # softmax minus one at the target; values are the logits themselves where these are fp32.
            values.sub_(norm).exp_().scatter_add_(1, target, torch.full_like(norm, -1.0))
            some_logits.copy_(values)
        ctx.save_for_backward(logits)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        (logits,) = ctx.saved_tensors
        return logits.mul_(gradient), None
