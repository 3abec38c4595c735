"""An index in PostgreSQL, for any number of processes: pages, passages, terms with their BM25 weights, and vectors.

A build is one transaction that adds a generation and points the index's name at it; a build that is killed leaves the
old one. The generation before stays until the next build, so that processes that have it open can finish. A term's row
holds its BM25 weight in each document, so a question reads only the rows of its own terms, and its scores are those of
the index in a folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag

from egosrag.errors import StoreError
from egosrag.postgres import Database, error_reason, redact_url
from egosrag.rag.index import vectors
from egosrag.rag.index.fields import LEXICAL
from egosrag.rag.index.postgres_checks import (
    checked_layout,
    checked_page,
    checked_passage,
    checked_postings,
    damaged_rows,
    numbered,
)
from egosrag.rag.index.postgres_rows import Rows, TermRows, VectorRows
from egosrag.rag.index.storage import VERSION, IndexData, Layout, Manifest, check_not_newer, check_version
from egosrag.schema import Page, Passage

if TYPE_CHECKING:
    from egosrag.rag.index.postgres_rows import Postings

_INDEX_NAME = re.compile(r"[\w.-]{1,64}")
_LOCK = 0x45474F53524147  # of the advisory lock: one build writes at a time
_MAX_HNSW_WIDTH = 2000  # dimensions of the widest vectors that pgvector's HNSW graph takes
_TABLES = """
CREATE TABLE IF NOT EXISTS egosrag_generation (id bigserial PRIMARY KEY, name text NOT NULL, places jsonb NOT NULL,
    page_of bytea NOT NULL, first_sentence bytea NOT NULL, counts jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS egosrag_index (name text PRIMARY KEY, generation bigint NOT NULL, version int NOT NULL,
    manifest jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS egosrag_page (generation bigint, row int, data jsonb NOT NULL,
    PRIMARY KEY (generation, row));
CREATE TABLE IF NOT EXISTS egosrag_passage (generation bigint, row int, page_row int NOT NULL, data jsonb NOT NULL,
    PRIMARY KEY (generation, row));
CREATE TABLE IF NOT EXISTS egosrag_term (generation bigint, search text, term text, docs bytea NOT NULL,
    weights bytea NOT NULL, PRIMARY KEY (generation, search, term));
"""
_VECTOR_TABLE = (
    "CREATE TABLE IF NOT EXISTS egosrag_vector (generation bigint, row int, v vector NOT NULL, "
    "PRIMARY KEY (generation, row))"
)
_ROW_TABLES = ("egosrag_page", "egosrag_passage", "egosrag_term", "egosrag_vector")


def parse_address(address: str) -> tuple[str, str]:
    """The database of an address and the name of the index in it: what follows #, ``manual`` by default.

    Raises:
        StoreError: the name is not valid.
    """
    url, name = urldefrag(address)
    if name and not _INDEX_NAME.fullmatch(name):  # not quoted: it may be the rest of a password
        raise StoreError("what follows the # of an address names the index: use letters, digits, and . - _ alone")
    return url, name or "manual"


class PostgresStore:
    """The index of a name in a database; see :class:`egosrag.rag.index.storage.IndexStore`.

    Args:
        address: ``postgresql://...``, and ``#name`` where the database has several indexes.

    Raises:
        StoreError: the name is not valid.
    """

    def __init__(self, address: str) -> None:
        url, self._name = parse_address(address)
        self._database = Database(url, StoreError)

    @property
    def where(self) -> str:
        """The address without user and password."""
        return f"{redact_url(self._database.url)}#{self._name}"

    def check_available(self) -> None:
        """See :class:`egosrag.rag.index.storage.IndexStore`."""
        self._database.fetch_all("SELECT 1")

    def sweep(self) -> None:
        """A build is one transaction: a killed one leaves nothing."""

    def read_manifest(self) -> Manifest:
        """See :class:`egosrag.rag.index.storage.IndexStore`."""
        rows = []
        if self._database.fetch_all("SELECT to_regclass('egosrag_index')")[0][0]:
            rows = self._database.fetch_all(
                "SELECT generation, version, manifest FROM egosrag_index WHERE name = %s", self._name
            )
        if not rows:
            raise StoreError(f"there is no index at {self.where}: build one with egosrag index PATH --out {self.where}")
        generation, version, manifest = rows[0]
        with damaged_rows(self.where):
            check_version(f"the index at {self.where}", version)
            return Manifest.model_validate({**manifest, "generation": str(generation)})

    def read(self, manifest: Manifest) -> IndexData:
        """See :class:`egosrag.rag.index.storage.IndexStore`; rows are read when a question needs them."""
        return _Generation(self._database, int(manifest.generation), self.where).data(manifest)

    def write(self, manifest: Manifest, data: IndexData) -> Manifest:
        """See :class:`egosrag.rag.index.storage.IndexStore`."""
        import psycopg

        try:
            generation = self._database.run(lambda connection: _write(connection, self._name, manifest, data))
        except psycopg.Error as error:
            reason = error_reason(error, self._database.url)
            raise StoreError(f"the index cannot be written to {self.where} ({reason}): check rights and disk") from None
        return manifest.model_copy(update={"generation": str(generation)})


class _Generation:
    """Reads the rows of one generation. Anybody may have written them: each is checked before it is used."""

    def __init__(self, database: Database, generation: int, where: str) -> None:
        self._database, self._generation, self._where = database, generation, where

    def data(self, manifest: Manifest) -> IndexData:
        query = "SELECT places, page_of, first_sentence, counts FROM egosrag_generation WHERE id = %s"
        row = self._rows(query, self._generation)[0]
        with damaged_rows(self._where):
            layout, counts = checked_layout(*row)
        count, card = len(layout.page_of), manifest.embedder
        return IndexData(
            pages=Rows(len(layout.places), partial(self._pages, layout)),
            passages=Rows(count, partial(self._passages, layout)),
            lexical={name: self._terms(name, counts[name]) for name in LEXICAL},
            dense=VectorRows(self._rows, self._generation, count, card.dimension, self._where) if card else None,
            layout=layout,
            database=self._where,
        )

    def _rows(self, query: str, *values: Any, before: str = "") -> list[Any]:
        """The rows of a query; an error if there are none because the generation was deleted."""
        rows = self._database.fetch_all(query, *values, before=before)
        if not rows and not self._database.fetch_all(
            "SELECT 1 FROM egosrag_generation WHERE id = %s", self._generation
        ):
            raise StoreError(f"the index at {self._where} was rebuilt twice since it was opened: open it again")
        return rows

    def _pages(self, layout: Layout, start: int, end: int) -> list[Page]:
        query = "SELECT row, data FROM egosrag_page WHERE generation = %s AND row >= %s AND row < %s ORDER BY row"
        rows = self._rows(query, self._generation, start, end)
        with damaged_rows(self._where):
            return [checked_page(data, layout.places[row]) for row, data in numbered(rows, start, end)]

    def _passages(self, layout: Layout, start: int, end: int) -> list[Passage]:
        query = """SELECT p.row, p.data, substr(g.data ->> 'text', (p.data ->> 'start')::int + 1,
            (p.data ->> 'end')::int - (p.data ->> 'start')::int) FROM egosrag_passage p
            JOIN egosrag_page g ON g.generation = p.generation AND g.row = p.page_row
            WHERE p.generation = %s AND p.row >= %s AND p.row < %s ORDER BY p.row"""
        rows = self._rows(query, self._generation, start, end)
        with damaged_rows(self._where):
            return [
                checked_passage(data, text, layout.places[layout.page_of[row]])
                for row, data, text in numbered(rows, start, end)
            ]

    def _terms(self, name: str, count: int) -> TermRows:
        query = "SELECT term, docs, weights FROM egosrag_term WHERE generation = %s AND search = %s AND term = ANY(%s)"

        def read(terms: list[str]) -> dict[str, Postings]:
            rows = self._rows(query, self._generation, name, terms)
            with damaged_rows(self._where):
                return {term: checked_postings(docs, weights, count) for term, docs, weights in rows}

        return TermRows(LEXICAL[name], count, read)


def _write(connection: Any, name: str, manifest: Manifest, data: IndexData) -> int:
    """Write a new generation and make it current, in one transaction; returns its id."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(_TABLES)
        previous = connection.execute(
            "SELECT version, generation FROM egosrag_index WHERE name = %s", (name,)
        ).fetchone()
        if previous:
            check_not_newer(f"the index {name} in this database", previous[0])
        (generation,) = connection.execute(
            "INSERT INTO egosrag_generation (name, places, page_of, first_sentence, counts) "
            "VALUES (%s, %s, %s, %s, %s) RETURNING id",
            (name, *_layout_row(data)),
        ).fetchone()
        _copy(connection, "egosrag_page", "int8 int4 jsonb", _page_rows(generation, data))
        _copy(connection, "egosrag_passage", "int8 int4 int4 jsonb", _passage_rows(generation, data))
        _copy(connection, "egosrag_term", "int8 text text bytea bytea", _term_rows(generation, data))
        if data.dense is not None:
            _write_vectors(connection, generation, data.dense.vectors)
        connection.execute(
            "INSERT INTO egosrag_index VALUES (%s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET "
            "generation = EXCLUDED.generation, version = EXCLUDED.version, manifest = EXCLUDED.manifest",
            (name, generation, VERSION, manifest.model_dump_json()),
        )
        _delete_generations(connection, name, keep=[generation, previous[1] if previous else generation])
        return int(generation)


def _layout_row(data: IndexData) -> tuple[str, bytes, bytes, str]:
    """The part of an index that is read whole when it is opened."""
    import numpy as np

    page_of, first_sentence = (
        np.asarray(rows, dtype="<i4").tobytes() for rows in (data.layout.page_of, data.layout.first_sentence)
    )
    counts = {name: bm25.count for name, bm25 in data.lexical.items()}
    return json.dumps(data.layout.places), page_of, first_sentence, json.dumps(counts)


def _page_rows(generation: int, data: IndexData) -> Iterator[tuple[Any, ...]]:
    from psycopg.types.json import Jsonb

    for row, page in enumerate(data.pages):
        yield generation, row, Jsonb(page.model_dump(mode="json"))


def _passage_rows(generation: int, data: IndexData) -> Iterator[tuple[Any, ...]]:
    from psycopg.types.json import Jsonb

    for row, (passage, page_row) in enumerate(zip(data.passages, data.layout.page_of, strict=True)):
        yield generation, row, page_row, Jsonb(passage.model_dump(mode="json", exclude={"text"}))


def _term_rows(generation: int, data: IndexData) -> Iterator[tuple[Any, ...]]:
    for name, bm25 in data.lexical.items():
        for term, docs, weights in bm25.terms():
            yield generation, name, term, docs.astype("<i4").tobytes(), weights.astype("<f4").tobytes()


def _write_vectors(connection: Any, generation: int, matrix: Any) -> None:
    from pgvector.psycopg import register_vector

    if not connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone():
        connection.execute("CREATE EXTENSION vector")
    connection.execute(_VECTOR_TABLE)
    register_vector(connection)
    _copy(connection, "egosrag_vector", "int8 int4 vector", ((generation, row, v) for row, v in enumerate(matrix)))
    count, width = matrix.shape
    if count > vectors.EXACT_SEARCH and width <= _MAX_HNSW_WIDTH:
        connection.execute(
            f"CREATE INDEX egosrag_near_{generation} ON egosrag_vector USING hnsw "
            f"((v::vector({width})) vector_ip_ops) WHERE generation = {generation}"
        )


def _copy(connection: Any, table: str, types: str, rows: Iterator[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(types.split())
        for row in rows:
            copy.write_row(row)


def _delete_generations(connection: Any, name: str, keep: list[int]) -> None:
    """Delete the generations of an index except those that processes may have open."""
    query = "DELETE FROM egosrag_generation WHERE name = %s AND id <> ALL(%s) RETURNING id"
    deleted = [row[0] for row in connection.execute(query, (name, keep)).fetchall()]
    for table in _ROW_TABLES:
        if deleted and connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()[0]:
            connection.execute(f"DELETE FROM {table} WHERE generation = ANY(%s)", (deleted,))
    for generation in deleted:
        connection.execute(f"DROP INDEX IF EXISTS egosrag_near_{generation}")
