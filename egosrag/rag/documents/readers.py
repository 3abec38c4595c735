"""Document readers: one file of any supported format to raw lines, headings with their level.

Formats: PDF and JSONL of ``{"page", "text"}`` (by page), Markdown, HTML, DOCX, CSV, TSV and text. Only the structure of
the format itself is read (pages, headings, list items, table rows); the rest is done in ``cleaning``.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zipfile import ZipFile

from egosrag.errors import SourceError
from egosrag.limits import DOCUMENT_BYTES, DOCUMENT_PAGES
from egosrag.rag.documents.wiki import strip_boilerplate
from egosrag.text.encoding import decode, without_surrogates

PDFIUM = threading.Lock()  # to be held while PDFium is used, which is not thread-safe
_MD_HEADING = re.compile(r"\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_MD_BLOCK = re.compile(r"\s*([-*+>|]|\d+[.)]\s|```|~~~)")
_FENCE = re.compile(r"\s*(```|~~~)")


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
    """

    pages: list[RawPage]
    kind: Literal["paged", "text", "flow"]
    skipped: list[int]


def read(path: Path) -> RawDocument:
    """The raw lines of one file, read by its suffix.

    Raises:
        SourceError: the file is missing, empty, encrypted, damaged, has no text, or its format is not supported.
    """
    if not path.is_file():
        raise SourceError(f"there is no file {path}: check the path")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SourceError(f"{path} has a format that is not supported: give one of {', '.join(READERS)}")
    try:
        size = path.stat().st_size
        raw = reader(path) if size else None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if raw is None or (not raw.skipped and not any(line.text.strip() for page in raw.pages for line in page.lines)):
        raise SourceError(f"{path} is empty: give a file with text in it")
    check_limit(path, len(raw.pages) + len(raw.skipped), DOCUMENT_PAGES, "pages")
    if not raw.pages:
        raise SourceError(f"{path} has no text, only pictures: run OCR over it first, for example with ocrmypdf")
    return raw


def check_limit(path: Path, count: int, limit: int, unit: str) -> None:
    """Check that a document does not have more bytes or pages than the limit.

    Raises:
        SourceError: it has more.
    """
    if count > limit:
        raise SourceError(f"{path} has {count:,} {unit}, and the limit is {limit:,}: split it into several files")


def _pdf(path: Path) -> RawDocument:
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
            sized = [_pdf_lines(document, index) for index in range(len(document))]
        finally:
            document.close()
    sizes = Counter[float]()
    for page in sized:
        for text, size in page:
            sizes[size] += len(text)
    body = sizes.most_common(1)[0][0] if sizes else 0.0
    # Headings are in sizes that are clearly larger and rarer than the body's; the largest is level 1.
    large = sorted((s for s in sizes if s > body * 1.1 and sizes[s] * 5 < sizes[body]), reverse=True)
    level = {size: rank for rank, size in enumerate(large[:6], 1)}
    pages, skipped = [], []
    for number, page in enumerate(sized, 1):
        if page:
            pages.append(RawPage(number, [Line(text, level.get(size, 0)) for text, size in page]))
        else:
            skipped.append(number)
    return RawDocument(pages, "paged", skipped)


def _pdf_lines(document: Any, index: int) -> list[tuple[str, float]]:
    """The lines of one page with the font size of most of their characters, in steps of half a point."""
    import pypdfium2.raw as pdfium

    page = document[index]
    textpage = page.get_textpage()
    text = textpage.get_text_range().replace("\r", "\n")
    lines, start = [], 0
    for part in text.split("\n"):
        if part.strip():
            sizes = Counter(
                round(pdfium.FPDFText_GetFontSize(textpage.raw, i) * 2) / 2
                for i in range(start, start + len(part))
                if not text[i].isspace()
            )
            lines.append((part, sizes.most_common(1)[0][0]))
        start += len(part) + 1
    textpage.close()
    page.close()
    return lines


def _jsonl(path: Path) -> RawDocument:
    pages, skipped, seen = [], [], set[int]()
    for n, row in enumerate(decode(path).splitlines(), 1):
        if not row.strip():
            continue
        try:
            record = json.loads(row)
            number, text = record["page"], record["text"]
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(f'{path} line {n} is not a page: write {{"page": 1, "text": "..."}}') from error
        if not isinstance(text, str) or type(number) is not int or number < 1 or number in seen:
            raise SourceError(f"{path} line {n}: page must be a new number from 1 and text a string")
        seen.add(number)
        if text.strip():
            lines = without_surrogates(text).splitlines()
            pages.append(RawPage(number, [Line(line) for line in lines if line.strip()]))
        else:
            skipped.append(number)
    return RawDocument(sorted(pages), "paged", skipped)


def _text(path: Path) -> RawDocument:
    return RawDocument([RawPage(1, [Line(line) for line in decode(path).splitlines()])], "text", [])


def _markdown(path: Path) -> RawDocument:
    """Markdown without its comments, of which ``<!-- page 7 -->`` starts page 7."""
    parts = re.split(r"<!--\s*page\s+(\d+)\s*-->", decode(path))
    numbered = zip(("1", *parts[1::2]), parts[::2], strict=True)
    pages: dict[int, list[Line]] = {}
    for number, text in numbered:
        pages.setdefault(int(number), []).extend(_markdown_lines(re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)))
    return RawDocument(
        [RawPage(n, lines) for n, lines in pages.items() if any(x.text.strip() for x in lines)], "flow", []
    )


def _markdown_lines(source: str) -> list[Line]:
    lines: list[Line] = []
    fenced = paragraph = False
    for text in source.splitlines():
        fence, heading = _FENCE.match(text), _MD_HEADING.match(text)
        if heading and not fenced:
            lines.append(Line(heading.group(2), len(heading.group(1))))
        elif paragraph and text.strip() and not _MD_BLOCK.match(text):
            lines[-1] = Line(f"{lines[-1].text}\n{text.strip()}")  # a soft break, joined in cleaning
        elif not text.strip() or not re.fullmatch(r"\s*\|?[\s:|-]+\|?\s*", text):
            lines.append(Line(text))  # not the ruler of a table (|---|---|)
        fenced ^= bool(fence)
        paragraph = bool(text.strip()) and not (heading or fenced or fence or text.lstrip().startswith("|"))
    return lines


def _html(path: Path) -> RawDocument:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(decode(path), "html.parser")
    for tag in soup(["script", "style", "template", "noscript", "head", "nav"]):
        tag.decompose()
    strip_boilerplate(soup)
    for cell in soup(["td", "th"]):
        if cell.find_next_sibling(["td", "th"]):
            cell.append(" | ")
    lines: list[Line] = []
    for tag in soup(re.compile(r"^(?:p|h[1-6]|li|tr|div|section|article|blockquote|pre|d[td]|table|[uo]l|br)$")):
        heading = re.fullmatch(r"h([1-6])", tag.name)
        tag.insert_before("\x00")
        tag.insert(0, f"\x01{heading.group(1)}" if heading else "\x00")
        tag.insert_after("\x00")
    for block in re.split("\x00+", soup.get_text()):
        marked = re.match("\x01([1-6])", block)
        text = " ".join(block[2 if marked else 0 :].split())
        if text:
            lines.append(Line(text, int(marked.group(1)) if marked else 0))
    return RawDocument([RawPage(1, lines)], "flow", [])


def _table(path: Path) -> RawDocument:
    from egosrag.rag.documents.tables import rows

    return RawDocument([RawPage(1, [Line(row) for row in rows(path)])], "flow", [])


def _docx(path: Path) -> RawDocument:
    import docx
    from docx.table import Table

    try:
        with ZipFile(path) as packed:  # zipfile unpacks no more of a part than its stated size
            check_limit(path, sum(part.file_size for part in packed.infolist()), DOCUMENT_BYTES, "bytes unpacked")
        document = docx.Document(str(path))
    except SourceError:
        raise
    except Exception as error:  # python-docx passes on zip, XML and key errors
        raise SourceError(f"{path} is not a DOCX file that can be read: open and save it again") from error
    lines = []
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            lines += [Line(" | ".join(" ".join(cell.text.split()) for cell in row.cells)) for row in block.rows]
            continue
        style = re.match(r"Heading (\d)|Title", (block.style.name if block.style else None) or "")
        lines.append(Line(block.text, int(style.group(1) or 1) if style else 0))
    return RawDocument([RawPage(1, lines)], "flow", [])


READERS: dict[str, Callable[[Path], RawDocument]] = {
    ".pdf": _pdf,
    ".jsonl": _jsonl,
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": _html,
    ".htm": _html,
    ".docx": _docx,
    ".csv": _table,
    ".tsv": _table,
    ".txt": _text,
}
