"""The scores of PPL mode: the definitions of OpenCompass and lm-eval, and the plain way to compute them.

OpenCompass (``icl_ppl_inferencer.py``): tokenise each whole option string, sum the cross-entropy of its N - 1
predicted tokens, divide by N; the lowest wins, on a tie the first. lm-evaluation-harness (``api/task.py``): sum the
log-probabilities of the continuation; the highest wins (``acc``), or the highest per character (``acc_norm``).
``score_plain`` computes every string from its first token, one at a time: slow, and the reference that
:mod:`evals.ppl.prefix_sharing` has to equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evals.ppl.tasks import Item


@dataclass(frozen=True)
class Encoded:
    """An item as token ids.

    Attributes:
        item: The item.
        rows: The whole string of each option.
        starts: For each option the index of the first token of its continuation.
        common: Length of the longest common token prefix of the rows, always less than the shortest row.
        shots: Number of solved examples that fit.
        cut: Whether tokens were cut off on the left as well.
    """

    item: Item
    rows: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    common: int
    shots: int
    cut: bool

    @property
    def equal_lengths(self) -> bool:
        """Whether all options have the same number of tokens: then the shared prefix cannot change their order."""
        return len({len(row) for row in self.rows}) == 1


@dataclass(frozen=True)
class Scores:
    """Sums of cross-entropy in nats, one an option.

    Attributes:
        tokens: Number of tokens of the whole string.
        tail: Over the tokens after the common prefix.
        continuation: Over the tokens after the context.
        whole: Over the whole string; None when prefix sharing did not need it (options of equal length).
    """

    tokens: tuple[int, ...]
    tail: tuple[float, ...]
    continuation: tuple[float, ...]
    whole: tuple[float, ...] | None

    @property
    def mean(self) -> tuple[float, ...] | None:
        """OpenCompass's score: the sum over the whole string divided by its number of tokens."""
        return None if self.whole is None else tuple(w / n for w, n in zip(self.whole, self.tokens, strict=True))


@dataclass(frozen=True)
class Choice:
    """The option that each rule chooses: OpenCompass's (or the suffix rule), lm-eval's acc and acc_norm."""

    prediction: int
    acc: int
    acc_norm: int


def choose(item: Item, scores: Scores) -> Choice:
    """The option that each rule chooses; on a tie the first."""
    per_char = [s / max(1, len(c)) for s, c in zip(scores.continuation, item.choices, strict=True)]
    acc = _lowest(scores.continuation)
    if item.suffix:
        return Choice(acc, acc, acc)
    return Choice(_lowest(scores.mean or scores.tail), acc, _lowest(per_char))


def _lowest(values: Sequence[float]) -> int:
    return min(range(len(values)), key=values.__getitem__)


def encode(tokenizer: Any, items: Iterable[Item], window: int) -> Iterator[Encoded]:
    """The items as token ids, each option tokenised as one string.

    An item longer than ``window`` tokens loses solved examples from the last one on, as in OpenCompass; one that is
    too long even without examples is cut on the left as in lm-eval (OpenCompass would cut the answers off).
    """
    for item in items:
        shots = len(item.shots)
        rows, starts = _tokens(tokenizer, item, shots)
        while shots and max(map(len, rows)) > window:
            shots -= 1
            rows, starts = _tokens(tokenizer, item, shots)
        over = [max(0, len(row) - window) for row in rows]
        rows = [row[n:] for row, n in zip(rows, over, strict=True)]
        # At least the last token is a continuation; the first token of a row is never predicted.
        starts = [max(1, min(start - n, len(row) - 1)) for row, start, n in zip(rows, starts, over, strict=True)]
        common = min(common_prefix(rows), min(map(len, rows)) - 1)
        yield Encoded(item, tuple(map(tuple, rows)), tuple(starts), common, shots, any(over))


def _tokens(tokenizer: Any, item: Item, shots: int) -> tuple[list[list[int]], list[int]]:
    lead = item.head + "".join(item.shots[:shots])
    contexts = list(dict.fromkeys(item.contexts))
    # As in lm-eval: white space at the end of a context belongs to the continuation.
    ids = tokenizer([*item.texts(shots), *((lead + c).rstrip() for c in contexts)])["input_ids"]
    length = {context: len(row) for context, row in zip(contexts, ids[len(item.contexts) :], strict=True)}
    return ids[: len(item.contexts)], [length[context] for context in item.contexts]


def common_prefix(rows: Iterable[Sequence[int]]) -> int:
    """The length of the common token prefix of all rows."""
    tuples = [tuple(row) for row in rows]
    low, high = min(tuples), max(tuples)  # in lexicographic order these two have the shortest common prefix
    for n, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return n
    return min(len(low), len(high))


def score_plain(model: Any, encoded: Encoded) -> Scores:
    """The scores of one item by a forward pass over each whole string, without sharing: the reference."""
    import torch

    sums: dict[tuple[int, ...], list[float]] = {}
    for row in dict.fromkeys(encoded.rows):
        ids = torch.tensor([row], device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        sums[row] = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none").double().tolist()

    def total(start: int, row: tuple[int, ...]) -> float:
        return sum(sums[row][max(0, start - 1) :])

    return Scores(
        tokens=tuple(map(len, encoded.rows)),
        tail=tuple(total(encoded.common, row) for row in encoded.rows),
        continuation=tuple(total(s, row) for s, row in zip(encoded.starts, encoded.rows, strict=True)),
        whole=tuple(total(0, row) for row in encoded.rows),
    )
