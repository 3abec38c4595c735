"""An index into PostgreSQL: one transaction, after which its name points at the new generation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from egosrag.errors import StoreError
from egosrag.postgres import Database, error_reason, redact_url
from egosrag.rag.index import storage as store
from egosrag.rag.index import vectors as dense
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.index.postgres import PostgresIndex, manifest_of, named

_LOCK = 0x45474F53524147  # one build writes at a time
_GRAPH_WIDTH = 2000  # the widest vectors that pgvector's graph takes
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
_VECTORS = (
    "CREATE TABLE IF NOT EXISTS egosrag_vector (generation bigint, row int, v vector NOT NULL, "
    "PRIMARY KEY (generation, row))"
)
_ROWS = ("egosrag_page", "egosrag_passage", "egosrag_term", "egosrag_vector")


def old(address: str) -> PostgresIndex | None:
    """The index that is at an address, for what has not changed of it; none where there is none to be read.

    Raises:
        StoreError: the database does not answer, or a newer program wrote the index.
    """
    url, name = named(address)
    link = Database(url, StoreError)
    link.fetch_all("SELECT 1")  # told before the work, not after it
    try:
        manifest_of(link, name)
        return PostgresIndex(address)
    except store.NewerError:
        raise
    except StoreError:
        return None


def write(address: str, index: ManualIndex) -> None:
    """Writes an index as the new generation of its name; the one before stays for those that have it open.

    Raises:
        StoreError: the database cannot be written, or a newer program wrote the index that is there.
    """
    import psycopg

    url, name = named(address)
    link = Database(url, StoreError)
    try:
        link.run(lambda connection: _write(connection, name, index))
    except psycopg.Error as error:
        where, reason = f"{redact_url(url)}#{name}", error_reason(error, url)
        raise StoreError(f"the index cannot be written to {where} ({reason}): check rights and disk") from None


def _write(connection: Any, name: str, index: ManualIndex) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(_TABLES)
        there = connection.execute("SELECT version, generation FROM egosrag_index WHERE name = %s", (name,)).fetchone()
        if there:
            store.check_not_newer(f"the index {name} in this database", there[0])
        (generation,) = connection.execute(
            "INSERT INTO egosrag_generation (name, places, page_of, first_sentence, counts) "
            "VALUES (%s, %s, %s, %s, %s) RETURNING id",
            (name, *_opened(index)),
        ).fetchone()
        _copy(connection, "egosrag_page", "int8 int4 jsonb", _pages(generation, index))
        _copy(connection, "egosrag_passage", "int8 int4 int4 jsonb", _passages(generation, index))
        _copy(connection, "egosrag_term", "int8 text text bytea bytea", _terms(generation, index))
        if index.dense is not None:
            _write_vectors(connection, generation, index.dense.vectors)
        connection.execute(
            "INSERT INTO egosrag_index VALUES (%s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET "
            "generation = EXCLUDED.generation, version = EXCLUDED.version, manifest = EXCLUDED.manifest",
            (name, generation, store.VERSION, index.manifest.model_dump_json()),
        )
        _forget(connection, name, [generation, there[1] if there else generation])


def _opened(index: ManualIndex) -> tuple[str, bytes, bytes, str]:
    """What of an index is read whole when it is opened."""
    import numpy as np

    counts = {key: bm25.count for key, bm25 in index.lexical.items()}
    rows = (np.asarray(part, dtype="<i4").tobytes() for part in (index.page_of, index.first_sentence))
    return json.dumps(index.places), *rows, json.dumps(counts)  # type: ignore[return-value]


def _forget(connection: Any, name: str, kept: list[int]) -> None:
    """Takes out the generations of a name that nobody can have open any more."""
    query = "DELETE FROM egosrag_generation WHERE name = %s AND id <> ALL(%s) RETURNING id"
    gone = [row[0] for row in connection.execute(query, (name, kept)).fetchall()]
    for table in _ROWS:
        if gone and connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()[0]:
            connection.execute(f"DELETE FROM {table} WHERE generation = ANY(%s)", (gone,))
    for generation in gone:
        connection.execute(f"DROP INDEX IF EXISTS egosrag_near_{generation}")


def _write_vectors(connection: Any, generation: int, vectors: Any) -> None:
    from pgvector.psycopg import register_vector

    if not connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone():
        connection.execute("CREATE EXTENSION vector")
    connection.execute(_VECTORS)
    register_vector(connection)
    _copy(connection, "egosrag_vector", "int8 int4 vector", ((generation, n, v) for n, v in enumerate(vectors)))
    count, width = vectors.shape
    if count > dense.EXACT and width <= _GRAPH_WIDTH:
        connection.execute(
            f"CREATE INDEX egosrag_near_{generation} ON egosrag_vector USING hnsw "
            f"((v::vector({width})) vector_ip_ops) WHERE generation = {generation}"
        )


def _copy(connection: Any, table: str, types: str, rows: Iterator[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(types.split())
        for row in rows:
            copy.write_row(row)


def _pages(generation: int, index: ManualIndex) -> Iterator[tuple[Any, ...]]:
    from psycopg.types.json import Jsonb

    for n, page in enumerate(index.pages):
        yield generation, n, Jsonb(page.model_dump(mode="json"))


def _passages(generation: int, index: ManualIndex) -> Iterator[tuple[Any, ...]]:
    from psycopg.types.json import Jsonb

    for n, (passage, page) in enumerate(zip(index.passages, index.page_of, strict=True)):
        yield generation, n, page, Jsonb(passage.model_dump(mode="json", exclude={"text"}))


def _terms(generation: int, index: ManualIndex) -> Iterator[tuple[Any, ...]]:
    for name, bm25 in index.lexical.items():
        for term, docs, weights in bm25.terms():
            yield generation, name, term, docs.astype("<i4").tobytes(), weights.astype("<f4").tobytes()
