"""PDF: the lines of each page, with the size of their type."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

from egosrag.errors import SourceError
from egosrag.limits import DOCUMENT_PAGES
from egosrag.rag.documents.raw import Line, RawDocument, RawPage, check_limit

PDFIUM = threading.Lock()  # to be held while PDFium is used, which is not thread-safe


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
