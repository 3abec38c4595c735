"""The check for opposites: whether a sentence says "unlock" where its quote says "lock".

A sentence is not supported where the quote has the opposite of one of its words in the same position: in an otherwise
equal sentence, or among the same neighbouring words. "Press the unlock button" is supported by no quote of "press the
lock button", and "pull the left lever" not by "the left door ... the right lever". The pairs are in ``data/opposites``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple

from egosrag.rag.answer.neighbouring_words import MASK, SHORTEST_COPY, Match, fits, labels, masked

_SWITCH = r"(?:turn|switch|power|shut|set|put|go)(?:e?s|ed|ing)? (?:[\w'’-]+ ){0,4}?"
# What a word means elsewhere: "all right", "based on", 目前, 后备厢, 热线.
_PATTERNS = {
    "right": r"(?<!all )right(?! away| now| of way)",
    "on": rf"{_SWITCH}(?P<on>on)|\b(?:is|are|be|comes?) (?P<is_on>on)(?=\s*(?:[,.;!?)]|$))|(?-i:ON|(?<=[a-z] )On)",
    "off": rf"{_SWITCH}(?P<off>off)|off(?!-|er)",
    "before": r"before(?!hand)",
    "driver": r"driver(?!s license)",
    "前": r"(?<![目当提之以空])前(?![提往言景者])",
    "后": r"(?<![然最随今落善之以])后(?![续果备视者悔台来援])",
    "热": r"热(?![线点情爱])",
    "冷": r"冷(?!却液|媒|凝)",
    "左": r"左(?!右)",
    "右": r"(?<!左)右",
}


_PART_END = re.compile(r"[,，;；。！？!?\n]|\.(?=\s|$)")


class Opposite(NamedTuple):
    """A word of a text that has an opposite.

    Attributes:
        start: where it begins.
        end: where it ends.
        sides: the pair of opposites that it belongs to, and on which side, 0 or 1; of a few words several.
    """

    start: int
    end: int
    sides: frozenset[tuple[int, int]]

    def is_same(self, other: Opposite) -> bool:
        """Whether both mean the same side of a pair."""
        return bool(self.sides & other.sides)

    def is_opposite(self, other: Opposite) -> bool:
        """Whether both are of a pair, on its two sides."""
        return not self.is_same(other) and any((pair, 1 - side) in other.sides for pair, side in self.sides)


class _Pair(NamedTuple):
    """A pair of opposites: the words of its two sides, and whether they are English verbs."""

    sides: tuple[tuple[str, ...], tuple[str, ...]]
    verbs: bool


@cache
def opposite_words() -> tuple[_Pair, ...]:
    """The pairs of ``data/opposites``, Chinese and English."""
    pairs = []
    for language in ("en", "zh"):
        text = (files("egosrag") / "data" / "opposites" / f"{language}.txt").read_text(encoding="utf-8")
        for line in text.splitlines():
            if line.strip() and not line.startswith("#"):
                one, other = (
                    tuple(word.strip() for word in side.split(",")) for side in line.removeprefix("to ").split(" / ")
                )
                pairs.append(_Pair((one, other), line.startswith("to ")))
    return tuple(pairs)


@lru_cache(4096)  # each quote is compared with every sentence of an answer
def opposites(text: str) -> tuple[Opposite, ...]:
    """The words of a text that have an opposite, in order; of words within each other the longest."""
    sides: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for pattern, pair, side in _compiled():
        for match in pattern.finditer(text):
            sides.setdefault(match.span(match.lastgroup or 0), set()).add((pair, side))
    found: list[Opposite] = []
    for start, end in sorted(sides, key=lambda span: (span[0], -span[1])):
        if not found or start >= found[-1].end:
            found.append(Opposite(start, end, frozenset(sides[start, end])))
    return tuple(found)


@cache
def _compiled() -> tuple[tuple[re.Pattern[str], int, int], ...]:
    return tuple(
        (re.compile("|".join(_pattern(word, pair.verbs) for word in words), re.IGNORECASE), number, side)
        for number, pair in enumerate(opposite_words())
        for side, words in enumerate(pair.sides)
    )


def _pattern(word: str, is_verb: bool) -> str:
    pattern = _PATTERNS.get(word, word)
    if is_verb:
        stem = word.removesuffix("e")
        pattern = rf"{stem}(?:e?s|e|{stem[-1]}?(?:ed|ing))?"
    return rf"\b(?:{pattern})\b" if word.isascii() else pattern


def match_opposites(text: str, quote: str) -> Match:
    """How a quote supports the words of a sentence that have an opposite: it may not say that in the same position."""
    stated = opposites(text)
    available = opposites(quote)
    if not stated:
        return Match.SUPPORTED
    copy = _copy(text, stated, quote, available)
    if copy is Match.COPIED or not any(word.is_opposite(other) for word in stated for other in available):
        return copy or Match.SUPPORTED
    if copy is not Match.ALTERED and _are_together(stated, quote):
        return Match.SUPPORTED
    if copy:
        return copy
    own, quoted = labels(text, stated), labels(quote, available)
    for n, word in enumerate(stated):
        same = [i for i, other in enumerate(available) if word.is_same(other)]
        rivals = [i for i, other in enumerate(available) if word.is_opposite(other)]
        if same and not any(all(fits(own[n], quoted[i], quoted[j]) for j in rivals) for i in same):
            return Match.UNSUPPORTED
        if not same and any(own[n].keys() & quoted[j].keys() for j in rivals):
            return Match.UNSUPPORTED
    return Match.SUPPORTED


def _are_together(stated: Sequence[Opposite], quote: str) -> bool:
    """Whether one part of the quote has all of several words and none of their opposites: "push it to open"."""
    if len(stated) < 2 or any(word.is_same(other) or word.is_opposite(other) for word, other in pairwise(stated)):
        return False
    for part in _PART_END.split(quote):
        words = opposites(part)
        contradicts = any(word.is_opposite(other) for word in stated for other in words)
        if not contradicts and all(any(word.is_same(other) for other in words) for word in stated):
            return True
    return False


def _copy(text: str, stated: Sequence[Opposite], quote: str, available: Sequence[Opposite]) -> Match | None:
    """How the quote has the sentence, but for words with an opposite; None where it has no such sentence.

    Where all of several words are the opposite, it is not altered: "push it to open" stands beside "pull it to close".
    """
    sentence, original = masked(text, stated), masked(quote, available)
    if len(sentence) - len(stated) < SHORTEST_COPY:
        return None
    at, found = original.find(sentence), None
    while at >= 0:
        first = original.count(MASK, 0, at)
        opposite = [a.is_opposite(b) for a, b in zip(stated, available[first:], strict=False)]
        if not any(opposite):
            return Match.COPIED
        altered = len(opposite) == 1 or not all(opposite)
        found = Match.ALTERED if altered else found or Match.UNSUPPORTED
        at = original.find(sentence, at + 1)
    return found
