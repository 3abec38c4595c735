"""The number check: whether a quote contains each number of a sentence, and in the same place.

A number is supported by an equal one: sign, unit, range and tolerance included, however it is written. Of several
numbers of the quote it must be the one whose neighbouring words are those of the sentence: "front 2.3 bar, rear 2.8
bar" does not support "front 2.8 bar".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum

from egosrag.text.numbers import LIST_MARKER
from egosrag.text.quantities import Quantity, quantities

_TOKEN = re.compile(
    r"(?P<end>[\n;；。！？!?]|\.(?=\s|$))|(?P<part>[|,，、]|\b(?:and|or|but|while)\b|以及|[和与或])|[A-Za-z]+|[\u3400-\u9fff]",
    re.IGNORECASE,
)
_COMMON = re.compile(
    r"the|an?|to|of|is|are|be|in|at|for|by|with|it|that|this|from|on|as|[的了在为是至到将请可应有其及则约]",
    re.IGNORECASE,
)
_RESPECTIVELY = re.compile(r"分别|依次|\brespectively\b", re.IGNORECASE)
_DECAY = 0.8  # of the weight of a word with each word between it and the number
_SHARED = 0.5  # weight of the words of a part of the sentence without numbers, which is about all numbers of it
_MARGIN = 1.15  # by how much the words around another number must fit better to reject
_MASK = "\ufffc"
_SHORTEST_COPY = 4  # letters without the numbers


#: words with their weights
Label = dict[str, float]


class NumberMatch(Enum):
    """How a quote supports the numbers of a sentence."""

    COPIED = "the quote contains the sentence as it is, with its numbers"
    SUPPORTED = "the quote contains each number, of the same thing"
    ALTERED = "the quote contains the sentence with other numbers"
    UNSUPPORTED = "the quote lacks a number, or it belongs to another thing"


def numbers_supported(text: str, quote: str) -> bool:
    """Whether ``quote`` contains every number of ``text`` as the same quantity of the same thing."""
    return match_numbers(text, quote) in (NumberMatch.COPIED, NumberMatch.SUPPORTED)


def match_numbers(text: str, quote: str) -> NumberMatch:
    """How a quote supports the numbers of a sentence.

    A unit that only one of them states is no contradiction: "30" is supported by "30 minutes" and the other way round.
    The number of a list item at the start of ``text`` is none.
    """
    text = LIST_MARKER.sub("", text)
    stated = quantities(text)
    if not stated:
        return NumberMatch.SUPPORTED
    available = quantities(quote)
    copied = _copied(text, stated, quote, available)
    if copied is not None:
        return NumberMatch.COPIED if copied else NumberMatch.ALTERED
    if _RESPECTIVELY.search(text):
        return NumberMatch.SUPPORTED if _in_order(stated, available) else NumberMatch.UNSUPPORTED
    labels, quoted = _labels(text, stated), _labels(quote, available)
    for n, quantity in enumerate(stated):
        same = [i for i, other in enumerate(available) if _is_same(quantity, other)]
        rivals = [i for i, other in enumerate(available) if i not in same and _is_comparable(quantity, other)]
        if not any(all(_fits(labels[n], quoted[i], quoted[j]) for j in rivals) for i in same):
            return NumberMatch.UNSUPPORTED
    return NumberMatch.SUPPORTED


def _copied(text: str, stated: Sequence[Quantity], quote: str, available: Sequence[Quantity]) -> bool | None:
    """Whether a sentence that is copied has its numbers in their places; None if it is no copy."""
    masked, original = _masked(text, stated), _masked(quote, available)
    if len(masked) - len(stated) < _SHORTEST_COPY:
        return None
    at, copied = original.find(masked), None
    while at >= 0:
        first = original.count(_MASK, 0, at)
        pairs = zip(stated, available[first : first + len(stated)], strict=False)
        if all(_is_same(quantity, other) for quantity, other in pairs):
            return True
        at, copied = original.find(masked, at + 1), False
    return copied


def _masked(text: str, found: Sequence[Quantity]) -> str:
    """The letters of a text, with a mark for each quantity."""
    parts, end = [], 0
    for quantity in found:
        parts += [text[end : quantity.start], _MASK]
        end = quantity.end
    return re.sub(rf"[^\w{_MASK}]|_", "", "".join([*parts, text[end:]])).casefold()


def _is_same(quantity: Quantity, other: Quantity) -> bool:
    """Whether two quantities are equal, where both state it."""
    units_differ = quantity.unit and other.unit and quantity.unit != other.unit
    if quantity.kind != other.kind or units_differ or {quantity.bound, other.bound} == {"<", ">"}:
        return False
    return quantity.values == other.values or (
        len(quantity.values) == 1 and (quantity.values[0] in other.readings or other.values[0] in quantity.readings)
    )


def _is_comparable(quantity: Quantity, other: Quantity) -> bool:
    """Whether one quantity could be mistaken for the other."""
    if "code" in (quantity.kind, other.kind):
        return quantity.kind == other.kind
    return quantity.unit == other.unit or not quantity.unit or not other.unit


def _in_order(stated: Sequence[Quantity], available: Sequence[Quantity]) -> bool:
    """Whether the quote has the quantities in this order."""
    rest = iter(available)
    return all(any(_is_same(quantity, other) for other in rest) for quantity in stated)


def _fits(label: Label, own: Label, rival: Label) -> bool:
    """Whether the words around a number fit to those around one number of the quote, and not better to another's."""
    support = sum(min(weight, own[word]) for word, weight in label.items() if word in own and word not in rival)
    against = sum(min(weight, rival[word]) for word, weight in label.items() if word in rival and word not in own)
    return against <= support * _MARGIN


def _labels(text: str, found: Sequence[Quantity]) -> list[Label]:
    """For each quantity the words that say what it belongs to, with their weights.

    They are those of its part of the sentence, up to a comma, a cell's end or "and", less the farther they are; and at
    a lower weight those of the parts without a number. Of two numbers in one part, a word belongs to the next.
    """
    labels: list[Label] = [{} for _ in found]
    sentence: list[list[str | int]] = [[]]  # parts of words and of indices of quantities
    for token in [*_tokens(text, found), None]:
        if token is None or token == "\n":
            _label_sentence(sentence, labels)
            sentence = [[]]
        elif token == "|":
            sentence.append([])
        else:
            sentence[-1].append(token)
    return labels


def _tokens(text: str, found: Sequence[Quantity]) -> Iterator[str | int]:
    """The words, the quantities by their indices, "|" for the end of a part and a line break for that of a sentence."""
    n = 0
    at = 0
    while at < len(text):
        if n < len(found) and at >= found[n].start:
            yield n
            at, n = found[n].end, n + 1
            continue
        match = _TOKEN.search(text, at, found[n].start if n < len(found) else len(text))
        if not match:
            at = found[n].start if n < len(found) else len(text)
            continue
        at = match.end()
        if match["end"] or match["part"]:
            yield "\n" if match["end"] else "|"
        elif not _COMMON.fullmatch(match.group()):
            word = match.group().casefold()
            yield word[:-1] if len(word) > 3 and word.endswith("s") else word


def _label_sentence(parts: Sequence[Sequence[str | int]], labels: Sequence[Label]) -> None:
    numbers = [token for part in parts for token in part if isinstance(token, int)]
    for part in parts:
        places = [(at, token) for at, token in enumerate(part) if isinstance(token, int)]
        for at, token in enumerate(part):
            if isinstance(token, int):
                continue
            if not places:
                for other in numbers:
                    labels[other].setdefault(token, _SHARED)
                continue
            place, number = next((pair for pair in places if pair[0] > at), places[-1])
            labels[number][token] = max(_DECAY ** (abs(place - at) - 1), labels[number].get(token, 0.0))
