"""An index in PostgreSQL gives the ranking of one in a folder, and reads only the rows that a question needs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from egosrag.errors import StoreError
from egosrag.postgres import Database, redact_url
from egosrag.rag.index import bulk
from egosrag.rag.index import vectors as dense
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.search import Retriever
from tests.conftest import SAMPLES, Run
from tests.postgres import PASSWORD, Server

QUESTIONS = [
    "How many airbags does the car have?",
    "空调滤芯在哪里？",
    "Where is the release lever of the hood?",
    "第3页讲什么？",
    "胎压多少？",
    "xyzzy",
    "",
]


class Letters(dense.Embedder):
    """Embeds the counts of letters in a text: similar texts are near each other."""

    def __init__(self) -> None:
        super().__init__("letters", self)  # type: ignore[arg-type]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [np.bincount([ord(c) % 64 for c in text], minlength=64).tolist() for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


@pytest.fixture(scope="module")
def both() -> ManualIndex:
    return ManualIndex.build([SAMPLES / "manual.en.pdf", SAMPLES / "manual.zh.pdf"], embedder=Letters())


@pytest.fixture(scope="module")
def stored(postgres_server: Server, both: ManualIndex) -> str:
    """The address of the same index in a database."""
    address = postgres_server.new()
    both.save(address)
    return address


def opened(address: str) -> ManualIndex:
    index = ManualIndex.load(address)
    index._embedder = Letters()
    return index


@pytest.mark.parametrize("top_k", [1, 10])
def test_the_ranking_and_the_scores_are_those_of_an_index_in_memory(both: ManualIndex, stored: str, top_k: int) -> None:
    there = Retriever(opened(stored))
    for question in QUESTIONS:
        expected, found = Retriever(both).search(question, top_k), there.search(question, top_k)
        assert [hit.passage for hit in found] == [hit.passage for hit in expected]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-6)


def test_above_the_exact_limit_candidates_come_from_the_graph_and_the_lexical_scores(
    both: ManualIndex, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense, "EXACT_SEARCH", 50)
    monkeypatch.setattr(dense, "CANDIDATES", 20)
    both.save(postgres)
    with psycopg.connect(postgres) as connection:
        graphs = connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'egosrag_near_%'").fetchall()
    assert len(graphs) == 1 and "hnsw" in graphs[0][0]
    index = opened(postgres)
    assert index.dense is not None
    words = np.zeros(len(index.passages), dtype=np.float32)
    for n in (3, 40, len(words) - 1):
        vector = np.asarray(both.dense.vectors[n : n + 1])  # type: ignore[union-attr]
        near = index.dense.nearness(vector, words)
        assert near[n] == pytest.approx(1.0)
        assert np.count_nonzero(near) <= 40


def test_a_question_reads_only_its_rows_and_each_of_them_once(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    plain = Database.fetch_all

    def watched(self: Database, query: str, *values: Any, before: str = "") -> list[Any]:
        rows = plain(self, query, *values, before=before)
        if "egosrag_page" in query or "egosrag_term" in query:
            read.append(len(rows))
        return rows

    monkeypatch.setattr(Database, "fetch_all", watched)
    retriever = Retriever(opened(stored))
    retriever.search(QUESTIONS[0])
    assert max(read) < 30
    first = len(read)
    retriever.search(QUESTIONS[0])
    assert len(read) == first, "rows that were read are cached"


def test_an_open_index_still_answers_after_one_rebuild_and_is_an_error_after_two(tmp_path: Path, postgres: str) -> None:
    document = tmp_path / "a.md"
    document.write_text("# Oil\nThe engine takes 4.6 litres.\n", encoding="utf-8")
    ManualIndex.build([document], postgres)
    old = ManualIndex.load(postgres)
    document.write_text("# Oil\nThe engine takes 5 litres.\n", encoding="utf-8")
    ManualIndex.build([document], postgres)
    assert "4.6" in Retriever(old).search("oil")[0].passage.text
    assert "5 litres" in Retriever(ManualIndex.load(postgres)).search("oil")[0].passage.text
    document.write_text("# Oil\nThe engine takes 6 litres.\n", encoding="utf-8")
    ManualIndex.build([document], postgres)
    with pytest.raises(StoreError, match="rebuilt twice since it was opened: open it again"):
        Retriever(old).search("litres")
    with psycopg.connect(postgres) as connection:
        for table in ("egosrag_generation", "egosrag_page", "egosrag_passage", "egosrag_term"):
            column = "id" if table == "egosrag_generation" else "generation"
            rows = connection.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall()
            assert len(rows) == 2, "the one before and this one"


def test_concurrent_builds_and_questions_neither_fail_nor_mix(tmp_path: Path, postgres: str) -> None:
    """Two indexes in one database, each built anew over and over, while both are asked."""
    failed: list[BaseException] = []

    def write(name: str, at: str) -> None:
        (tmp_path / f"{at}.md").write_text(f"# Oil\nThe {name} takes 4.6 litres.\n", encoding="utf-8")
        ManualIndex.build([tmp_path / f"{at}.md"], f"{postgres}#{name}")

    def again(name: str) -> None:
        try:
            for n in range(6):
                write(name, f"{name}{n}")
        except BaseException as error:
            failed.append(error)

    def ask(name: str) -> None:
        try:
            for _ in range(20):
                assert name in Retriever(ManualIndex.load(f"{postgres}#{name}")).search("litres")[0].passage.text
        except BaseException as error:
            failed.append(error)

    for name in ("car", "boat"):
        write(name, name)
    threads = [threading.Thread(target=work, args=(name,)) for name in ("car", "boat") for work in (again, ask)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_an_unavailable_database_is_an_error_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.md").write_text("# Oil\nThe engine takes 4.6 litres.\n", encoding="utf-8")
    monkeypatch.setattr("egosrag.postgres.DATABASE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(bulk, "load_document", lambda *_, **__: pytest.fail("the work began"))
    with pytest.raises(StoreError, match="cannot be reached") as told:
        ManualIndex.build([tmp_path / "a.md"], "postgresql://ann:secret@127.0.0.1:1/db")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:se#cret@host/db",
        "postgresql://ann:se/cret@host/db",
        "postgresql://ann:se?cret@host/db",
        "postgresql://ann:cret@host@host/db",
        "postgresql://ann:cret@[host/db",
        "postgresql://ann:cret@localhost:nine/db",
        "postgresql://localhost:nine/db?user=ann&password=cret",
        "mysql://ann:cret@host/db",
    ],
)
def test_no_message_contains_a_password(address: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("egosrag.postgres.DATABASE_TIMEOUT_S", 0.1)
    for words in (
        ("index", str(SAMPLES / "manual.en.md"), "--out", address),
        ("ask", "?", "--index", address, "--model", "pocket"),
    ):
        done = run(*words)
        assert done.code == 1
        assert len(done.err.strip().splitlines()) == 1
        assert "cret" not in done.err + done.out
    assert "cret" not in redact_url(address)


def test_the_commands_take_an_address_and_print_no_password(
    run: Run, script: Callable[..., str], postgres: str
) -> None:
    address = f"{postgres}#halden"
    made = run("index", str(SAMPLES / "manual.en.md"), "--out", address)
    assert made.code == 0, made.err
    model = script("The car has seven airbags. [1]")
    asked = run("ask", "How many airbags does the car have?", "--index", address, "--json", "--model", model)
    assert asked.code == 0, asked.err
    assert [c["page"] for c in asked.rows[0]["citations"]] == [7]
    missing = run("ask", "How many airbags?", "--index", f"{postgres}#other")
    assert missing.code == 1
    assert "there is no index at postgresql:" in missing.err
    for done in (made, asked, missing):
        assert not any(word in done.out + done.err for word in (PASSWORD, "p%40ss"))
    assert made.out.strip().endswith("#halden")


# What is wrong: the table, and what is set or deleted in it.
WRONG_ROWS = {
    "a manifest that is none": "index: manifest = '[1]'",
    "a dimension that is huge": "index: manifest = jsonb_set(manifest, '{embedder,dimension}', '999999999')",
    "another dimension": "index: manifest = jsonb_set(manifest, '{embedder,dimension}', '63')",
    "places of wrong types": "generation: places = '[[1, \"a\"]]'",
    "places that are no list": "generation: places = '7'",
    "fewer places": "generation: places = places - 0",
    "a place twice": "generation: places = jsonb_set(places, '{1}', places -> 0)",
    "passages of no page": "generation: page_of = decode('ffffff7f', 'hex') || substr(page_of, 5)",
    "passages of a negative page": "generation: page_of = decode('ffffffff', 'hex') || substr(page_of, 5)",
    "half a number": "generation: page_of = substr(page_of, 2)",
    "sentences out of order": "generation: first_sentence = substr(first_sentence, 5) || substr(first_sentence, 1, 4)",
    "a huge count": "generation: counts = jsonb_set(counts, '{sentences-words}', '2000000000')",
    "a count of another type": "generation: counts = jsonb_set(counts, '{pages-words}', '\"many\"')",
    "no counts": "generation: counts = '{}'",
    "documents that do not exist": "term: docs = decode(repeat('ffffff7f', octet_length(docs) / 4), 'hex')",
    "negative documents": "term: docs = decode(repeat('ffffffff', octet_length(docs) / 4), 'hex')",
    "fewer weights": "term: weights = substr(weights, 5)",
    "weights that are no numbers": "term: weights = decode(repeat('0000c07f', octet_length(weights) / 4), 'hex')",
    "pages of wrong types": "page: data = jsonb_set(data, '{text}', '5')",
    "pages of another place": "page: data = jsonb_set(data, '{page}', '77')",
    "pages that are missing": "DELETE page",
    "passages that are missing": "DELETE passage",
    "passages of wrong types": "passage: data = '\"x\"'",
    "passages with a text of their own": 'passage: data = data || \'{"text" : "x"}\'',
    "passages of another page": "passage: data = jsonb_set(data, '{page}', '77')",
    "passages that begin nowhere": "passage: data = jsonb_set(data, '{start}', '-5')",
    "passages that end outside": "passage: data = jsonb_set(data, '{end}', '2000000000')",
    "passages whose place is no number": "passage: data = jsonb_set(data, '{start}', '\"x\"')",
    "vectors that are missing": "DELETE vector WHERE row = 1",
    "vectors of another dimension": "vector: v = '[1,2]' WHERE row = 1",
}


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_made_up_rows_are_one_line_of_error(name: str, postgres: str, both: ManualIndex) -> None:
    both.save(postgres)
    with psycopg.connect(postgres, autocommit=True) as connection:
        table, _, change = WRONG_ROWS[name].partition(": ")
        command = f"UPDATE egosrag_{table} SET {change}" if change else table.replace("DELETE ", "DELETE FROM egosrag_")
        connection.execute(command)  # type: ignore[call-overload]
    with pytest.raises(StoreError) as raised:
        index = opened(postgres)
        Retriever(index).search(QUESTIONS[0])
        list(index.pages)
    assert "\n" not in str(raised.value)
    assert "damaged" in str(raised.value) or "failed to answer" in str(raised.value)
    assert PASSWORD not in str(raised.value)
