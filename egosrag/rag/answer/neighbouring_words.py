"""The words that a number or another word of a sentence belongs to, by which two sentences are compared.

"Front 2.3 bar, rear 2.8 bar": the nearest words say that 2.3 is of the front.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Protocol

_TOKEN = re.compile(
    r"(?P<end>[\n;；。！？!?]|\.(?=\s|$))|(?P<part>[|,，、()（）]|\b(?:and|or|but|while)\b|以及|[和与或])|[A-Za-z]+|[\u3400-\u9fff]",
    re.IGNORECASE,
)
_COMMON = re.compile(
    r"the|an?|to|of|is|are|be|in|at|for|by|with|it|that|this|from|on|as|[的了在为是至到将请可应有其及则约]",
    re.IGNORECASE,
)
_DECAY = 0.8  # of the weight of a word with each word between it and the place
_SHARED = 0.5  # weight of the words of a part of the sentence without places, which is about all of them
_MARGIN = 1.15  # by how much the words around another place must fit better to reject
MASK = "\ufffc"
SHORTEST_COPY = 4  # letters without the marks


#: words with their weights
Label = dict[str, float]


class Match(Enum):
    """How a quote supports some places of a sentence: its numbers, or its words that have an opposite."""

    COPIED = "the quote contains the sentence as it is"
    SUPPORTED = "the quote contains each of them, of the same thing, or contradicts none"
    ALTERED = "the quote contains the sentence with others in their places"
    UNSUPPORTED = "the quote lacks one of them, or it belongs to another thing"

    @property
    def supports(self) -> bool:
        """Whether the quote supports the sentence."""
        return self in (Match.COPIED, Match.SUPPORTED)


class Place(Protocol):
    """A part of a text."""

    @property
    def start(self) -> int:
        """Where it begins."""

    @property
    def end(self) -> int:
        """Where it ends."""


def masked(text: str, found: Sequence[Place]) -> str:
    """The letters of a text, with ``MASK`` for each place."""
    parts, end = [], 0
    for place in found:
        parts += [text[end : place.start], MASK]
        end = place.end
    return re.sub(rf"[^\w{MASK}]|_", "", "".join([*parts, text[end:]])).casefold()


def fits(label: Label, own: Label, rival: Label) -> bool:
    """Whether the words around a place fit to those around one place of the quote, and not better to another's."""
    support = sum(min(weight, own[word]) for word, weight in label.items() if word in own and word not in rival)
    against = sum(min(weight, rival[word]) for word, weight in label.items() if word in rival and word not in own)
    return against <= support * _MARGIN


def labels(text: str, found: Sequence[Place]) -> list[Label]:
    """For each place the words that say what it belongs to, with their weights.

    They are those of its part of the sentence, up to a comma, a bracket, a cell's end or "and", less the farther they
    are; and at a lower weight those of the parts without a place. Of two places in one part, a word belongs to the
    next.
    """
    found_labels: list[Label] = [{} for _ in found]
    sentence: list[list[str | int]] = [[]]  # parts of words and of indices of places
    for token in [*_tokens(text, found), None]:
        if token is None or token == "\n":
            _label_sentence(sentence, found_labels)
            sentence = [[]]
        elif token == "|":
            sentence.append([])
        else:
            sentence[-1].append(token)
    return found_labels


def _tokens(text: str, found: Sequence[Place]) -> Iterator[str | int]:
    """The words, the places by their indices, "|" for the end of a part and a line break for that of a sentence."""
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
    marked = [token for part in parts for token in part if isinstance(token, int)]
    for part in parts:
        places = [(at, token) for at, token in enumerate(part) if isinstance(token, int)]
        for at, token in enumerate(part):
            if isinstance(token, int):
                continue
            if not places:
                for other in marked:
                    labels[other].setdefault(token, _SHARED)
                continue
            place, number = next((pair for pair in places if pair[0] > at), places[-1])
            labels[number][token] = max(_DECAY ** (abs(place - at) - 1), labels[number].get(token, 0.0))
