"""An index in PostgreSQL, for any number of processes: passages, our terms with their weights, and pgvector's vectors.

A build is one transaction that adds a generation and points the index's name at it; whoever is killed leaves the old
one. The generation before stays until the next build, so that who has it open can finish. A term's row holds what
BM25 gives each document for it, so a question reads the rows of its own terms and its scores are those of the folder.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag

from langchain_core.embeddings import Embeddings
from pydantic import ValidationError

from egosrag.errors import StoreError
from egosrag.postgres import Database, redact_url
from egosrag.rag.index import storage as store
from egosrag.rag.index.fields import LEXICAL
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.index.postgres_search import Rows, TermRows, VectorRows
from egosrag.rag.index.storage import Manifest
from egosrag.rag.index.vectors import Embedder, load_embedder
from egosrag.schema import Page, Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NAME = re.compile(r"[\w.-]{1,64}")


def named(address: str) -> tuple[str, str]:
    """The database of an address and the name of the index in it: what follows #, ``manual`` by default.

    Raises:
        StoreError: the name is none.
    """
    url, name = urldefrag(address)
    if name and not _NAME.fullmatch(name):  # it may be the rest of a password
        raise StoreError("what follows the # of an address names the index: use letters, digits, and . - _ alone")
    return url, name or "manual"


def manifest_of(link: Database, name: str) -> tuple[int, Manifest]:
    """The generation that an index's name points at, and what it was built from.

    Raises:
        StoreError: there is no such index, it is damaged, or another version wrote it.
    """
    where = f"{redact_url(link.url)}#{name}"
    rows = []
    if link.fetch_all("SELECT to_regclass('egosrag_index')")[0][0]:
        rows = link.fetch_all("SELECT generation, version, manifest FROM egosrag_index WHERE name = %s", name)
    if not rows:
        raise StoreError(f"there is no index at {where}: build one with egosrag index PATH --out {where}")
    generation, version, manifest = rows[0]
    store.check_version(f"the index at {where}", version)
    try:
        return int(generation), Manifest.model_validate(manifest)
    except ValidationError as error:
        raise StoreError(f"the index at {where} is damaged: build it again") from error


class PostgresIndex(ManualIndex):
    """An index whose rows stay in the database until a question needs them.

    Args:
        address: ``postgresql://...``, and ``#name`` where it is not the only one there.
        embedder: the embedder that it was built with, where it was an object; else it is loaded by its name.

    Raises:
        StoreError: there is none, it is damaged, of another version, or of another embedder.
    """

    def __init__(self, address: str, embedder: str | Embeddings | None = None) -> None:
        url, name = named(address)
        self._link, self._name = Database(url, StoreError), name
        self._where = f"{redact_url(url)}#{name}"
        self._generation, self.manifest = manifest_of(self._link, name)
        self.check_embedder(self._where, self.manifest, embedder)
        self._embedder: Embedder | None = None if isinstance(embedder, str) else load_embedder(embedder)
        query = "SELECT places, page_of, first_sentence, counts FROM egosrag_generation WHERE id = %s"
        places, owners, first, counts = self._ask(query, self._generation)[0]
        self.places = [(source, page) for source, page in places]
        self._page = {place: row for row, place in enumerate(self.places)}
        self.page_of = _ints(owners).tolist()
        self.first_sentence = _ints(first).tolist()
        self.pages = Rows(len(self.places), self._pages)
        self.passages = Rows(len(self.page_of), self._passages)
        self.lexical = {key: self._term_rows(key, counts[key]) for key in LEXICAL}
        card = self.manifest.embedder
        self.dense = VectorRows(self._ask, self._generation, len(self.page_of), card.dimension) if card else None

    @property
    def is_current(self) -> bool:
        """Whether the index was not built anew since it was opened.

        Raises:
            StoreError: the database does not answer, or the index is gone.
        """
        return manifest_of(self._link, self._name)[0] == self._generation

    def save(self, folder: object) -> None:
        """An index in a database is written by building it.

        Raises:
            StoreError: always.
        """
        raise StoreError(f"the index at {self._where} is in its database: build another with egosrag index")

    def _ask(self, query: str, *values: Any, before: str = "") -> list[Any]:
        """Rows of this generation, as long as it is there: a query of one that is gone finds none."""
        rows = self._link.fetch_all(query, *values, before=before)
        if not rows and not self._link.fetch_all("SELECT 1 FROM egosrag_generation WHERE id = %s", self._generation):
            raise StoreError(f"the index at {self._where} was built anew, twice: open it again")
        return rows

    def _pages(self, start: int, end: int) -> list[Page]:
        query = "SELECT data FROM egosrag_page WHERE generation = %s AND row >= %s AND row < %s ORDER BY row"
        return [Page.model_validate(data) for (data,) in self._ask(query, self._generation, start, end)]

    def _passages(self, start: int, end: int) -> list[Passage]:
        query = """SELECT p.data, substr(g.data ->> 'text', (p.data ->> 'start')::int + 1,
            (p.data ->> 'end')::int - (p.data ->> 'start')::int) FROM egosrag_passage p
            JOIN egosrag_page g ON g.generation = p.generation AND g.row = p.page_row
            WHERE p.generation = %s AND p.row >= %s AND p.row < %s ORDER BY p.row"""
        return [Passage(text=text, **data) for data, text in self._ask(query, self._generation, start, end)]

    def _term_rows(self, search: str, count: int) -> TermRows:
        import numpy as np

        query = "SELECT term, docs, weights FROM egosrag_term WHERE generation = %s AND search = %s AND term = ANY(%s)"

        def read(terms: list[str]) -> dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]]:
            rows = self._ask(query, self._generation, search, terms)
            return {term: (_ints(docs), np.frombuffer(weights, dtype="<f4")) for term, docs, weights in rows}

        return TermRows(LEXICAL[search], count, read)


def _ints(data: bytes) -> NDArray[np.int32]:
    import numpy as np

    return np.frombuffer(data, dtype="<i4")
