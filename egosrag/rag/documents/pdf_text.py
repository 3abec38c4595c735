"""The text of a PDF page in segments: runs of characters on one baseline without a wide gap."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from egosrag.rag.documents.pdf_objects import Character
from egosrag.rag.documents.superscripts import superscript

_GAP = 1.2  # in sizes of the type: a wider gap ends a segment
_SPACE_GAP = 0.2  # a wider one is a space
SAME_LINE = 0.45  # of the height by which baselines on one line may differ
_RAISED = 0.9  # of the size of the line: smaller type above the baseline is a superscript
_MARKER = re.compile(r"[■□●○◆◇▪▫•·‣※★☆*\-–—]|\(?\d{1,3}[.)）、]|\d{1,2}|[①-⑳]|[a-zA-Z][.)]|[（(]\d+[)）]")
_WIDE = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u303f]")


class Segment(NamedTuple):
    """A run of text on one line."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    size: float
    bold: bool = False

    @property
    def height(self) -> float:
        """The height of its type, in points."""
        return max(self.top - self.bottom, 1.0)


def segments(characters: Iterable[Character]) -> list[Segment]:
    """The segments of characters, from the top to the bottom and from left to right."""
    runs = [_segment(run) for run in _runs(characters)]
    lines = _lines([run for run in runs if run.text.strip()])
    return [segment for line in lines for segment in _joined(line)]


def _runs(characters: Iterable[Character]) -> Iterator[list[Character]]:
    """Characters that follow each other on a line."""
    run: list[Character] = []
    for character in characters:
        if run:
            last = run[-1]
            height = max(last.top - last.bottom, character.top - character.bottom, 1.0)
            apart = character.left - last.right
            level = abs(character.bottom - last.bottom) <= SAME_LINE * height
            if (
                not (level or _is_raised(character, last) or _is_raised(last, character))
                or apart > _GAP * max(character.size, last.size, 4.0)
                or character.left < last.left - 0.3 * height
            ):
                yield run
                run = []
        if run or not character.text.isspace():
            run.append(character)
    if run:
        yield run


def _is_raised(character: Character, beside: Character) -> bool:
    """Whether a character is a superscript of its neighbour: smaller, above its baseline and not above its top."""
    return character.size < _RAISED * beside.size and beside.bottom < character.bottom < beside.top


def _segment(run: Sequence[Character]) -> Segment:
    size = max(character.size for character in run)
    base = min(character.bottom for character in run if character.size == size)
    text, raised = "", ""
    last: Character | None = None
    for character in run:
        is_raised = character.size < _RAISED * size and character.bottom > base + 0.12 * size
        if raised and not is_raised:
            text, raised = text + superscript(raised), ""
        if last and character.left - last.right > _SPACE_GAP * size and not last.text.isspace():
            text += "" if character.text.isspace() or _tight(last.text, character.text) else " "
        if is_raised:
            raised += character.text
        else:
            text += character.text
        last = character
    text += superscript(raised) if raised else ""
    bold = sum(character.bold for character in run) * 2 > len(run)
    left, right = min(c.left for c in run), max(c.right for c in run)
    return Segment(text.strip(), left, base, right, max(c.top for c in run if c.size == size), size, bold)


def _tight(left: str, right: str) -> bool:
    return bool(_WIDE.match(left) or _WIDE.match(right))


def _lines(items: Sequence[Segment]) -> list[list[Segment]]:
    """Segments by their baselines, from the top, each line from left to right."""
    lines: list[list[Segment]] = []
    for item in sorted(items, key=lambda item: -item.bottom):
        line = lines[-1] if lines else None
        if line and abs(line[0].bottom - item.bottom) <= SAME_LINE * min(line[0].height, item.height):
            line.append(item)
        else:
            lines.append([item])
    return [sorted(line, key=lambda item: item.left) for line in lines]


def _joined(line: Sequence[Segment]) -> Iterator[Segment]:
    """The segments of a line, those without a gap between them as one; the mark of a list item with its text."""
    current = line[0]
    for item in line[1:]:
        apart = item.left - current.right
        size = max(current.size, item.size, 4.0)
        if apart <= (4 if _MARKER.fullmatch(current.text) else _GAP) * size and apart > -size:
            space = "" if _tight(current.text[-1:], item.text[:1]) or apart < _SPACE_GAP * size else " "
            space = " " if _MARKER.fullmatch(current.text) and apart > _SPACE_GAP * size else space
            bold = current.bold and item.bold
            current = Segment(
                current.text + space + item.text,
                current.left,
                min(current.bottom, item.bottom),
                max(current.right, item.right),
                max(current.top, item.top),
                current.size if len(current.text) >= len(item.text) else item.size,
                bold,
            )
        else:
            yield current
            current = item
    yield current


def wrapped(lines: Sequence[str]) -> str:
    """The lines of a cell as one: Chinese without a space."""
    text = ""
    for line in filter(None, lines):
        text += line if not text or _tight(text[-1], line[0]) else f" {line}"
    return text


def cell_text(characters: Iterable[Character]) -> str:
    """The text of the characters in a cell."""
    lines = _lines(segments(characters))
    return wrapped([" ".join(item.text for item in line) for line in lines])


def width(text: str) -> int:
    """The width of a text in columns; a Chinese character has two."""
    return len(text) + len(_WIDE.findall(text))
