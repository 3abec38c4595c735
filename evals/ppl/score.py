"""The scores of PPL mode: OpenCompass's definition and lm-eval's, and the plain way to compute them.

OpenCompass (``icl_ppl_inferencer.py``): tokenise each whole option string, sum the cross-entropy of its N - 1
predicted tokens, divide by N; the lowest wins, the first of equals. lm-evaluation-harness (``api/task.py``): sum the
log-probabilities of the continuation alone; the highest wins (``acc``), or the highest per character (``acc_norm``).
``score_plain`` recomputes every string from its first token, one at a time: slow, and what the fast way
(``ppl_shared``) has to equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evals.ppl.tasks import Item


@dataclass(frozen=True)
class Encoded:
    """An item as token ids: ``rows[i]`` is option i as a whole, ``starts[i]`` where its continuation begins.

    ``common`` is the length of the longest common token prefix of the rows, and always less than the shortest of
    them. ``shots`` is how many solved examples fit, ``cut`` whether tokens were still cut off on the left.
    """

    item: Item
    rows: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    common: int
    shots: int
    cut: bool

    @property
    def equal_lengths(self) -> bool:
        """Whether all options have as many tokens: then what they share cannot change the order of the means."""
        return len({len(row) for row in self.rows}) == 1


@dataclass(frozen=True)
class Scores:
    """Sums of cross-entropy in nats, one an option.

    ``tail`` runs over the tokens after the common prefix, ``continuation`` over those after the context, ``whole``
    over all of the string; it is None where the fast way had no need of it (options of equal length).
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
class Verdict:
    """The option that each rule chooses: OpenCompass's (or the suffix rule), lm-eval's acc and acc_norm."""

    prediction: int
    acc: int
    acc_norm: int


def verdict(item: Item, scores: Scores) -> Verdict:
    """What each rule chooses; the first option of equals."""
    per_char = [s / max(1, len(c)) for s, c in zip(scores.continuation, item.choices, strict=True)]
    acc = _lowest(scores.continuation)
    if item.suffix:
        return Verdict(acc, acc, acc)
    return Verdict(_lowest(scores.mean or scores.tail), acc, _lowest(per_char))


def _lowest(values: Sequence[float]) -> int:
    return min(range(len(values)), key=values.__getitem__)


def encode(tokenizer: Any, items: Iterable[Item], window: int) -> Iterator[Encoded]:
    """The items as token ids, each option tokenised as one string.

    What does not fit into ``window`` tokens loses solved examples from the last one on, as in OpenCompass; what is
    too long even without any is cut on the left as in lm-eval, where OpenCompass would cut the answers off.
    """
    for item in items:
        shots = len(item.shots)
        rows, starts = _tokens(tokenizer, item, shots)
        while shots and max(map(len, rows)) > window:
            shots -= 1
            rows, starts = _tokens(tokenizer, item, shots)
        over = [max(0, len(row) - window) for row in rows]
        rows = [row[n:] for row, n in zip(rows, over, strict=True)]
        # At least the last token is a continuation, and the first one is predicted by nothing.
        starts = [max(1, min(start - n, len(row) - 1)) for row, start, n in zip(rows, starts, over, strict=True)]
        common = min(common_prefix(rows), min(map(len, rows)) - 1)
        yield Encoded(item, tuple(map(tuple, rows)), tuple(starts), common, shots, any(over))


def _tokens(tokenizer: Any, item: Item, shots: int) -> tuple[list[list[int]], list[int]]:
    lead = item.head + "".join(item.shots[:shots])
    contexts = list(dict.fromkeys(item.contexts))
    # As lm-eval does: white space at the end of a context is counted to the continuation.
    ids = tokenizer([*item.texts(shots), *((lead + c).rstrip() for c in contexts)])["input_ids"]
    length = {context: len(row) for context, row in zip(contexts, ids[len(item.contexts) :], strict=True)}
    return ids[: len(item.contexts)], [length[context] for context in item.contexts]


def common_prefix(rows: Iterable[Sequence[int]]) -> int:
    """The number of tokens that all rows begin with."""
    tuples = [tuple(row) for row in rows]
    low, high = min(tuples), max(tuples)  # in lexical order these two differ first
    for n, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return n
    return min(len(low), len(high))


def score_plain(model: Any, encoded: Encoded) -> Scores:
    """The scores of one item by a forward pass over each whole string, nothing shared: the reference."""
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
