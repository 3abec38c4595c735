"""Raw lines to clean pages: no running heads, no page numbers, no broken lines; headings known.

What a printed manual says about itself is used: a running head that changes from chapter to chapter names the
chapter, a line of the table of contents that stands alone on a page is a heading, and so is a short line
without punctuation that opens a block of text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

from egosrag.rag.documents.readers import Line, Raw, RawPage
from egosrag.schema import Heading, Page

_DROPPED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff\ue000-\uf8ff]"
)
_BROKEN = re.compile(r"[\x02\ufffe\u00ad](?=\s*$)")  # how PDFium and Word write a hyphen at the end of a line
_ODD = re.compile(r"[\u2e80-\u2fdf\ufb00-\ufb06]")  # radicals and ligatures that stand for ordinary letters
_WIDE = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u303f]")
_LIST = re.compile(r"\s*([■□●○◆◇▪▫•·‣※★☆*\-–—]|\(?\d{1,3}[.)）、]|\d{1,2}\s|0\d|[①-⑳]|[a-zA-Z][.)]\s|[（(]\d+[)）]|\|)")
_ENDED = re.compile(r"[。！？；：.!?;:…][”’」』）)\"']*$")
_PUNCTUATION = re.compile(r"[，。；：！？、,;!?…|]|\.\s|\.$|:$")
_CONTENTS = re.compile(r"(.*?\S)\s*(?:[.．·…‥・_]\s*){3,}\s*(\d{1,4})\s*$")


def width(text: str) -> int:
    """Columns of a line: a Chinese character takes two."""
    return len(text) + len(_WIDE.findall(text))


def plain(text: str) -> str:
    """One line without control characters, private-use glyphs and odd spaces; a broken word keeps a hyphen."""
    text = _DROPPED.sub("", _BROKEN.sub("-", text))
    text = _ODD.sub(lambda m: unicodedata.normalize("NFKC", m.group()), text)
    return re.sub(r"[ \t\u00a0\u2000-\u200a\u202f\u3000]+", " ", text).strip()


def clean(raw: Raw, source: str) -> list[Page]:
    """The pages of one document, in order; a page that cleaning leaves without text is left out."""
    pages = [RawPage(p.number, [Line(plain_soft(t), n) for t, n in p.lines]) for p in raw.pages]
    chapters: dict[int, str] = {}
    if raw.kind == "paged":
        pages, chapters, shift = _without_heads(pages)
        entries = {(_key(title), number - shift) for page in pages for title, number in contents(page.lines)}
        pages = [_with_headings(page, entries) for page in pages]
    lines = [line.text for page in pages for line in page.lines]
    joined = Counter(re.findall(r"\w+-\w+", "\n".join(lines)))
    wrapped = raw.kind == "paged" or (raw.kind == "text" and _is_wrapped(lines))
    cleaned, path = [], list[tuple[int, str]]()
    for page in pages:
        chapter = chapters.get(page.number, "")
        if chapter and path[:1] != [(0, chapter)]:
            path = [(0, chapter)]
        made = _page(source, page, wrapped and not contents(page.lines), joined, path)
        if made.text:
            cleaned.append(made)
    return cleaned


def plain_soft(text: str) -> str:
    """``plain`` for a paragraph whose soft line breaks are joined."""
    parts = [plain(part) for part in text.split("\n")]
    whole = parts[0]
    for part in parts[1:]:
        whole = _join(whole, part, Counter())
    return whole


def contents(lines: Sequence[Line]) -> list[tuple[str, int]]:
    """The (title, printed page) entries of a page that is a table of contents; empty for any other page."""
    found = [(m.group(1), int(m.group(2))) for m in (_CONTENTS.match(line.text) for line in lines) if m]
    return found if len(found) >= 3 and len(found) * 3 >= len(lines) else []


def _key(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _without_heads(pages: list[RawPage]) -> tuple[list[RawPage], dict[int, str], int]:
    """Page numbers and running heads taken away; the heads that name chapters, by page; printed minus real number."""
    offset = Counter(
        int(digits) - page.number for page in pages for line in _ends(page.lines, 2) if (digits := _number(line.text))
    ).most_common(1)
    shift = offset[0][0] if offset and offset[0][1] >= max(2, len(pages) // 4) else None
    stripped = []
    for page in pages:
        ends = {id(line) for line in _ends(page.lines, 2)}
        printed = None if shift is None else str(page.number + shift)
        kept = [x for x in page.lines if not (id(x) in ends and printed and _number(x.text).lstrip("0") == printed)]
        stripped.append(RawPage(page.number, kept))
    heads = _heads(stripped)
    if sum(map(bool, heads.values())) * 5 < len(pages) * 2:  # a head stands on most pages, or it is none
        return stripped, {}, shift or 0
    named = {n: next((t for t in h if not any(c.isdigit() for c in t)), "") for n, h in heads.items()}
    chapters = named if len(set(named.values()) - {""}) > 1 else {}
    bare = []
    for page in stripped:
        ends = {id(line) for line in _ends(page.lines, 1)}
        bare.append(
            RawPage(page.number, [x for x in page.lines if not (id(x) in ends and x.text in heads[page.number])])
        )
    return bare, chapters, shift or 0


def _ends(lines: Sequence[Line], count: int) -> list[Line]:
    return [*lines[:count], *lines[max(count, len(lines) - count) :]]


def _number(text: str) -> str:
    """The digits of a line that is a page number and nothing else, such as "- 12 -" or "第 12 页"."""
    found = re.fullmatch(r"(?:[Pp]age|第)?[\s\-–—·|]*(\d{1,4})[\s\-–—·|]*(?:页)?", text)
    return found.group(1) if found else ""


def _heads(pages: list[RawPage]) -> dict[int, list[str]]:
    """The first and last lines that a page shares, but for digits, with one of the two pages before or after it."""

    def shape(text: str) -> str:
        return re.sub(r"\d+", "#", text)

    def candidate(text: str) -> bool:
        return 0 < width(text) <= 80 and any(c.isalpha() for c in text) and not _ENDED.search(text)

    found: dict[int, list[str]] = {}
    for i, page in enumerate(pages):
        near = [p for p in pages[max(0, i - 2) : i + 3] if p is not page]
        found[page.number] = [
            page.lines[end].text
            for end in (0, -1)
            if len(page.lines) > 1
            and candidate(page.lines[end].text)
            and any(p.lines and shape(p.lines[end].text) == shape(page.lines[end].text) for p in near)
        ]
    return found


def _with_headings(page: RawPage, entries: set[tuple[str, int]]) -> RawPage:
    """Headings marked where the format did not.

    ``entries`` are (title, page) of the table of contents: such a line, on that page or next to it, is a heading of
    level 1. A line that is only shaped like a heading is one of level 2.
    """
    if contents(page.lines):
        return page
    lines, ended = [], True
    for i, line in enumerate(page.lines):
        after = page.lines[i + 1].text if i + 1 < len(page.lines) else ""
        level = line.level
        if not level and any((_key(line.text), page.number + near) in entries for near in (0, 1, -1)):
            level = 1
        elif not level and ended and _looks_like_heading(line.text, after):
            level = 2
        lines.append(Line(line.text, level))
        ended = bool(_ENDED.search(line.text)) or level == 1
    return RawPage(page.number, lines)


def _looks_like_heading(text: str, after: str) -> bool:
    short = 2 < width(text) <= 40 and any(c.isalpha() for c in text)
    opens = width(after) > max(24, width(text)) or bool(_LIST.match(after)) or bool(_ENDED.search(after))
    return short and opens and not _PUNCTUATION.search(text) and not _LIST.match(text)


def _is_wrapped(lines: Sequence[str]) -> bool:
    """Whether a text file breaks its lines at a column: then many lines end near the longest ones."""
    widths = sorted(width(line) for line in lines if line)
    if len(widths) < 5:
        return False
    edge = widths[int(len(widths) * 0.95)]
    return 40 <= edge <= 130 and sum(0.8 * edge <= w <= 1.1 * edge for w in widths) * 3 >= len(widths)


def _page(source: str, page: RawPage, wrapped: bool, words: Counter[str], path: list[tuple[int, str]]) -> Page:
    """One clean page; ``path`` is the open headings, and is brought forward over this page's."""
    section, text = " > ".join(title for _, title in path), ""
    headings: list[Heading] = []
    for line in _paragraphs(page.lines, wrapped, words):
        if line.level:
            start = len(text) + 1 if text else 0
            headings.append(Heading(start=start, level=line.level, title=line.text))
            path[:] = [(n, t) for n, t in path if n < line.level] + [(line.level, line.text)]
        text = f"{text}\n{line.text}" if text else line.text
    return Page(source=source, page=page.number, text=text, section=section, headings=tuple(headings))


def _paragraphs(lines: Sequence[Line], wrapped: bool, words: Counter[str]) -> Iterator[Line]:
    """The lines with those that were only wrapped joined; blank lines end a paragraph and go."""
    widths = sorted(width(line.text) for line in lines if line.text)
    edge = widths[min(len(widths) - 1, int(len(widths) * 0.9))] if widths else 0
    held: Line | None = None
    last = 0  # the width of the last line that was added to the one held
    for line in lines:
        if held and line.text and _continues(held, last, line, wrapped, edge):
            held = Line(_join(held.text, line.text, words))
        else:
            if held and held.text:
                yield held
            held = line
        last = width(line.text)
    if held and held.text:
        yield held


def _continues(held: Line, last: int, line: Line, wrapped: bool, edge: int) -> bool:
    if not wrapped or held.level or line.level or not held.text or _LIST.match(line.text) or "|" in line.text:
        return False
    return last >= max(0.75 * edge, 30) and not re.search(r"[。！？；：!?;:][”’」』）)\"']*$", held.text)


def _join(left: str, right: str, words: Counter[str]) -> str:
    """Two lines as one: Chinese without a space, a hyphenated word whole unless it is written with its hyphen."""
    broken = re.search(r"([^\W\d_]+)-$", left)
    after = re.match(r"[a-z]+", right)
    if broken and after:
        return left + right if words[f"{broken.group(1)}-{after.group()}"] else left[:-1] + right
    tight = bool(left and right and (_WIDE.match(left[-1]) or _WIDE.match(right[0])))
    return left + right if tight or not left or not right else f"{left} {right}"
