"""PDF: the lines of each page in reading order, tables as rows with their column names, also over page breaks."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from egosrag.errors import SourceError
from egosrag.limits import DOCUMENT_PAGES
from egosrag.rag.documents.pdf_layout import Grid, in_reading_order
from egosrag.rag.documents.pdf_objects import characters, rules
from egosrag.rag.documents.pdf_tables import ruled_tables
from egosrag.rag.documents.pdf_text import Segment, segments
from egosrag.rag.documents.raw import Line, RawDocument, RawPage, check_limit
from egosrag.rag.documents.tables import table_lines

PDFIUM = threading.Lock()  # to be held while PDFium is used, which is not thread-safe
_AROUND = 3  # lines of a page above or below a table that goes on over the page break: running heads, page numbers
_SAME_COLUMN = 6.0  # points by which the columns of such a table may be apart


def read_pdf(path: Path) -> RawDocument:
    """The lines of a PDF.

    Raises:
        SourceError: the file is damaged or encrypted, or has more pages than the limit.
    """
    import pypdfium2

    with PDFIUM:
        try:
            document = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            if "password" in str(error).lower():
                raise SourceError(
                    f"{path} is encrypted: save a copy without its password, for example with qpdf --decrypt"
                ) from error
            raise SourceError(f"{path} is not a PDF that can be read: open and save it again") from error
        try:
            check_limit(path, len(document), DOCUMENT_PAGES, "pages")
            layouts = [_layout(document, index) for index in range(len(document))]
        finally:
            document.close()
    level = _heading_levels(layouts)
    pages, skipped = [], []
    for number, lines in enumerate(_page_lines(layouts, level), 1):
        if lines:
            pages.append(RawPage(number, lines))
        else:
            skipped.append(number)
    return RawDocument(pages, "paged", skipped)


Layout = list[Segment | Grid | None]


def _layout(document: Any, index: int) -> Layout:
    """The segments and tables of one page in reading order; None between paragraphs."""
    page = document[index]
    textpage = page.get_textpage()
    found = list(characters(textpage))
    grids: list[Grid] = []
    if found:
        grids, found = ruled_tables(found, *rules(page))
    textpage.close()
    page.close()
    return in_reading_order([*segments(found), *grids])


def _heading_levels(layouts: Sequence[Layout]) -> dict[float, int]:
    """The level of each size of type that headings have: clearly larger and rarer than the body's, the largest is 1."""
    sizes = Counter[float]()
    for layout in layouts:
        for item in layout:
            if isinstance(item, Segment):
                sizes[_half_points(item.size)] += len(item.text)
    body = sizes.most_common(1)[0][0] if sizes else 0.0
    large = sorted((s for s in sizes if s > body * 1.1 and sizes[s] * 5 < sizes[body]), reverse=True)
    return {size: rank for rank, size in enumerate(large[:6], 1)}


def _half_points(size: float) -> float:
    return round(size * 2) / 2


def _page_lines(layouts: Sequence[Layout], level: dict[float, int]) -> Iterator[list[Line]]:
    """The lines of each page; a table that goes on has the column names of the page before."""
    names: tuple[list[str], list[float]] | None = None  # the header of a table that may go on, and its columns
    for layout in layouts:
        lines: list[Line] = []
        filled = [item for item in layout if item]
        for item in layout:
            if item is None:
                if lines and lines[-1].text:
                    lines.append(Line(""))
            elif isinstance(item, Segment):
                lines.append(Line(item.text, level.get(_half_points(item.size), 0)))
            else:
                at = filled.index(item)
                goes_on = names if at <= _AROUND and not any(isinstance(i, Grid) for i in filled[:at]) else None
                rows, header = _table(item, goes_on)
                lines += [Line(row) for row in rows]
                names = (header, item.columns) if header and len(filled) - at - 1 <= _AROUND else None
        if filled and not any(isinstance(item, Grid) for item in filled):
            names = None
        while lines and not lines[-1].text:
            lines.pop()
        yield lines


def _table(grid: Grid, before: tuple[list[str], list[float]] | None) -> tuple[list[str], list[str]]:
    """The lines of a table, and its header; ``before`` is that of a table that may go on here."""
    if before:
        header, columns = before
        same = len(columns) == len(grid.columns) and all(
            abs(a - b) <= _SAME_COLUMN for a, b in zip(columns, grid.columns, strict=True)
        )
        if same and grid.rows[0] != header:
            return table_lines([header, *grid.rows], 1), header
    # Of two columns the first often has the names of the values: only its style says that its first row is a header.
    likely = grid.styled or len(grid.rows[0]) > 2
    rows = table_lines(grid.rows, likely=likely)
    return rows, grid.rows[0] if rows and rows[0] != " | ".join(filter(None, grid.rows[0])) else []
