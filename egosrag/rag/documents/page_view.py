"""A page as a reader sees it, with the quote of a citation marked: a PDF's as a picture, any other's as its text.

The quote is of the cleaned page, and the picture is of the printed one: they are brought together character by
character, by the same rules that cleaned it, leaving out what cleaning may change (spaces, line breaks, hyphens).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from egosrag.errors import SourceError
from egosrag.rag.documents.cleaning import plain
from egosrag.rag.documents.readers import PDFIUM
from egosrag.schema import Page
from egosrag.text.sentences import sentence_spans

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels, from the picture's upper left corner
Span = tuple[int, int]

_TINT = (1.0, 0.90, 0.45)  # what the marked part's red, green and blue are multiplied with: black stays black
_TALLEST = 3  # heights of a picture in widths: a page that is longer is drawn smaller
_LEAST = 2  # characters of a part of a quote that is marked by itself


class Picture(NamedTuple):
    """A drawn page: ``pixels`` (height, width, RGB) with the quote tinted, and where it is, a box a line."""

    pixels: NDArray[np.uint8]
    boxes: tuple[Box, ...]


class View(NamedTuple):
    """A page with a marked quote: ``page.text[start:end]``, and the picture where the document has any."""

    page: Page
    start: int
    end: int
    picture: Picture | None


def view(page: Page, quote: str, file: str | Path | None = None, *, width: int = 1000) -> View:
    """The page that a quote stands on.

    Args:
        page: as the index has it.
        quote: of the page's text, as in a :class:`egosrag.schema.Citation`; one that is not there marks nothing.
        file: the document; of a PDF the page is drawn.
        width: pixels of the picture.

    Raises:
        SourceError: the PDF is no longer there, or no longer has the page.
    """
    start = max(0, page.text.find(quote))
    end = start + len(quote) if page.text.startswith(quote, start) else start
    drawn = draw(Path(file), page.page, quote, width=width) if file and Path(file).suffix.lower() == ".pdf" else None
    return View(page, start, end, drawn)


def draw(file: Path, number: int, quote: str, *, width: int = 1000) -> Picture:
    """Page ``number`` (from 1) of a PDF with the quote tinted.

    Args:
        file: the PDF.
        number: of the page.
        quote: what to mark, in the words of the cleaned page.
        width: pixels; a page of unusual shape may get fewer.

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
            scale = min(width / max(wide, 1.0), width * _TALLEST / max(high, 1.0))
            bitmap = page.render(scale=scale, rev_byteorder=True)
            pixels = np.array(bitmap.to_numpy()[:, :, :3])
            boxes = tuple(_boxes(page, bitmap, quote))
            bitmap.close()
            page.close()
        finally:
            document.close()
    marked = np.zeros(pixels.shape[:2], dtype=bool)
    for left, top, right, bottom in boxes:
        marked[top:bottom, left:right] = True  # boxes may overlap, and nothing is tinted twice
    pixels[marked] = (pixels[marked] * np.array(_TINT)).astype(np.uint8)
    return Picture(pixels, boxes)


def _boxes(page: Any, bitmap: Any, quote: str) -> Iterator[Box]:
    """Where the quote is on the bitmap, a box for each line of it."""
    import pypdfium2.raw as pdfium

    text = page.get_textpage()
    there = [chr(pdfium.FPDFText_GetUnicode(text.raw, i)) for i in range(text.count_chars())]
    place = bitmap.get_posconv(page)
    for start, end in places(quote, there):
        for n in range(text.count_rects(start, end - start)):
            left, bottom, right, top = text.get_rect(n)
            (x0, y0), (x1, y1) = place.to_bitmap(left, top), place.to_bitmap(right, bottom)
            x0, x1, y0, y1 = min(x0, x1) - 1, max(x0, x1) + 1, min(y0, y1) - 1, max(y0, y1) + 1
            box = (max(0, x0), max(0, y0), min(bitmap.width, x1), min(bitmap.height, y1))
            if box[0] < box[2] and box[1] < box[3]:
                yield box
    text.close()


def places(quote: str, there: Sequence[str]) -> list[Span]:
    """Where a quote of the cleaned text stands among a page's raw characters.

    A quote that is not there as a whole, because something stands between, is looked for sentence by sentence.

    Args:
        quote: of the cleaned page.
        there: the page's characters as the document has them.

    Returns:
        Spans of positions in ``there``, in order; none where nothing of the quote is found.
    """
    letters = [(letter, i) for i, character in enumerate(there) for letter in _letters(character)]
    whole = "".join(letter for letter, _ in letters)

    def find(part: str, after: int) -> Span | None:
        wanted = "".join(letter for character in part for letter in _letters(character))
        at = whole.find(wanted, after) if len(wanted) >= _LEAST else -1
        return (at, at + len(wanted)) if at >= 0 else None

    found = [span] if (span := find(quote, 0)) else []
    if not found:
        after = 0
        for start, end in sentence_spans(quote):
            if span := find(quote[start:end], after):
                found.append(span)
                after = span[1]
    return [(letters[start][1], letters[end - 1][1] + 1) for start, end in found]


def _letters(character: str) -> str:
    """What cleaning makes of a character, but for what it may change at the end of a line."""
    return plain(character).replace("-", "")
