"""Sentence and chunk splitting for Extract: whole sentences up to a token budget, and the choice of chunks to read."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from egosrag.schema import Point
from egosrag.text.language import language_of
from egosrag.text.names import mention_pattern
from egosrag.text.sentences import sentence_spans

# A hard-wrapped line in Latin script is at least this many characters long.
_WRAPPED_LINE = 45
_ENDED = re.compile(r"[.!?…:;。！？：；][\"'”’」』)\]）]*\s*$")
_CLOSED_QUOTE = re.compile(r"[\"'”’]\s*$")


@dataclass(frozen=True)
class Chunk:
    """A run of whole sentences of one source: ``text == source[start:end]``; and a line that is just before it."""

    source: int
    start: int
    end: int
    text: str
    before: str = ""


def source_sentences(text: str) -> list[tuple[int, int]]:
    """The sentences of a source as (start, end), without the white space around them.

    Hard-wrapped lines, as in plain-text novels, are joined, and so is a quotation with what follows in lower case:
    “Stop!” he cried.
    """
    joined: list[tuple[int, int]] = []
    for start, end in sentence_spans(text):
        if joined and _continues(text, joined[-1][0], start):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [span for a, b in joined if (span := _stripped(text, a, b))[1] > span[0]]


def _continues(text: str, start: int, end: int) -> bool:
    """Whether the sentence that starts at ``start`` continues at ``end``, where the splitter ended it."""
    before = text[start:end]
    if _CLOSED_QUOTE.search(before) and text[end : end + 1].islower():
        return True
    space = before[len(before.rstrip()) :]
    line = before.rstrip().rpartition("\n")[2]
    wrapped = space.count("\n") == 1 and len(line) >= _WRAPPED_LINE and language_of(line) == "en"
    return wrapped and not _ENDED.search(before)


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - (len(part) - len(part.rstrip()))


def split_sources(
    sources: Sequence[tuple[str, str]],
    budget: int,
    count: Callable[[str], int],
    *,
    paragraphs: bool = False,
    timeline: Sequence[Point] = (),
) -> list[Chunk]:
    """The sources in chunks of at most ``budget`` tokens each, split between sentences where one fits.

    Args:
        sources: (name, text) pairs.
        budget: tokens of a chunk.
        count: number of tokens of a text.
        paragraphs: end a chunk with a paragraph where one ends in its second half, so that a speech is not torn from
            the words that say whose it is.
        timeline: a chunk ends where one of these points starts, if the text before it since the last one is longer
            than a chunk, so that no chunk has the end of a chapter and the beginning of the next.
    """
    chunks: list[Chunk] = []
    for number, (name, text) in enumerate(sources):
        whole = _stripped(text, 0, len(text))
        if whole[1] > whole[0] and len(text) < budget * 8 and count(text) <= budget:
            chunks.append(_chunk(number, text, *whole))
            continue
        longest = _characters(text, budget, count)
        spans = [part for span in source_sentences(text) for part in _halved(span, longest)]
        borders = _borders([point.start for point in timeline if point.source == name], longest)
        at = 0
        while at < len(spans):
            last = at
            limit = min(spans[at][0] + longest, next(iter(borders[bisect_right(borders, spans[at][0]) :]), len(text)))
            while last + 1 < len(spans) and spans[last + 1][1] <= limit:
                last += 1
            while last > at and count(text[spans[at][0] : spans[last][1]]) > budget:
                last -= max(1, (last - at) // 8)
            if paragraphs and last + 1 < len(spans):
                last = _paragraph_end(text, spans, at, last)
            chunks.append(_chunk(number, text, spans[at][0], spans[last][1]))
            at = last + 1
    return chunks


def _borders(starts: Sequence[int], longest: int) -> list[int]:
    """Those of the starts that have more than ``longest`` characters between them and the start before."""
    return [start for before, start in zip(starts, starts[1:], strict=False) if start - before > longest]


def _paragraph_end(text: str, spans: Sequence[tuple[int, int]], first: int, last: int) -> int:
    """The last sentence of the second half of ``first`` to ``last`` that ends a paragraph, else ``last``."""
    ends = (n for n in range(last, first + (last - first) // 2 - 1, -1) if "\n" in text[spans[n][1] : spans[n + 1][0]])
    return next(ends, last)


def _chunk(source: int, text: str, start: int, end: int) -> Chunk:
    return Chunk(source, start, end, text[start:end])


def _characters(text: str, budget: int, count: Callable[[str], int]) -> int:
    """Number of characters that fill ``budget``, by a sample from the middle: counting everything takes long."""
    sample = text[len(text) // 2 :][:2000] or text
    return max(40, int(budget * len(sample) / max(1, count(sample))))


def _halved(span: tuple[int, int], longest: int) -> list[tuple[int, int]]:
    start, end = span
    return [(a, min(a + longest, end)) for a in range(start, end, longest)]


def select_chunks(chunks: Sequence[Chunk], name: str, limit: int) -> list[Chunk]:
    """At most ``limit`` chunks that mention ``name``, spread over the sources; all chunks if there are no more.

    The chunks that mention it are divided, in order, into ``limit`` groups, and from each group the one with the most
    mentions per character is selected. If fewer than ``limit`` mention it, chunks beside them fill the rest.
    """
    if len(chunks) <= limit:
        return list(chunks)
    named = mention_pattern(name)
    density = {n: len(named.findall(chunk.text)) / len(chunk.text) for n, chunk in enumerate(chunks)}
    naming = [n for n in density if density[n] > 0]
    if len(naming) <= limit:
        # A passage about somebody often continues in the next chunk without the name.
        beside = [m for n in naming for m in (n + 1, n - 1) if 0 <= m < len(chunks) and m not in naming]
        taken = naming + list(dict.fromkeys(beside))[: limit - len(naming)]
        return [chunks[n] for n in sorted(taken)]
    groups = [naming[len(naming) * i // limit : len(naming) * (i + 1) // limit] for i in range(limit)]
    return [chunks[max(group, key=lambda n: density[n])] for group in groups]
