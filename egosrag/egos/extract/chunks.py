"""Sources cut for Extract: sentences with their places, pieces that fit a window, and which of them to read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from egosrag.text.language import language_of

_END = re.compile(r"(?:[.!?]+[\"'”’)\]]*(?=\s|$)|[。！？…]+[”’」』）\"]*|\n\s*\n|\n)")
_ABBREVIATED = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|Prof|vs|No)|\b[A-Z])\.$")
_SHORT_LINE = 45  # a line that was broken by hand for its width is longer than this


@dataclass(frozen=True)
class Piece:
    """A run of whole sentences of one source: ``text == source[start:end]``."""

    source: int
    start: int
    end: int
    text: str


def sentences(text: str) -> list[tuple[int, int]]:
    """The places of the sentences of ``text``, blanks around them left out.

    A line break ends a sentence where the line is short or Chinese; in long lines it is a break for width.
    """
    found: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        if match.group() == "\n":
            line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
            if len(line) >= _SHORT_LINE and language_of(line) == "en":
                continue
        elif match.group().startswith(".") and _ABBREVIATED.search(text[start : match.start() + 1]):
            continue
        elif match.group()[-1] in "\"'”’" and text[match.end() : match.end() + 2].strip().islower():
            continue  # “Stop!” he cried.
        found.append((start, match.end()))
        start = match.end()
    found.append((start, len(text)))
    return [span for a, b in found if (span := _stripped(text, a, b))[1] > span[0]]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - (len(part) - len(part.rstrip()))


def cut(sources: Sequence[tuple[str, str]], room: int, count: Callable[[str], int]) -> list[Piece]:
    """The sources in pieces of at most ``room`` tokens each, between sentences where one fits.

    Args:
        sources: (name, text) pairs.
        room: tokens of a piece.
        count: tokens of a text.
    """
    pieces: list[Piece] = []
    for number, (_, text) in enumerate(sources):
        whole = _stripped(text, 0, len(text))
        if whole[1] > whole[0] and len(text) < room * 8 and count(text) <= room:
            pieces.append(_piece(number, text, *whole))
            continue
        longest = _characters(text, room, count)
        spans = [part for span in sentences(text) for part in _halved(span, longest)]
        at = 0
        while at < len(spans):
            last = at
            while last + 1 < len(spans) and spans[last + 1][1] - spans[at][0] <= longest:
                last += 1
            while last > at and count(text[spans[at][0] : spans[last][1]]) > room:
                last -= max(1, (last - at) // 8)
            pieces.append(_piece(number, text, spans[at][0], spans[last][1]))
            at = last + 1
    return pieces


def _piece(source: int, text: str, start: int, end: int) -> Piece:
    return Piece(source, start, end, text[start:end])


def _characters(text: str, room: int, count: Callable[[str], int]) -> int:
    """How many characters fill ``room``, by a sample from the middle: counting everything would take long."""
    sample = text[len(text) // 2 :][:2000] or text
    return max(40, int(room * len(sample) / max(1, count(sample))))


def _halved(span: tuple[int, int], longest: int) -> list[tuple[int, int]]:
    start, end = span
    return [(a, min(a + longest, end)) for a in range(start, end, longest)]


def names_of(name: str) -> list[str]:
    """How a text may name ``name``: whole, and by each part of a Latin name that is long enough to be its own."""
    parts = [part for part in re.split(r"[\s·•]+", name) if len(part) > 2 or not part.isascii()]
    return list(dict.fromkeys([name, *parts]))


def mention(name: str) -> re.Pattern[str]:
    """A pattern that finds ``name`` in a text, as a word of its own where its letters have spaces between words."""
    # Not \b: in Chinese text a Latin name stands between letters of another script.
    alternatives = (
        rf"(?<![A-Za-z0-9_]){re.escape(n)}(?![A-Za-z0-9_])" if n.isascii() else re.escape(n) for n in names_of(name)
    )
    return re.compile("|".join(alternatives))


def chosen(pieces: Sequence[Piece], name: str, most: int) -> list[Piece]:
    """At most ``most`` pieces, spread over the sources, the ones that name ``name`` most in their neighbourhood.

    All of them when there are no more than that; otherwise the pieces that name it, in their order, are dealt into
    ``most`` groups of which each gives the densest.
    """
    if len(pieces) <= most:
        return list(pieces)
    named = mention(name)
    density = {n: len(named.findall(piece.text)) / len(piece.text) for n, piece in enumerate(pieces)}
    naming = [n for n in density if density[n] > 0]
    if len(naming) <= most:
        # There is room for neighbours: what is told of someone goes on where the name is not said again.
        beside = [m for n in naming for m in (n + 1, n - 1) if 0 <= m < len(pieces) and m not in naming]
        taken = naming + list(dict.fromkeys(beside))[: most - len(naming)]
        return [pieces[n] for n in sorted(taken)]
    groups = [naming[len(naming) * i // most : len(naming) * (i + 1) // most] for i in range(most)]
    return [pieces[max(group, key=lambda n: density[n])] for group in groups]
