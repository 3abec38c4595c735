"""Raw documents: what a reader returns before cleaning."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from egosrag.errors import SourceError


class Line(NamedTuple):
    """One line of a page; ``level`` is 0 for body text, else the level of the heading, from 1."""

    text: str
    level: int = 0


class RawPage(NamedTuple):
    """One page before cleaning."""

    number: int
    lines: list[Line]


class RawDocument(NamedTuple):
    """One document before cleaning.

    Attributes:
        pages: the pages with text.
        kind: "paged": has running heads and wrapped lines; "text": may be wrapped; "flow": each line is a paragraph.
        skipped: the numbers of the pages without text.
        notes: what was not read, one phrase each ("2 pictures").
    """

    pages: list[RawPage]
    kind: Literal["paged", "text", "flow"]
    skipped: list[int] = []
    notes: tuple[str, ...] = ()


def check_limit(path: Path, count: int, limit: int, unit: str) -> None:
    """Check that a document does not have more bytes or pages than the limit.

    Raises:
        SourceError: it has more.
    """
    if count > limit:
        raise SourceError(f"{path} has {count:,} {unit}, and the limit is {limit:,}: split it into several files")
