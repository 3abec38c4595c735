"""Pages of the served manuals as resources: a picture of a PDF's page, with the quote highlighted, or the page's text.

The URI is ``egosrag://manuals/MANUAL/SOURCE/PAGE``, each part percent-encoded, with ``?quote=START-END``: the span of
the quote in the page's text. Its parts are looked up among what is served and never used as paths.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

from egosrag.errors import SourceError
from egosrag.mcp.schema import InvalidArguments, Link
from egosrag.mcp.served import Manual, Served
from egosrag.rag.documents.load import file_hash
from egosrag.rag.documents.page_view import Picture, render_page
from egosrag.text.encoding import without_surrogates

if TYPE_CHECKING:
    from egosrag.rag.index.manual_index import ManualIndex

TEMPLATE = "egosrag://manuals/{manual}/{source}/{page}{?quote}"
PICTURE, TEXT = "image/png", "text/plain"
LISTED_AT_ONCE = 200  # pages of one answer to resources/list
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_SPAN = re.compile(r"([0-9]{1,9})-([0-9]{1,9})", re.ASCII)


class PageContent(NamedTuple):
    """The content of a page: a picture, or text."""

    mime_type: str
    data: bytes | str


def page_uri(name: str, source: str, page: int, span: tuple[int, int] | None = None) -> str:
    """The URI of a page.

    Args:
        name: the manual's name.
        source: the document.
        page: its number, from 1.
        span: where the quote is in the page's text.
    """
    place = "/".join(quote(part, safe="") for part in (name, source, str(page)))
    return f"egosrag://manuals/{place}" + (f"?quote={span[0]}-{span[1]}" if span else "")


def page_of_quote(name: str, manual: Manual, index: ManualIndex, source: str, page: int, text: str) -> dict[str, str]:
    """The fields of :class:`egosrag.mcp.schema.PageReference` for a quote."""
    start = index.page(source, page).text.find(text)
    span = (start, start + len(text)) if text and start >= 0 else None
    return {"page_uri": page_uri(name, source, page, span), "page_type": _type_of(manual, source)}


def listed(served: Served, cursor: str | None) -> tuple[list[Link], str | None]:
    """A part of the list of all pages.

    Args:
        served: the manuals.
        cursor: where the part begins, from the call before; None for the first one.

    Returns:
        The pages, and the cursor of the next part if there is one.

    Raises:
        InvalidArguments: the cursor is none of ours.
        EgosRagError: a manual cannot be loaded.
    """
    if cursor is not None and not _NUMBER.fullmatch(cursor):
        raise InvalidArguments("the cursor is not one of an earlier list of resources: begin without one")
    skipped, links = int(cursor or 0), list[Link]()
    for name, manual in served.manuals.items():
        places: Sequence[tuple[str, int]] = manual.engine.index.places
        for source, number in places[skipped : skipped + LISTED_AT_ONCE + 1 - len(links)]:
            links.append(Link(page_uri(name, source, number), f"{source}, p. {number}", _type_of(manual, source)))
        skipped = max(0, skipped - len(places))
    more = len(links) > LISTED_AT_ONCE
    return links[:LISTED_AT_ONCE], str(int(cursor or 0) + LISTED_AT_ONCE) if more else None


def read(served: Served, uri: str) -> PageContent:
    """The content of a page.

    Raises:
        InvalidArguments: there is no such page.
        SourceError: the document has changed since it was indexed.
        EgosRagError: the manual cannot be loaded.
    """
    name, source, number, span = _parsed(uri)
    manual = served.manuals.get(name)
    if manual is None:
        raise _unknown(uri)
    index = manual.engine.index
    try:
        page = index.page(source, number)
    except KeyError:
        raise _unknown(uri) from None
    if _type_of(manual, source) == TEXT:
        return PageContent(TEXT, page.text)
    file = manual.files[source]
    if file_hash(file) != index.manifest.files.get(source):
        raise SourceError(f"{source} has changed since it was indexed: start the server again")
    return PageContent(PICTURE, _png(render_page(file, number, page.text[slice(*span)])))


def _parsed(uri: str) -> tuple[str, str, int, tuple[int, int]]:
    """Manual, source, page and span of a URI; the span is empty where it has none."""
    try:
        parts = urlsplit(uri)
        places = [unquote(part, errors="strict") for part in parts.path.split("/")[1:]]
        span = _SPAN.fullmatch(parse_qs(parts.query).get("quote", ["0-0"])[0])
    except ValueError:
        raise _unknown(uri) from None
    if (parts.scheme, parts.netloc, len(places)) != ("egosrag", "manuals", 3) or not span:
        raise _unknown(uri)
    if not _NUMBER.fullmatch(places[2]):
        raise _unknown(uri)
    return places[0], places[1], int(places[2]), (int(span[1]), int(span[2]))


def _unknown(uri: str) -> InvalidArguments:
    return InvalidArguments(f"there is no resource {without_surrogates(uri)[:200]!r}: take the URI from a citation")


def _type_of(manual: Manual, source: str) -> str:
    """How a page of a document is shown."""
    file = manual.files.get(source)
    return PICTURE if file is not None and file.suffix.lower() == ".pdf" else TEXT


def _png(picture: Picture) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(picture.pixels).save(data, format="PNG")
    return data.getvalue()
