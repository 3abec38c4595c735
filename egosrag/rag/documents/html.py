"""HTML: blocks, headings, lists and tables as lines; nothing that a browser would not show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from egosrag.rag.documents.raw import Line, RawDocument, RawPage
from egosrag.rag.documents.superscripts import subscript, superscript
from egosrag.rag.documents.tables import table_lines
from egosrag.rag.documents.wiki import strip_boilerplate
from egosrag.text.encoding import decode

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from bs4.element import PageElement

_INVISIBLE = ["script", "style", "template", "noscript", "head", "nav", "object", "iframe", "svg", "datalist", "title"]
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_INLINE = re.compile(
    r"a|abbr|acronym|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|i|img|input|ins|kbd|label|mark|meter|nobr|"
    r"output|progress|q|rp|rt|rb|ruby|s|samp|small|span|strike|strong|sub|sup|time|tt|u|var|wbr|picture|source|"
    r"map|area|button|math|mi|mn|mo|ms|mtext|mrow|msup|msub|mfrac|semantics|annotation"
)
_BLOCK = re.compile(
    r"address|article|aside|blockquote|body|br|caption|center|col|colgroup|dd|details|dialog|dir|div|dl|dt|"
    r"fieldset|figcaption|figure|footer|form|h1|h2|h3|h4|h5|h6|header|hgroup|hr|html|legend|li|link|main|menu|"
    r"meta|ol|optgroup|option|p|pre|search|section|select|summary|table|tbody|td|tfoot|th|thead|tr|ul|video|audio"
)
_TAG = re.compile(r"<(?=/?([A-Za-z][\w-]*))")
_TABLE = "data-rows"  # the mark of a table that became rows
_MAX_SPAN = 100  # rows or columns that one cell may span
_MAX_CELLS = 200_000  # of a table after its spans are repeated


def read_html(path: Path) -> RawDocument:
    """The lines of an HTML file.

    Raises:
        SourceError: the file is not text.
    """
    return RawDocument([RawPage(1, html_lines(decode(path)))], "flow")


def html_lines(source: str) -> list[Line]:
    """The lines of HTML source: one for each block, list item and table row."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(source, "lxml")
    for tag in soup(_INVISIBLE):
        tag.decompose()
    for tag in soup(lambda tag: tag.has_attr("hidden") or bool(_HIDDEN_STYLE.search(tag.get("style") or ""))):
        if not tag.decomposed:
            tag.decompose()
    strip_boilerplate(soup)
    inline_texts(soup)
    _flatten_tables(soup)
    return _lines(soup)


def escape_unknown_tags(source: str) -> str:
    """HTML source in which only tags of HTML are tags: ``<ENTER>`` is a text."""

    def is_known(name: str) -> bool:
        return bool(_INLINE.fullmatch(name) or _BLOCK.fullmatch(name)) or name in _INVISIBLE

    return _TAG.sub(lambda match: "<" if is_known(match.group(1).lower()) else "&lt;", source)


def inline_texts(soup: BeautifulSoup) -> None:
    """Write superscripts and subscripts as characters, the numbers of list items, and the texts of pictures."""
    for tag in soup("sup"):
        tag.replace_with(superscript(tag.get_text()))
    for tag in soup("sub"):
        tag.replace_with(subscript(tag.get_text()))
    for tag in soup("rp"):
        tag.decompose()
    for tag in soup("rt"):
        tag.replace_with(f"({tag.get_text()})")
    for image in soup("img"):
        image.replace_with(f" {image.get('alt') or ''} ")
    for block in soup("pre"):
        for part in [string for string in block.strings if "\n" in string]:
            first, *rest = part.split("\n")
            part.replace_with(first, *(piece for line in rest for piece in (soup.new_tag("br"), line)))
    for listing in soup("ol"):
        number = _whole(listing.get("start"), 1)
        for item in listing.find_all("li", recursive=False):
            number = _whole(item.get("value"), number)
            first = next((text for text in item.strings if text.strip()), "")
            if not re.match(r"\s*\(?\d+\s*[.)、]", first):  # typed in besides
                item.insert(0, f"{number}. ")
            number += 1


def _whole(value: object, default: int) -> int:
    return int(str(value)) if re.fullmatch(r"\d{1,6}", str(value).strip()) else default


def _flatten_tables(soup: BeautifulSoup) -> None:
    """Replace each table by its rows as blocks, the innermost first; one that only lays out a page stays as it is."""
    for table in reversed(soup("table")):
        rows = [row for row in table("tr") if row.find_parent("table") is table]
        heads = [sum(cell.name == "th" for cell in _cells(row)) for row in rows]
        if all(len(_cells(row)) < 2 for row in rows) or (not any(heads) and len(rows) < 3 and _has_blocks(rows)):
            continue
        grid = _grid(rows)
        caption = table.find("caption")
        in_head = sum(row.find_parent("thead") is not None for row in rows)
        headers = in_head or next((n for n, row in enumerate(rows) if heads[n] < len(_cells(row))), len(rows))
        titles = [caption.get_text(" ")] if caption else []
        lines = [*titles, *table_lines(grid, headers or (0 if any(heads) else None))]
        table.name, table.attrs = "div", {_TABLE: ""}
        table.clear()
        for line in lines:
            block = soup.new_tag("div")
            block.string = line
            table.append(block)


def _has_blocks(rows: Sequence[Tag]) -> bool:
    """Whether cells contain headings, lists or whole tables, as where a table lays out a page."""
    layout = [cell for row in rows for cell in _cells(row) if cell.find(["ul", "ol", "h1", "h2", "h3", "h4"])]
    return bool(layout) or any(cell.find(True, {_TABLE: True}) for row in rows for cell in _cells(row))


def _cells(row: Tag) -> list[Tag]:
    return list(row.find_all(["td", "th"], recursive=False))


def _grid(rows: Sequence[Tag]) -> list[list[str]]:
    """The texts of a table's cells; a cell that spans rows or columns is repeated in each of them."""
    grid: list[dict[int, str]] = [{} for _ in rows]
    count = 0
    for n, row in enumerate(rows):
        column = 0
        for cell in _cells(row):
            text = " ".join(line.text for line in _lines(cell))
            while column in grid[n]:
                column += 1
            wide = min(max(1, _whole(cell.get("colspan"), 1)), _MAX_SPAN)
            high = min(_whole(cell.get("rowspan"), 1) or len(rows), _MAX_SPAN, len(rows) - n)
            count += wide * high
            wide, high = (wide, high) if count <= _MAX_CELLS else (1, 1)
            for down in range(high):
                for right in range(wide):
                    grid[n + down].setdefault(column + right, text)
            column += wide
    return [[row.get(column, "") for column in range(max(row, default=-1) + 1)] for row in grid]


def _lines(root: Tag) -> list[Line]:
    """The texts of the blocks below ``root``, in order."""
    lines, text, level = list[Line](), list[str](), 0

    def end_block() -> None:
        line = " ".join("".join(text).split())
        if line:
            lines.append(Line(line, level))
        text.clear()

    for element, is_end in _walk(root):
        name = getattr(element, "name", None)
        if name is None:
            if type(element).__name__ == "NavigableString" and not is_end:
                text.append(str(element))
        elif not _INLINE.fullmatch(name):
            end_block()
            heading = re.fullmatch(r"h([1-6])", name)
            level = int(heading.group(1)) if heading and not is_end else 0
    end_block()
    return lines


def _walk(root: Tag) -> Iterator[tuple[PageElement, bool]]:
    """The elements below ``root``, each tag at its start and at its end; without recursion, as pages nest deeply."""
    stack: list[tuple[PageElement, bool]] = [(child, False) for child in reversed(root.contents)]
    while stack:
        element, is_end = stack.pop()
        yield element, is_end
        if not is_end and getattr(element, "name", None) is not None:
            stack.append((element, True))
            stack += [(child, False) for child in reversed(element.contents)]  # type: ignore[attr-defined]
