"""Procedures: the numbered steps and the bulleted lists of a page, which are read and quoted as a whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from egosrag.schema import Page

_NUMBER = re.compile(
    r"\s*(?:(?:step|步骤)\s*(\d{1,2})\b|[(（](\d{1,2})[)）]|(\d{1,2})(?:[.)、）](?!\d)|\s+(?=\D))|0([1-9])(?=[^\d\s.,:]))"
    r"|\s*([①-⑳])",
    re.IGNORECASE,
)
_BULLET = re.compile(r"\s*([■□●○◆◇▪▫•·‣★☆*–—-])\s*(?=\S)")
_INTRODUCTION = re.compile(r"[:：]\s*$")
_LINES_BETWEEN = 5  # lines without a number between two steps, such as notes and the bullets of a step
_LONGEST_BULLETS = 600  # characters of a bulleted list that is kept whole; steps always are


class Procedure(NamedTuple):
    """A list of a page: ``page.text[start:end]``, with the line that introduces it.

    Attributes:
        start: offset of its first character.
        end: offset behind its last one.
        first: the number of its first step; 0 for bullets.
        last: the number of its last step; 0 for bullets.
    """

    start: int
    end: int
    first: int
    last: int


def procedures(page: Page) -> list[Procedure]:
    """The lists of a page with two items or more, and steps that go on from or to another page, in order."""
    headings = {heading.start for heading in page.headings}
    lines: list[tuple[int, int]] = []
    at = 0
    for line in page.text.split("\n"):
        lines.append((at, at + len(line)))
        at += len(line) + 1
    found = [*_steps(page.text, lines, headings), *_bullets(page.text, lines, headings)]
    # Bullets inside steps belong to the steps.
    whole = [p for p in found if not any(o is not p and o.start <= p.start and p.end <= o.end for o in found)]
    return sorted(whole)


def around(page: Page, start: int, end: int) -> tuple[int, int]:
    """The span from ``start`` to ``end`` with the whole of each list that it contains a part of."""
    for procedure in procedures(page):
        if procedure.start < end and start < procedure.end:
            start, end = min(start, procedure.start), max(end, procedure.end)
    return start, end


def goes_on(page: Page, following: Page | None) -> bool:
    """Whether the last steps of a page go on at the start of the following one."""
    if following is None or (following.source, following.page) != (page.source, page.page + 1):
        return False
    last = next((p for p in reversed(procedures(page)) if p.first), None)
    first = next((p for p in procedures(following) if p.first), None)
    if last is None or first is None or first.first != last.last + 1:
        return False
    return not page.text[last.end :].strip() and not following.text[: first.start].strip()


def number_of(line: str) -> int:
    """The number that a line starts with as a step; 0 for any other line."""
    match = _NUMBER.match(line)
    if not match:
        return 0
    digits = next(group for group in match.groups() if group)
    return int(digits) if digits.isascii() else ord(digits) - ord("①") + 1


def _steps(text: str, lines: Sequence[tuple[int, int]], headings: set[int]) -> list[Procedure]:
    found: list[Procedure] = []
    n = 0
    while n < len(lines):
        first = number_of(text[slice(*lines[n])])
        if not (first == 1 or (first and n == 0)) or "|" in text[slice(*lines[n])]:
            n += 1
            continue
        last, at = first, n  # the number and the line of the last step
        end = n
        for m in range(n + 1, len(lines)):
            line = text[slice(*lines[m])]
            if m - at > _LINES_BETWEEN or number_of(line) == 1:
                break
            if number_of(line) == last + 1:  # also under what looks like a heading: another list begins with 1
                last, at, end = last + 1, m, m
            elif line.strip() == str(last + 1) and m + 1 < len(lines):  # its text is on the next line
                last, at, end = last + 1, m, m + 1
            elif end == m - 1 and lines[m][0] not in headings and _BULLET.match(line):  # a bullet of the last step
                end = m
        if last > first or n == 0 or end == len(lines) - 1:
            found.append(Procedure(_introduced(text, lines, n, headings), lines[end][1], first, last))
        n = end + 1
    return found


def _bullets(text: str, lines: Sequence[tuple[int, int]], headings: set[int]) -> list[Procedure]:
    found: list[Procedure] = []
    n = 0
    while n < len(lines):
        match = _BULLET.match(text[slice(*lines[n])])
        end = n
        while match and end + 1 < len(lines) and lines[end + 1][0] not in headings:
            other = _BULLET.match(text[slice(*lines[end + 1])])
            if other is None or other.group(1) != match.group(1):
                break
            end += 1
        start = _introduced(text, lines, n, headings)
        if end > n and lines[end][1] - start <= _LONGEST_BULLETS:
            found.append(Procedure(start, lines[end][1], 0, 0))
        n = end + 1
    return found


def _introduced(text: str, lines: Sequence[tuple[int, int]], n: int, headings: set[int]) -> int:
    """The start of the line that introduces the list at line ``n``, or of the list."""
    if n and lines[n - 1][0] not in headings and _INTRODUCTION.search(text[slice(*lines[n - 1])]):
        return lines[n - 1][0]
    return lines[n][0]
