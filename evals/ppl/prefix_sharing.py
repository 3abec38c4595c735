"""PPL mode with shared prefixes computed once: the scores of ``scoring.score_plain``, several times faster.

A shared prefix is the longest common token prefix of strings that were tokenised whole, never a prefix of the text.
Three savings:

* KV cache: the few-shot header of an MMLU subject is computed once for all its questions;
* tree attention: a forward pass is a tree of several questions, each computed once, with its options as branches. A
  mask lets a token attend to its own option, its question and the header, and to nothing else. So there is no padding,
  and options of one token cost nothing: they are read off the question's last position;
* the projection to the vocabulary (a quarter of the work of a 0.5B model) runs only where a loss is needed; the loss of
  the shared prefix is needed only when the options differ in length.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from evals.ppl.scoring import Encoded, Scores, common_prefix, score_plain
from evals.ppl.tasks import Item

_SLICE = 64  # positions whose logits are reduced at once: 64 x 151,936 floats are 39 MB
# Why a model cannot share prefixes, or None: checked once for a run of several tasks.
_CHECKED: WeakKeyDictionary[Any, str | None] = WeakKeyDictionary()


@dataclass
class _Pass:
    """One forward pass: tokens with their positions and segments, and the losses to compute."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    targets: list[tuple[int, int]] = field(default_factory=list)  # (index of the query token, id to predict)
    owners: list[tuple[int, int, int]] = field(default_factory=list)  # (item, option or -1, position of the target)
    items: list[Encoded] = field(default_factory=list)

    def add_segment(self, tokens: Iterable[int], start: int, parent: int) -> tuple[int, int]:
        """Add tokens as a branch of the segment ``parent``; returns its number and the index of its first token."""
        number, first = (self.segments[-1] + 1 if self.segments else 0), len(self.ids)
        for n, token in enumerate(tokens):
            self.ids.append(token)
            self.positions.append(start + n)
            self.segments.append(number)
            self.parents.append(parent)
        return number, first

    def add_target(self, index: int, target: int, owner: tuple[int, int, int]) -> None:
        self.targets.append((index, target))
        self.owners.append(owner)

    def add(self, encoded: Encoded, header: int, whole: bool) -> None:
        """Add an item whose first ``header`` tokens are in the KV cache; ``whole``: also the loss of the prefix."""
        n, common, row = len(self.items), encoded.common, encoded.rows[0]
        self.items.append(encoded)
        parent, first = self.add_segment(row[header:common], header, -1) if common > header else (-1, 0)
        needed = header + 1 if whole else min(encoded.starts)
        for target in range(max(header + 1, needed), common):
            self.add_target(first + target - 1 - header, row[target], (n, -1, target))
        seen = set()
        for option, tokens in enumerate(encoded.rows):
            if tokens in seen:
                continue  # equal strings are scored once, so that a tie stays a tie
            seen.add(tokens)
            if common:
                self.add_target(first + common - 1 - header, tokens[common], (n, option, common))
            if len(tokens) - 1 > common:
                _, at = self.add_segment(tokens[common:-1], common, parent)
                for target in range(common + 1, len(tokens)):
                    self.add_target(at + target - 1 - common, tokens[target], (n, option, target))

    def scores(self, losses: np.ndarray, header_loss: float | None, whole: list[bool]) -> list[Scores]:
        """The losses summed by item and option."""
        owners = np.array(self.owners)
        scores = []
        for n, encoded in enumerate(self.items):
            mine = owners[:, 0] == n
            shared_at, shared = owners[mine & (owners[:, 1] < 0), 2], losses[mine & (owners[:, 1] < 0)]
            sums: dict[tuple[int, ...], tuple[float, float]] = {}
            for option, (tokens, start) in enumerate(zip(encoded.rows, encoded.starts, strict=True)):
                if tokens in sums:
                    continue
                at, own = owners[mine & (owners[:, 1] == option), 2], losses[mine & (owners[:, 1] == option)]
                sums[tokens] = (own.sum(), own[at >= start].sum() + shared[shared_at >= start].sum())
            tail, continuation = zip(*(sums[tokens] for tokens in encoded.rows), strict=True)
            total = None
            if whole[n] and header_loss is not None:
                total = tuple(header_loss + float(shared.sum()) + float(t) for t in tail)
            lengths = tuple(map(len, encoded.rows))
            scores.append(Scores(lengths, tuple(map(float, tail)), tuple(map(float, continuation)), total))
        return scores


class SharedPrefixScorer:
    """Scores items with tree attention; falls back to ``score_plain`` for models that do not support it.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        tokens: Maximum tokens of a pass beside the cached header; a longer item has a pass of its own.

    Attributes:
        why_plain: Why the model cannot share prefixes, or None.
    """

    def __init__(self, model: Any, tokens: int = 256) -> None:
        self.model, self.tokens = model, tokens
        if model not in _CHECKED:
            _CHECKED[model] = _why_plain(model) or self._self_check()
        self.why_plain = _CHECKED[model]

    def score(self, encoded: Iterable[Encoded], *, whole: bool = False) -> Iterator[tuple[Encoded, Scores]]:
        """Yield each item with its scores, not necessarily in the given order.

        Args:
            encoded: The items, sorted by group.
            whole: Compute the sum over the whole string even when the order of the options does not need it.
        """
        if self.why_plain:
            yield from ((e, score_plain(self.model, e)) for e in encoded)
            return
        for _, run in groupby(encoded, key=lambda e: e.item.group):
            for shots, same in groupby(sorted(run, key=lambda e: e.shots), key=lambda e: e.shots):
                group = list(same)
                yield from self._group(group, shots > 0 and len(group) > 1, whole)

    def _group(self, group: list[Encoded], cached: bool, whole: bool) -> Iterator[tuple[Encoded, Scores]]:
        need = [whole or not (e.equal_lengths or e.item.suffix) for e in group]
        header, cache, loss = 0, None, 0.0
        if cached:
            # One token less than the shared prefix: every item computes at least one token, for its own loss target.
            header = min(common_prefix(r for e in group for r in e.rows), *(s for e in group for s in e.starts)) - 1
            header = max(0, min(header, *(e.common - 1 for e in group)))
        if header:
            cache, loss = self._prefill(group[0].rows[0][: header + 1], any(need))
        batch, flags = _Pass(), list[bool]()
        for encoded, whole_one in zip(group, need, strict=True):
            size = encoded.common - header + sum(len(r) - 1 - encoded.common for r in encoded.rows)
            if batch.items and len(batch.ids) + size > self.tokens:
                yield from zip(batch.items, self._run(batch, header, cache, loss, flags), strict=True)
                batch, flags = _Pass(), []
            batch.add(encoded, header, whole_one)
            flags.append(whole_one)
        yield from zip(batch.items, self._run(batch, header, cache, loss, flags), strict=True)

    def _prefill(self, row: tuple[int, ...], need: bool) -> tuple[Any, float]:
        """The KV cache of ``row`` without its last token, and the sum of the row's losses when needed."""
        import torch

        ids = torch.tensor([row], device=self.model.device)
        with torch.inference_mode():
            out = self.model(input_ids=ids[:, :-1], use_cache=True, logits_to_keep=0 if need else 1)
            loss = _losses(out.logits[0], torch.arange(len(row) - 1), ids[0, 1:]).sum() if need else 0.0
        return out.past_key_values, float(loss)

    def _run(self, batch: _Pass, header: int, cache: Any, loss: float, whole: list[bool]) -> list[Scores]:
        import torch

        device = self.model.device
        queries, targets = torch.tensor(batch.targets, device=device).unbind(1)
        positions, where = queries.unique(return_inverse=True)
        with torch.inference_mode():
            logits = self.model(
                input_ids=torch.tensor([batch.ids], device=device),
                position_ids=torch.tensor([batch.positions], device=device),
                attention_mask=_mask(batch, header, self.model.dtype).to(device),
                past_key_values=cache,
                use_cache=cache is not None,
                logits_to_keep=positions,
            ).logits[0]
            losses = _losses(logits, where, targets)
        if cache is not None:
            cache.crop(-len(batch.ids))
        return batch.scores(losses, loss, whole)

    def _self_check(self) -> str | None:
        """Score two synthetic items both ways: None, or how a model that ignores mask or positions differs."""
        vocab = self.model.config.get_text_config().vocab_size
        head, item = [(7 * n + 3) % vocab for n in range(9)], Item(0, (), (), (), 0, group="check")
        items = []
        for n in (1, 2):
            rows = tuple(tuple(head + [(n * k) % vocab for k in (11, 13, 17, *ends)]) for ends in ((19, 23), (29,)))
            items.append(Encoded(item, rows, (12, 12), 12, 1, False))
        try:
            pairs = [(s, score_plain(self.model, e)) for e, s in self._group(items, True, True)]
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            return f"a pass with tree attention failed ({error})"
        close = 1e-3 if self.model.dtype.itemsize == 4 else 0.3
        gap = max(abs(a - b) for fast, slow in pairs for a, b in zip(fast.whole or (), slow.whole or (), strict=True))
        return None if gap < close else f"tree attention differs from plain passes by {gap:.2g} nats"


def _why_plain(model: Any) -> str | None:
    config = model.config.get_text_config()
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        return "the model cannot compute single positions' logits"
    layers = getattr(config, "layer_types", None) or ()
    if any(layer != "full_attention" for layer in layers):
        return "the model has layers without full attention"
    return None


def _mask(batch: _Pass, header: int, dtype: Any) -> Any:
    """The tokens that each token attends to, as an additive mask of shape (1, 1, tokens, header + tokens)."""
    import torch

    segments, parents = torch.tensor(batch.segments), torch.tensor(batch.parents)
    own = segments[:, None] == segments[None, :]
    visible = (own | (parents[:, None] == segments[None, :])).tril()
    mask = torch.zeros(len(segments), header + len(segments), dtype=dtype)
    mask[:, header:].masked_fill_(~visible, torch.finfo(dtype).min)
    return mask[None, None]


def _losses(logits: Any, rows: Any, targets: Any) -> np.ndarray:
    """The cross-entropies of ``targets`` under ``logits[rows]``, in nats; the softmax is in float32."""
    import torch

    norms = torch.cat([part.float().logsumexp(-1) for part in logits.split(_SLICE)])
    return (norms[rows] - logits[rows, targets].float()).double().cpu().numpy()
