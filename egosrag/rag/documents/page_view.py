"""A page with the quote of a citation highlighted: as a picture for a PDF, as text for any other document.

The quote is from the cleaned page and the picture of the original one: they are aligned character by character, without
the characters that cleaning may change (spaces, line breaks, hyphens).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from egosrag.errors import SourceError
from egosrag.rag.documents.cleaning import clean_line
from egosrag.rag.documents.pdf import PDFIUM
from egosrag.schema import Page
from egosrag.text.sentences import Span, sentence_spans

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels, from the upper left corner of the picture

_TINT = (1.0, 0.90, 0.45)  # factors of red, green and blue in highlighted areas: yellow, and black stays black
_MAX_HEIGHT = 3  # of a picture, in widths: a longer page is rendered smaller
_MIN_SENTENCE = 2  # characters of a sentence that is highlighted by itself


class Picture(NamedTuple):
    """A rendered page: ``pixels`` of shape (height, width, 3) with the quote tinted, and a box for each line of it."""

    pixels: NDArray[np.uint8]
    boxes: tuple[Box, ...]


class PageView(NamedTuple):
    """A page with a highlighted quote: ``page.text[start:end]``, and for a PDF the picture."""

    page: Page
    start: int
    end: int
    picture: Picture | None


def page_view(page: Page, quote: str, file: str | Path | None = None, *, width: int = 1000) -> PageView:
    """The page of a quote.

    Args:
        page: the page of the index.
        quote: part of the page's text, as in a :class:`egosrag.schema.Citation`; any other text highlights nothing.
        file: the document; the page of a PDF is rendered.
        width: of the picture, in pixels.

    Raises:
        SourceError: the PDF does not exist any more, or has no such page any more.
    """
    start = max(0, page.text.find(quote))
    end = start + len(quote) if page.text.startswith(quote, start) else start
    is_pdf = file is not None and Path(file).suffix.lower() == ".pdf"
    picture = render_page(Path(file), page.page, quote, width=width) if file and is_pdf else None
    return PageView(page, start, end, picture)


def render_page(file: Path, number: int, quote: str, *, width: int = 1000) -> Picture:
    """A page of a PDF with the quote tinted.

    Args:
        file: the PDF.
        number: the page number, from 1.
        quote: the text to highlight, as on the cleaned page.
        width: of the picture, in pixels; a very long page may be narrower.

    Raises:
        SourceError: the file cannot be read, or has no such page.
    """
    import numpy as np
    import pypdfium2

    with PDFIUM:
        try:
            document = pypdfium2.PdfDocument(file)
        except (pypdfium2.PdfiumError, OSError) as error:
            raise SourceError(f"{file.name} cannot be opened any more: give the document again") from error
        try:
            if not 1 <= number <= len(document):
                raise SourceError(f"{file.name} has no page {number} any more: index the document again")
            page = document[number - 1]
            wide, high = page.get_size()
            scale = min(width / max(wide, 1.0), width * _MAX_HEIGHT / max(high, 1.0))
            bitmap = page.render(scale=scale, rev_byteorder=True)
            pixels = np.array(bitmap.to_numpy()[:, :, :3])
            boxes = tuple(_boxes(page, bitmap, quote))
            bitmap.close()
            page.close()
        finally:
            document.close()
    marked = np.zeros(pixels.shape[:2], dtype=bool)
    for left, top, right, bottom in boxes:
        marked[top:bottom, left:right] = True  # a mask, as boxes may overlap and nothing may be tinted twice
    pixels[marked] = (pixels[marked] * np.array(_TINT)).astype(np.uint8)
    return Picture(pixels, boxes)


def _boxes(page: Any, bitmap: Any, quote: str) -> Iterator[Box]:
    """The boxes of the quote on the bitmap, one for each of its lines."""
    import pypdfium2.raw as pdfium

    text = page.get_textpage()
    characters = [chr(pdfium.FPDFText_GetUnicode(text.raw, i)) for i in range(text.count_chars())]
    place = bitmap.get_posconv(page)
    for start, end in locate_quote(quote, characters):
        for n in range(text.count_rects(start, end - start)):
            left, bottom, right, top = text.get_rect(n)
            (x0, y0), (x1, y1) = place.to_bitmap(left, top), place.to_bitmap(right, bottom)
            x0, x1, y0, y1 = min(x0, x1) - 1, max(x0, x1) + 1, min(y0, y1) - 1, max(y0, y1) + 1
            box = (max(0, x0), max(0, y0), min(bitmap.width, x1), min(bitmap.height, y1))
            if box[0] < box[2] and box[1] < box[3]:
                yield box
    text.close()


def locate_quote(quote: str, characters: Sequence[str]) -> list[Span]:
    """The spans of a quote from the cleaned page among the raw characters of the page.

    If the quote is interrupted by other text, each of its sentences is searched for, and each cell of a table row.

    Args:
        quote: text of the cleaned page.
        characters: the characters of the page in the document.

    Returns:
        Spans of indices of ``characters``, in order; empty if nothing of the quote is found.
    """
    letters = [(letter, i) for i, character in enumerate(characters) for letter in _letters(character)]
    page = "".join(letter for letter, _ in letters)

    def find(part: str, after: int) -> Span | None:
        text = "".join(letter for character in part for letter in _letters(character))
        at = page.find(text, after) if len(text) >= _MIN_SENTENCE else -1
        return (at, at + len(text)) if at >= 0 else None

    found = [span] if (span := find(quote, 0)) else []
    if not found:
        after = 0
        for start, end in sentence_spans(quote):
            if span := find(quote[start:end], after):
                found.append(span)
                after = span[1]
            else:
                # The name of a column is above the row, and PDFium's order of cells may be another one.
                sentence = quote[start:end]
                cells = [re.sub(r"^[^:：|]*[:：]\s*", "", cell) for cell in sentence.split("|")]
                # A sentence over a page break is on the page only with its beginning.
                beginnings = (sentence[: len(sentence) * share // 10] for share in range(9, 1, -1))
                parts = cells if "|" in sentence else beginnings
                spans = [span for part in parts if len(part) >= _MIN_SENTENCE and (span := find(part, 0))]
                found += spans if "|" in sentence else spans[:1]
    return [(letters[start][1], letters[end - 1][1] + 1) for start, end in sorted(set(found))]


def _letters(character: str) -> str:
    """A character after cleaning, without the hyphens that cleaning may drop at the end of a line."""
    return clean_line(character).replace("-", "")
