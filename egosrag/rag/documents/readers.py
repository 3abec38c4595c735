"""Document readers: one file of any supported format to raw lines, headings with their level.

Formats: PDF and JSONL of ``{"page", "text"}`` (by page), Markdown, HTML, DOCX, CSV, TSV and text. Only the structure of
the format itself is read (pages, headings, list items, table rows); the rest is done in ``cleaning``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from egosrag.errors import SourceError
from egosrag.limits import DOCUMENT_BYTES, DOCUMENT_PAGES
from egosrag.rag.documents import whatsapp
from egosrag.rag.documents.delimited import read_table
from egosrag.rag.documents.docx import read_docx
from egosrag.rag.documents.html import read_html
from egosrag.rag.documents.latex import without_latex_tables
from egosrag.rag.documents.markdown import read_markdown
from egosrag.rag.documents.pdf import read_pdf
from egosrag.rag.documents.raw import Line, RawDocument, RawPage, check_limit
from egosrag.text.encoding import decode, without_surrogates

_LONG_TEXT = 1_000_000  # characters
_PART = 20_000  # characters of a part of a long text, up to the end of a paragraph


def read(path: Path) -> RawDocument:
    """The raw lines of one file, read by its suffix.

    Raises:
        SourceError: the file is missing, empty, encrypted, damaged, larger than ``egosrag.limits.DOCUMENT_BYTES``, has
            no text, or its format is not supported.
    """
    if not path.is_file():
        raise SourceError(f"there is no file {path}: check the path")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise SourceError(f"{path} has a format that is not supported: give one of {', '.join(READERS)}")
    try:
        size = path.stat().st_size
        check_limit(path, size, DOCUMENT_BYTES, "bytes")
        raw = reader(path) if size else None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except SourceError:
        raise
    except Exception as error:  # of a library, for a file that it was not made for: other files are still read
        raise SourceError(f"{path} cannot be read ({type(error).__name__}): open and save it again") from error
    if raw is None or (not raw.skipped and not any(line.text.strip() for page in raw.pages for line in page.lines)):
        raise SourceError(f"{path} is empty: give a file with text in it")
    check_limit(path, len(raw.pages) + len(raw.skipped), DOCUMENT_PAGES, "pages")
    if not raw.pages:
        raise SourceError(f"{path} has no text, only pictures: run OCR over it first, for example with ocrmypdf")
    return raw


def _jsonl(path: Path) -> RawDocument:
    pages: dict[int, list[Line]] = {}
    wrong: list[str] = []
    for n, row in enumerate(decode(path).split("\n"), 1):
        if not row.strip():
            continue
        try:
            record = json.loads(row)
            number, text = record["page"], record["text"] or ""
        except (ValueError, KeyError, TypeError, RecursionError):
            wrong.append(f'line {n} is not a page: write {{"page": 1, "text": "..."}}')
            continue
        if not isinstance(text, str) or type(number) is not int or number < 1 or number in pages:
            wrong.append(f"line {n}: page must be a new number from 1 and text a string")
            continue
        text = without_latex_tables(without_surrogates(text))
        pages[number] = [Line(line) for line in text.splitlines() if line.strip()]
    if wrong and not any(pages.values()):
        raise SourceError(f"{path} {wrong[0]}")
    filled = sorted(RawPage(number, lines) for number, lines in pages.items() if lines)
    return RawDocument(filled, "paged", sorted(n for n, lines in pages.items() if not lines), tuple(wrong))


def _text(path: Path) -> RawDocument:
    """Plain text; a form feed starts a page, and a long text is in parts, as no reader or index wants one huge page."""
    lines = list[Line]()
    pages = list[RawPage]()
    size = 0
    text = without_latex_tables(decode(path))
    if whatsapp.is_export(text):
        return RawDocument([RawPage(1, whatsapp.dialogue(text))], "flow")
    is_long = len(text) > _LONG_TEXT
    for line in text.splitlines(keepends=True):
        new_page = line.startswith("\f") or (is_long and size > _PART and not line.strip())
        if new_page and any(other.text for other in lines):
            pages.append(RawPage(len(pages) + 1, lines))
            lines, size = [], 0
        if is_long and len(line) > 2 * _PART:  # a file of one line
            for start in range(0, len(line), _PART):
                pages.append(RawPage(len(pages) + 1, [*lines, Line(line[start : start + _PART].strip())]))
                lines, size = [], 0
            continue
        lines.append(Line(line.strip("\r\n\f\x0b\x1c\x1d\x1e\x85\u2028\u2029")))
        size += len(line)
    if lines or not pages:
        pages.append(RawPage(len(pages) + 1, lines))
    return RawDocument(pages, "text")


READERS: dict[str, Callable[[Path], RawDocument]] = {
    ".pdf": read_pdf,
    ".jsonl": _jsonl,
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".html": read_html,
    ".htm": read_html,
    ".docx": read_docx,
    ".csv": read_table,
    ".tsv": read_table,
    ".txt": _text,
}
