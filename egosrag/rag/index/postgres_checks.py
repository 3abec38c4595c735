"""Checks of the rows of an index in PostgreSQL, which anybody may have written: types, sizes, places and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from egosrag.errors import StoreError
from egosrag.rag.index.fields import LEXICAL
from egosrag.rag.index.safe_files import DAMAGED
from egosrag.rag.index.storage import Layout
from egosrag.schema import Page, Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from egosrag.rag.index.postgres_rows import Postings

_MOST_SENTENCES = 1_000_000  # of the last page: those of the others are in the layout


@contextmanager
def damaged_rows(where: str) -> Iterator[None]:
    """Turns what wrong rows raise into one line that says where they are.

    Raises:
        StoreError: the rows are not those of an index.
    """
    try:
        yield
    except DAMAGED as error:
        raise StoreError(f"the index at {where} is damaged ({type(error).__name__}): build it again") from error


def checked_layout(places: Any, page_of: Any, first_sentence: Any, counts: Any) -> tuple[Layout, dict[str, int]]:
    """The layout of an index and the number of documents of each lexical index.

    Raises:
        ValueError, TypeError, KeyError: they are of wrong types, or do not belong together.
    """
    if not all(type(source) is str and type(number) is int and number > 0 for source, number in places):
        raise ValueError("a page has no source or no number")
    pages, sentences = _integers(page_of), _integers(first_sentence)
    found = [(source, number) for source, number in places]
    if not found or len(set(found)) != len(found) or len(sentences) != len(found):
        raise ValueError("pages occur twice, or are not those of the sentences")
    if not len(pages) or pages.min() < 0 or pages.max() >= len(found) or (pages[1:] < pages[:-1]).any():
        raise ValueError("passages are of no page, or not in the order of the pages")
    if sentences[0] != 0 or (sentences[1:] <= sentences[:-1]).any():
        raise ValueError("the sentences of the pages are not in order")
    if not all(type(counts[name]) is int for name in LEXICAL):
        raise ValueError("the sizes of the indexes of words are no numbers")
    sizes = {"windows": len(pages), "pages": len(found), "titles": len(found)}
    for name in LEXICAL:
        field = name.split("-")[0]
        last = counts[name] - int(sentences[-1])
        if counts[name] != sizes.get(field, counts[name]) or (field == "sentences" and not 0 < last < _MOST_SENTENCES):
            raise ValueError("an index of words is not of these pages")
    return Layout(found, pages.tolist(), sentences.tolist()), counts


def numbered(rows: Sequence[Any], start: int, end: int) -> Sequence[Any]:
    """The rows, whose first column is their number.

    Raises:
        ValueError: they are not exactly those from ``start`` to ``end``, exclusive.
    """
    if [row[0] for row in rows] != list(range(start, end)):
        raise ValueError("rows are missing")
    return rows


def checked_page(data: Any, place: tuple[str, int]) -> Page:
    """A page.

    Raises:
        ValueError: it is none, or not the one of its place.
    """
    page = Page.model_validate(data)
    if (page.source, page.page) != place or any(not 0 <= h.start <= len(page.text) for h in page.headings):
        raise ValueError("a page is at another place, or its headings are outside of it")
    return page


def checked_passage(data: Any, text: Any, place: tuple[str, int]) -> Passage:
    """A passage with its text.

    Raises:
        ValueError, TypeError: it is none, or not a part of its page.
    """
    passage = Passage(text=text, **data)
    if (passage.source, passage.page) != place or not 0 <= passage.start < passage.end:
        raise ValueError("a passage is of another page")
    if len(passage.text) != passage.end - passage.start:
        raise ValueError("a passage is outside of its page")
    return passage


def checked_postings(documents: Any, weights: Any, count: int) -> Postings:
    """The rows of the documents that contain a term, and its weights in them.

    Raises:
        ValueError, TypeError: there are others than ``count`` documents, or weights that are no numbers.
    """
    import numpy as np

    rows, values = _integers(documents), np.frombuffer(weights, dtype="<f4")
    if len(rows) != len(values) or (len(rows) and not 0 <= rows.min() <= rows.max() < count):
        raise ValueError("a term is in documents that do not exist")
    if not np.isfinite(values).all():
        raise ValueError("a term has weights that are no numbers")
    return rows, values


def checked_cosines(values: list[Any], count: int) -> NDArray[np.float32]:
    """The cosines of a question with ``count`` vectors.

    Raises:
        ValueError, TypeError: there are others, or they are no numbers.
    """
    import numpy as np

    cosines = np.asarray(values, dtype=np.float32)
    if cosines.shape != (count,) or not np.isfinite(cosines).all():
        raise ValueError("vectors are missing or no numbers")
    return cosines


def _integers(data: Any) -> NDArray[np.int32]:
    import numpy as np

    return np.frombuffer(data, dtype="<i4")
