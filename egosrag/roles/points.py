"""The points in the order of a role's sources (chapters, dated entries, files), and the point that a user names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

from egosrag.errors import RoleError
from egosrag.schema import Point
from egosrag.text.language import one_line
from egosrag.text.quantities import chinese_number

_BODY = 40  # characters without white space between two headings; with fewer they are lines of a table of contents
_LABEL = 80  # characters of a heading at most

_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
_WORDS = {
    word: number
    for words, first in (
        ("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
         "eighteen nineteen twenty", 1),
        ("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth", 1),
    )
    for number, word in enumerate(words.split(), first)
}  # fmt: skip
_NUMERALS = "零〇一二两三四五六七八九十百千"
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]

_NUMBER = rf"(?:\d{{1,4}}|[ivxlc]{{1,7}}|(?:{'|'.join(_WORDS)})(?:-\w+)?)"
_DIVISION = "part|book|volume|act"  # may hold chapters that are counted anew
_CHAPTER = re.compile(
    rf"(?:the\s+)?(?P<kind>chapter|scene|letter|canto|episode|session|day|{_DIVISION})\s+(?:the\s+)?"
    rf"(?P<number>{_NUMBER})\b\.?(?:\s*$|\s*[:.—–-]\s*\S|\s+[A-Z\"“]).*"
    rf"|第\s*(?P<zh>[{_NUMERALS}\d]+)\s*(?P<zh_kind>[章回节幕集折话卷部篇])(?:$|[\s:：、.·—-]).*"
    r"|(?:prologue|epilogue|interlude|preface|introduction)(?:$|\s*[:.—–-].*)|(?:序章?|楔子|引子|尾声|后记|前言)(?:$|[\s:：].*)",
    re.IGNORECASE,
)
_ROMAN_LINE = re.compile(r"(?P<number>[IVXLC]{1,7})\.?")
_MARKDOWN = re.compile(r"#{1,6}\s+(?P<title>.+?)\s*#*")
_DATE = re.compile(
    r"(?P<y>\d{4})[-./年](?P<m>\d{1,2})[-./月](?P<d>\d{1,2})日?"
    r"|(?P<d2>\d{1,2})(?:st|nd|rd|th)?\.?\s+(?P<m2>[a-z]{3,9})\.?,?\s+(?P<y2>\d{4})"
    r"|(?P<m3>[a-z]{3,9})\.?\s+(?P<d3>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<y3>\d{4})",
    re.IGNORECASE,
)


class _Key(NamedTuple):
    """What a heading or a point in a user's words says, for comparison.

    Attributes:
        kind: "chapter", "part" and the like; empty where a number stands alone.
        number: its number, or None.
        date: (year, month, day), or None.
        text: the words, case-folded.
    """

    kind: str
    number: int | None
    date: tuple[int, int, int] | None
    text: str


def in_order(sources: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The (name, text) pairs in the order of the numbers in their names, where the names differ in nothing else.

    A shell sorts ``chapter10.txt`` before ``chapter2.txt``; sources with other names stay as they were given.
    """
    pattern = re.compile(r"\d+")
    if len({pattern.sub("0", name) for name, _ in sources}) == 1:
        return sorted(sources, key=lambda source: [int(number) for number in pattern.findall(source[0])])
    return list(sources)


def timeline_of(sources: Sequence[tuple[str, str]]) -> tuple[Point, ...]:
    """The points of sources in their order: of each source its chapters or dated entries, else the source as a whole.

    Args:
        sources: (name, text) pairs.

    Returns:
        At least one point for each source; the first one of a source starts at 0. None has the label of another.
    """
    points = [point for name, text in sources for point in _points(name, text)]
    repeated = {label for label, count in Counter(point.label for point in points).items() if count > 1}
    labels: dict[str, None] = {}
    for number, point in enumerate(points):
        label = f"{_stem(point.source)}, {point.label}" if point.label in repeated else point.label
        while label in labels:
            label += "'"
        labels[label] = None
        points[number] = point.model_copy(update={"label": label})
    return tuple(points)


def find_point(timeline: Sequence[Point], words: str) -> int:
    """The index of the point that a user names: ``chapter 5``, ``第五章``, ``V``, ``5``, a title, a date or a file.

    A date finds the last point that is not after it, a file its last point.

    Raises:
        RoleError: there are no points, none is named so, or several are.
    """
    wanted = _key(one_line(words))
    if not timeline:
        raise RoleError(
            f"the card has no points in time, so nothing is known of {words!r}: extract it again from sources with "
            "chapters, dates or several files"
        )
    keys = [_key(point.label) for point in timeline]
    for same in _comparisons(wanted):
        found = [number for number, key in enumerate(keys) if same(key)]
        if len(found) == 1:
            return found[0]
        if found and wanted.text:
            labels = ", ".join(repr(timeline[number].label) for number in found[:6])
            raise RoleError(f"{words!r} may be each of {labels}: give one of them in full")
    divisions = [_key(point.label.partition(", ")[0])[:2] for point in timeline]
    if wanted.number and wanted[:2] in divisions:  # a part is known with its last chapter
        return len(divisions) - 1 - divisions[::-1].index(wanted[:2])
    of_source = [number for number, point in enumerate(timeline) if words in (point.source, _stem(point.source))]
    if of_source:
        return of_source[-1]
    if wanted.date and (dates := [(key.date, number) for number, key in enumerate(keys) if key.date]):
        earlier = [number for date, number in dates if date <= wanted.date]
        if earlier:
            return earlier[-1]
    if wanted.number and not wanted.date and not any(key.number for key in keys) and wanted.number <= len(keys):
        return wanted.number - 1
    labels = ", ".join(point.label for point in timeline[:12]) + (", ..." if len(timeline) > 12 else "")
    raise RoleError(f"there is no point {words!r} in the role's sources: give one of {labels}")


def _points(source: str, text: str) -> Iterator[Point]:
    """The points of one source."""
    headings = list(_headings(text))
    kinds = [
        _real_headings(text, [(start, label) for start, label, own in headings if own == kind])
        for kind in ("chapter", "roman", "date", "markdown")
    ]
    found = next((real for real in kinds if len(real) > 1), kinds[0][:1]) or [(0, _stem(source))]
    for number, (start, label) in enumerate(found):
        yield Point(label=label, source=source, start=start if number else 0)


def _headings(text: str) -> Iterator[tuple[int, str, str]]:
    """The lines that may be headings: (start, label, kind)."""
    for match in re.finditer(r"^[^\n]*\S[^\n]*$", text, re.MULTILINE):
        line = match[0].strip()
        start = match.start()
        if len(line) > _LABEL:
            continue
        markdown = _MARKDOWN.fullmatch(line)
        title = re.sub(r"[*_]{1,2}(.+?)[*_]{1,2}", r"\1", markdown["title"] if markdown else line).strip()
        if title[:1].islower() or title.endswith((",", "，")):
            continue
        if _CHAPTER.fullmatch(title):
            yield start, title, "chapter"
        elif _ROMAN_LINE.fullmatch(title) and _roman(title.rstrip(".")):
            yield start, title.rstrip("."), "roman"
        elif (date := _DATE.search(title)) and date.start() < 12 and len(title) < date.end() + 40:
            yield start, title, "date"
        elif markdown:
            yield start, title, "markdown"


def _real_headings(text: str, headings: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """The headings with a text below them: none of a table of contents, and each chapter of a part under its name."""
    ends = [*(start for start, _ in headings[1:]), len(text)][: len(headings)]
    real: list[tuple[int, str, int]] = []
    division, division_start = "", -1
    for (start, label), end in zip(headings, ends, strict=True):
        body = len("".join(text[start:end].split())) - len("".join(label.split()))
        if body >= _BODY:
            real.append((division_start if division_start >= 0 else start, label, body))
            if division and _key(label).kind not in _DIVISIONS:
                real[-1] = (real[-1][0], f"{division}, {label}", body)
            division_start = -1
        elif _key(label).kind in _DIVISIONS:
            division, division_start = label, start
    # The last line of a table of contents has the text before the first chapter below it.
    longest: dict[str, int] = {}
    for _, label, body in real:
        longest[label] = max(longest.get(label, 0), body)
    return [(start, label) for start, label, body in real if body == longest[label]]


_DIVISIONS = {*_DIVISION.split("|"), "卷", "部", "篇"}
_KINDS = {"章": "chapter", "回": "chapter", "节": "section", "幕": "act", "集": "episode", "话": "episode", "折": "act"}


def _key(words: str) -> _Key:
    """A heading, or a point in a user's words."""
    text = words.casefold().strip(" .。:：")
    last = re.split(r",\s+", text)[-1]  # of "Part Two, Chapter 1"
    date = _date(text)
    for part in (last, text):
        match = re.fullmatch(r"(?:the\s+)?(?:(\d+)(?:st|nd|rd|th)|([a-z]+))\s+([a-z]+)", part)
        if match and not date and (number := _number(match[1] or match[2])):
            return _Key(match[3], number, None, text)
        match = re.match(rf"(?:the\s+)?([a-z]+)(?:\s+(?:the\s+)?({_NUMBER})|[\s_-]?(\d+))\b", part)
        if match and not date and (number := _number(match[2] or match[3])):
            return _Key(match[1], number, None, text)
        if match := re.search(rf"第\s*([{_NUMERALS}\d]+)\s*([章回节幕集折话卷部篇])", part):
            return _Key(_KINDS.get(match[2], match[2]), _number(match[1]), None, text)
    return _Key("", None if date else _number(text), date, text)


def _comparisons(wanted: _Key) -> Iterator[Callable[[_Key], bool]]:
    """The ways in which a point may be meant, the most exact first."""
    yield lambda key: key.text == wanted.text
    if wanted.date:
        yield lambda key: key.date == wanted.date
    elif wanted.number:
        number, kind = wanted.number, wanted.kind
        yield lambda key: key.number == number and key.kind == kind
        yield lambda key: key.number == number and not (key.kind and kind)
    else:
        yield lambda key: wanted.text in key.text


def _number(text: str) -> int | None:
    """A number in digits, Roman or Chinese numerals, or words up to twenty; None if it is none."""
    text = text.strip()
    if text.isdecimal():
        return int(text)
    if text and not text.strip(_NUMERALS):
        return int(chinese_number(text)) or None
    return _roman(text) or _WORDS.get(text.casefold())


def _roman(text: str) -> int | None:
    values = [_ROMAN.get(letter, 0) for letter in text.casefold()]
    if not values or 0 in values:
        return None
    total = sum(-value if value < max(values[at:]) else value for at, value in enumerate(values))
    return total if total > 0 else None


def _date(text: str) -> tuple[int, int, int] | None:
    match = _DATE.search(text)
    if not match:
        return None
    groups = match.groupdict()
    for suffix in ("", "2", "3"):
        year, month, day = (groups.get(f"{part}{suffix}") for part in "ymd")
        if year and month and day:
            number = int(month) if month.isdecimal() else _month(month)
            if number and 1 <= number <= 12 and 1 <= int(day) <= 31:
                return int(year), number, int(day)
    return None


def _month(name: str) -> int | None:
    return _MONTHS.index(name[:3].casefold()) + 1 if name[:3].casefold() in _MONTHS else None


def _stem(source: str) -> str:
    return PurePath(source).stem or source
