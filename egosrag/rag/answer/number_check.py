"""The number check: whether a quote contains each number of a sentence, and in the same place.

A number is supported by an equal one: sign, unit, range and tolerance included, however it is written. Of several
numbers of the quote it must be the one whose neighbouring words are those of the sentence: "front 2.3 bar, rear 2.8
bar" does not support "front 2.8 bar".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from egosrag.rag.answer.neighbouring_words import MASK, SHORTEST_COPY, Match, fits, labels, masked
from egosrag.text.numbers import LIST_MARKER
from egosrag.text.quantities import Quantity, quantities

_RESPECTIVELY = re.compile(r"分别|依次|\brespectively\b", re.IGNORECASE)


def numbers_supported(text: str, quote: str) -> bool:
    """Whether ``quote`` contains every number of ``text`` as the same quantity of the same thing."""
    return match_numbers(text, quote).supports


def match_numbers(text: str, quote: str) -> Match:
    """How a quote supports the numbers of a sentence.

    A unit that only one of them states is no contradiction: "30" is supported by "30 minutes" and the other way round.
    The number of a list item at the start of ``text`` is none.
    """
    text = LIST_MARKER.sub("", text)
    stated = quantities(text)
    if not stated:
        return Match.SUPPORTED
    available = quantities(quote)
    copied = _copied(text, stated, quote, available)
    if copied is not None:
        return Match.COPIED if copied else Match.ALTERED
    if _RESPECTIVELY.search(text):
        return Match.SUPPORTED if _in_order(stated, available) else Match.UNSUPPORTED
    own, quoted = labels(text, stated), labels(quote, available)
    for n, quantity in enumerate(stated):
        same = [i for i, other in enumerate(available) if _is_same(quantity, other)]
        rivals = [i for i, other in enumerate(available) if i not in same and _is_comparable(quantity, other)]
        if not any(all(fits(own[n], quoted[i], quoted[j]) for j in rivals) for i in same):
            return Match.UNSUPPORTED
    return Match.SUPPORTED


def _copied(text: str, stated: Sequence[Quantity], quote: str, available: Sequence[Quantity]) -> bool | None:
    """Whether a sentence that is copied has its numbers in their places; None if it is no copy."""
    sentence, original = masked(text, stated), masked(quote, available)
    if len(sentence) - len(stated) < SHORTEST_COPY:
        return None
    at, copied = original.find(sentence), None
    while at >= 0:
        first = original.count(MASK, 0, at)
        pairs = zip(stated, available[first : first + len(stated)], strict=False)
        if all(_is_same(quantity, other) for quantity, other in pairs):
            return True
        at, copied = original.find(sentence, at + 1), False
    return copied


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
