"""Cleaning: raw lines to pages without running heads, page numbers and line wrapping, with their headings.

The structure of printed manuals is used: a running head that changes from chapter to chapter names the chapter; a line
that is an entry of the table of contents is a heading, and so is a short line without punctuation above a text block.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from egosrag.caller import check_cancelled
from egosrag.rag.documents.raw import Line, RawDocument, RawPage
from egosrag.schema import Heading, Page
from egosrag.text.sentences import sentence_spans

_DROPPED = re.compile(
    r"[\x01-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff\ue000-\uf8ff]"
)
#: what no text consists of: halves of surrogate pairs, NUL, and what a decoder wrote for bytes that it could not read
UNREADABLE = re.compile(r"[\ud800-\udfff\x00\ufffd]")
_HYPHENATED = re.compile(r"\w+-\w+")
_PROGRESS_STEP = 20  # pages
_LARGE = 100  # pages
_CHECKED_LINES = 5000  # of a paragraph, until the next look at the caller
_LINE_END_HYPHEN = re.compile(r"[\x02\ufffe\u00ad](?=\s*$)")  # as PDFium and Word write it
_COMPATIBILITY = re.compile(r"[\u2e80-\u2fdf\ufb00-\ufb06]")  # radicals and ligatures for ordinary letters
_WIDE = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u303f]")
_LIST_ITEM = re.compile(
    r"\s*([■□●○◆◇▪▫•·‣※★☆*\-–—]|\(?\d{1,3}[.)）、]|\d{1,2}\s|0\d|[①-⑳]|[a-zA-Z][.)]\s|[（(]\d+[)）]|\|)"
)
_FINISHED = re.compile(r"[。！？；：.!?;:…][”’」』）)\"']*$")
_PUNCTUATION = re.compile(r"[，。；：！？、,;!?…|]|\.\s|\.$|:$")
_CONTENTS_ENTRY = re.compile(r"(.*?\S)\s*(?:[.．·…‥・_]\s*){3,}\s*(\d{1,4})\s*$")

#: the lines of a document are wrapped at the width of its page, or of each block on it
Wrapping = Literal["none", "page", "block"]


def width(text: str) -> int:
    """The width of a line in columns; a Chinese character has two."""
    return len(text) + len(_WIDE.findall(text))


def readable(text: str) -> str:
    """The text with U+FFFD for what is :data:`UNREADABLE`: models and databases refuse it."""
    return UNREADABLE.sub("\ufffd", text)


def clean_line(text: str) -> str:
    """A line without control characters, private-use glyphs and unusual spaces; a hyphenated word keeps its hyphen.

    What is :data:`UNREADABLE` becomes U+FFFD, so that it separates words and is seen.
    """
    text = _DROPPED.sub("", readable(_LINE_END_HYPHEN.sub("-", text)))
    text = _COMPATIBILITY.sub(lambda m: unicodedata.normalize("NFKC", m.group()), text)
    return re.sub(r"[ \t\u00a0\u2000-\u200a\u202f\u3000]+", " ", text).strip()


def clean(raw: RawDocument, source: str, progress: Callable[[int, int], None] | None = None) -> list[Page]:
    """The pages of one document, in order; pages that have no text after cleaning are left out.

    Args:
        raw: the document; its lines are no longer there afterwards, as those of a large one take much memory.
        source: the source name.
        progress: called with (done, total) pages of a large document.
    """
    count = len(raw.pages)
    report = progress if count > _LARGE else None
    pages = []
    for n, page in enumerate(raw.pages):
        pages.append(RawPage(page.number, [Line(_clean_paragraph(t), level) for t, level in page.lines]))
        page.lines.clear()
        if report and n % _PROGRESS_STEP == 0:
            report(n // 2, count)
    chapters: dict[int, str] = {}
    if raw.kind == "paged":
        pages, chapters, shift = _without_running_heads(pages)
        entries = {(_key(title), number - shift) for page in pages for title, number in contents_entries(page.lines)}
        pages = [_with_headings(page, entries) for page in pages]
    hyphenated = Counter(word for page in pages for line in page.lines for word in _HYPHENATED.findall(line.text))
    wrapped = raw.kind == "paged"
    if raw.kind == "text":
        wrapped = _is_wrapped([line.text for page in pages for line in page.lines])
    cleaned, path, previous = list[Page](), list[tuple[int, str]](), list[Line]()
    for n, page in enumerate(pages):
        if report and n % _PROGRESS_STEP == 0:
            report((count + n) // 2, count)
        chapter = chapters.get(page.number, "")
        if chapter and path[:1] != [(0, chapter)]:
            path = [(0, chapter)]
        wrapping: Wrapping = "none" if not wrapped or contents_entries(page.lines) else "page"
        if wrapping == "page" and raw.kind == "paged":
            wrapping = "block"
        clean_page = _clean_page(source, page, wrapping, hyphenated, path)
        if clean_page.text:
            if raw.kind == "paged" and cleaned and previous and cleaned[-1].page == page.number - 1:
                cleaned[-1] = _with_rest_of_sentence(cleaned[-1], previous, clean_page, hyphenated)
            cleaned.append(clean_page)
        previous = page.lines
        pages[n] = RawPage(page.number, [])
    return cleaned


def _with_rest_of_sentence(page: Page, lines: Sequence[Line], following: Page, hyphenated: Counter[str]) -> Page:
    """The page with the end of its last sentence, where that is on the following page: there it stays too.

    Args:
        page: a page.
        lines: its lines before they were joined.
        following: the next page.
        hyphenated: the words of the document that are written with a hyphen.
    """
    last, first = page.text.rpartition("\n")[2], following.text.partition("\n")[0]
    full = lines[-1].text and width(lines[-1].text) >= max(0.75 * _edge(lines), 30)
    starts = any(heading.start == 0 for heading in following.headings) or bool(_LIST_ITEM.match(first))
    is_heading = any(page.text[heading.start :] == last for heading in page.headings)
    goes_on = not starts and "|" not in first and (first[:1].islower() or bool(_WIDE.match(first)))
    if not full or _FINISHED.search(last) or "|" in last or is_heading or not goes_on:
        return page
    rest = first[slice(*sentence_spans(first)[0])].strip()
    return page.model_copy(update={"text": "".join(_join(page.text, rest, hyphenated))})


def _clean_paragraph(text: str) -> str:
    """A paragraph, each line cleaned, as one line."""
    return _joined([clean_line(line) for line in text.split("\n")], Counter())


def contents_entries(lines: Sequence[Line]) -> list[tuple[str, int]]:
    """The (title, printed page number) entries of a page that is a table of contents; empty for any other page."""
    texts = [line.text for line in lines if line.text]
    entries = [_CONTENTS_ENTRY.match(text) for text in texts if text.rstrip()[-1:].isdigit()]
    found = [(m.group(1), int(m.group(2))) for m in entries if m]
    return found if len(found) >= 3 and len(found) * 3 >= len(texts) else []


def _key(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _without_running_heads(pages: list[RawPage]) -> tuple[list[RawPage], dict[int, str], int]:
    """Remove page numbers and running heads.

    Returns:
        The pages, the running heads that name chapters by page number, and the printed minus the real page number.
    """
    offset = Counter(
        int(digits) - page.number
        for page in pages
        for line in _first_and_last(page.lines, 2)
        if (digits := _page_number(line.text))
    ).most_common(1)
    shift = offset[0][0] if offset and offset[0][1] >= max(2, len(pages) // 4) else None
    stripped = []
    for page in pages:
        ends = {id(line) for line in _first_and_last(page.lines, 2)}
        printed = None if shift is None else str(page.number + shift)
        kept = [
            line
            for line in page.lines
            if not (id(line) in ends and printed and _page_number(line.text).lstrip("0") == printed)
        ]
        stripped.append(RawPage(page.number, _trimmed(kept)))
    heads = _running_heads(stripped)
    if sum(map(bool, heads.values())) * 5 < len(pages) * 2:  # repeated lines on few pages are no running heads
        return stripped, {}, shift or 0
    named = {n: next((t for t in h if not any(c.isdigit() for c in t)), "") for n, h in heads.items()}
    chapters = named if len(set(named.values()) - {""}) > 1 else {}
    without = []
    for page in stripped:
        ends = {id(line) for line in _first_and_last(page.lines, 1)}
        kept = [line for line in page.lines if not (id(line) in ends and line.text in heads[page.number])]
        without.append(RawPage(page.number, _trimmed(kept)))
    return without, chapters, shift or 0


def _trimmed(lines: list[Line]) -> list[Line]:
    """The lines without blank ones at both ends."""
    filled = [n for n, line in enumerate(lines) if line.text]
    return lines[filled[0] : filled[-1] + 1] if filled else []


def _first_and_last(lines: Sequence[Line], count: int) -> list[Line]:
    filled = [line for line in lines if line.text]
    return [*filled[:count], *filled[max(count, len(filled) - count) :]]


def _page_number(text: str) -> str:
    """The digits of a line that is only a page number, such as "- 12 -" or "第 12 页"; empty for other lines."""
    found = re.fullmatch(r"(?:[Pp]age|第)?[\s\-–—·|]*(\d{1,4})[\s\-–—·|]*(?:页)?", text)
    return found.group(1) if found else ""


def _running_heads(pages: list[RawPage]) -> dict[int, list[str]]:
    """The first and last line of each page if one of the two pages before or after has the same, except for digits."""

    def shape(text: str) -> str:
        return re.sub(r"\d+", "#", text)

    def candidate(text: str) -> bool:
        is_text = 0 < width(text) <= 80 and any(c.isalpha() for c in text)
        return is_text and not _FINISHED.search(text) and "|" not in text

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
    """Mark headings that the format does not mark.

    Args:
        page: one page.
        entries: (title, page number) of the table of contents: such a line, on that page or next to it, is a heading
            of level 1. A line that only looks like a heading is one of level 2.
    """
    if contents_entries(page.lines):
        return page
    lines, ended = [], True
    for i, line in enumerate(page.lines):
        after = next((other.text for other in page.lines[i + 1 : i + 3] if other.text), "")
        level = line.level
        if not level and any((_key(line.text), page.number + near) in entries for near in (0, 1, -1)):
            level = 1
        elif not level and ended and _looks_like_heading(line.text, after):
            level = 2
        lines.append(Line(line.text, level))
        ended = not line.text or bool(_FINISHED.search(line.text)) or level == 1
    return RawPage(page.number, lines)


def _looks_like_heading(text: str, after: str) -> bool:
    short = 2 < width(text) <= 40 and any(c.isalpha() for c in text)
    opens = width(after) > max(24, width(text)) or bool(_LIST_ITEM.match(after)) or bool(_FINISHED.search(after))
    return short and opens and not _PUNCTUATION.search(text) and not _LIST_ITEM.match(text)


def _is_wrapped(lines: Sequence[str]) -> bool:
    """Whether the lines of a text file are wrapped at a column: then many of them are about as long as the longest."""
    widths = sorted(width(line) for line in lines if line)
    if len(widths) < 5:
        return False
    edge = widths[int(len(widths) * 0.95)]
    return 40 <= edge <= 130 and sum(0.8 * edge <= w <= 1.1 * edge for w in widths) * 3 >= len(widths)


def _clean_page(
    source: str, page: RawPage, wrapping: Wrapping, hyphenated: Counter[str], path: list[tuple[int, str]]
) -> Page:
    """One clean page.

    Args:
        source: the source name.
        page: the page with its headings marked.
        wrapping: at which width its lines are wrapped.
        hyphenated: the words of the document that are written with a hyphen.
        path: (level, title) of the headings above the page; updated with the headings on it.
    """
    section = " > ".join(title for _, title in path)
    headings: list[Heading] = []
    texts: list[str] = []
    start = 0
    for line in _paragraphs(page.lines, wrapping, hyphenated):
        if line.level:
            headings.append(Heading(start=start, level=line.level, title=line.text))
            path[:] = [(n, t) for n, t in path if n < line.level] + [(line.level, line.text)]
        texts.append(line.text)
        start += len(line.text) + 1
    return Page(source=source, page=page.number, text="\n".join(texts), section=section, headings=tuple(headings))


def _paragraphs(lines: Sequence[Line], wrapping: Wrapping, hyphenated: Counter[str]) -> Iterator[Line]:
    """The lines with wrapped ones joined; blank lines end a paragraph and are dropped."""
    edges = _block_edges(lines) if wrapping == "block" else [_edge(lines)] * len(lines)
    paragraph: list[Line] = []  # its lines: a log of 60 MB may be a single one
    for line, edge in zip(lines, edges, strict=True):
        if wrapping != "none" and paragraph and line.text and _continues(paragraph[-1], line, edge):
            paragraph.append(line)
        else:
            if paragraph and paragraph[0].text:
                yield _paragraph(paragraph, hyphenated)
            paragraph = [line]
    if paragraph and paragraph[0].text:
        yield _paragraph(paragraph, hyphenated)


def _paragraph(lines: Sequence[Line], hyphenated: Counter[str]) -> Line:
    return lines[0] if len(lines) == 1 else Line(_joined([line.text for line in lines], hyphenated))


def _joined(lines: Sequence[str], hyphenated: Counter[str]) -> str:
    """The lines of a paragraph as one."""
    parts = [lines[0]]
    for number, line in enumerate(lines[1:]):
        if number % _CHECKED_LINES == 0:
            check_cancelled()
        parts[-1:] = _join(parts[-1], line, hyphenated)
    return "".join(parts)


def _edge(lines: Sequence[Line]) -> int:
    """The width at which lines are wrapped; a row of a table has no part in it."""
    widths = sorted(width(line.text) for line in lines if line.text and "|" not in line.text)
    return widths[min(len(widths) - 1, int(len(widths) * 0.9))] if widths else 0


def _block_edges(lines: Sequence[Line]) -> list[int]:
    """For each line the width at which those of its block are wrapped: a column is narrower than the page."""
    edges: list[int] = []
    block: list[Line] = []
    for line in [*lines, Line("")]:
        block.append(line)
        if not line.text:
            edges += [_edge(block)] * len(block)
            block = []
    return edges[: len(lines)]


def _continues(last: Line, line: Line, edge: int) -> bool:
    """Whether a line continues a paragraph: the paragraph's last line is full and ends without a stop."""
    if last.level or line.level or not last.text or _LIST_ITEM.match(line.text) or "|" in line.text or "|" in last.text:
        return False
    return width(last.text) >= max(0.75 * edge, 30) and not re.search(r"[。！？；：!?;:][”’」』）)\"']*$", last.text)


def _join(left: str, right: str, hyphenated: Counter[str]) -> tuple[str, str]:
    """Two lines with what is between them: Chinese without a space; a word hyphenated at the end loses its hyphen.

    Args:
        left: the first line.
        right: the second line.
        hyphenated: words that keep their hyphen.

    Returns:
        The first line as it is before the second one, and the second one.
    """
    broken = re.search(r"([^\W\d_]+)-$", left)
    after = re.match(r"[a-z]+", right)
    if broken and after:
        return left if hyphenated[f"{broken.group(1)}-{after.group()}"] else left[:-1], right
    tight = bool(left and right and (_WIDE.match(left[-1]) or _WIDE.match(right[0])))
    return left if tight or not left or not right else f"{left} ", right
