"""Our index as a LangChain vector store, beside LangChain's standard tests of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, index

from egosrag.errors import SourceError, StoreError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.answer.engine import ManualEngine
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.integrations import langchain
from egosrag.rag.integrations.vector_store import ManualVectorStore
from egosrag.rag.retrieval.search import Retriever
from tests.conftest import SAMPLES

EMBEDDINGS = DeterministicFakeEmbedding(size=16)
KETTLE = Document("The kettle switches itself off when the water boils.", metadata={"source": "kettle.md", "page": 3})
KEY = Document("The key works within 25 metres of the car.", metadata={"source": "car.md", "page": 7, "by": "Ann"})
DOORS = Document("The doors lock by themselves at 15 km/h.", metadata={"source": "car.md", "page": 7})


def store(*documents: Document) -> ManualVectorStore:
    made = ManualVectorStore(EMBEDDINGS)
    made.add_documents(list(documents))
    return made


def texts(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


def of_pages(made: ManualIndex) -> dict[tuple[str, int], str]:
    """The texts of the pages, of which every passage is a part."""
    pages = {(page.source, page.page): page.text for page in made.pages}
    for passage in made.passages:
        assert pages[passage.source, passage.page][passage.start : passage.end] == passage.text
    return pages


def test_an_answer_from_its_index_cites_the_page_of_the_metadata() -> None:
    model = ScriptedChatModel(responses=["The key works within 25 metres of the car[1]."])
    engine = ManualEngine(store(KETTLE, KEY, DOORS).index, model)
    answer = engine.ask("Within how many metres does the key work?")
    assert [(citation.source, citation.page) for citation in answer.citations] == [("car.md", 7)]
    found = langchain.retriever(engine).invoke("How many metres does the key reach?")[0]
    assert (found.page_content, found.metadata["by"], found.metadata["page"]) == (KEY.page_content, "Ann", 7)


def test_documents_of_a_page_are_its_passages_and_go_with_it() -> None:
    made = store(KETTLE, KEY, DOORS)
    car = of_pages(made.index)["car.md", 7]
    assert car == f"{KEY.page_content}\n\n{DOORS.page_content}"
    (key,) = made.similarity_search(KEY.page_content, k=1)
    made.delete([str(key.id)])
    assert of_pages(made.index)["car.md", 7] == DOORS.page_content, "nothing of a deleted document is left"
    made.delete()
    assert made.similarity_search("key") == []
    with pytest.raises(SourceError, match="nothing to search in: add documents first"):
        _ = made.index


def test_a_document_without_a_page_is_the_next_one_of_its_source() -> None:
    made = ManualVectorStore.from_texts(
        ["one", "two", "three"], EMBEDDINGS, [{"source": "a"}, {"source": "a"}, {}], ids=["1", "2", "3"]
    )
    assert of_pages(made.index) == {("a", 1): "one", ("a", 2): "two", ("3", 1): "three"}
    assert made.index.places == [("a", 1), ("a", 2), ("3", 1)], "in the order in which they came"
    made.add_texts(["more", "uno"], [{"source": "a"}, {"source": "a"}], ids=["4", "1"])
    assert of_pages(made.index) == {("a", 1): "uno", ("a", 2): "two", ("3", 1): "three", ("a", 3): "more"}


@pytest.mark.parametrize(
    ("metadata", "page"),
    [
        ({"page": 4}, 4),
        ({"page": 0, "page_label": "1"}, 1),  # as LangChain's PDF loaders count
        ({"page": 11, "page_label": "viii"}, 12),
        ({"page": 2, "page_label": "B-7"}, 3),
        ({"page": -1}, 1),
        ({"page": "4"}, 1),
        ({"page": None}, 1),
    ],
)
def test_pages_count_from_one(metadata: dict[str, Any], page: int) -> None:
    made = store(Document("The key.", metadata={"source": "car.pdf", **metadata}))
    assert made.index.places == [("car.pdf", page)]
    assert made.similarity_search("key")[0].metadata == {"source": "car.pdf", **metadata}


def test_only_what_a_filter_chooses_is_found() -> None:
    made = store(KETTLE, KEY, DOORS)
    assert texts(made.similarity_search(KEY.page_content, filter={"source": "kettle.md"})) == [KETTLE.page_content]
    assert texts(made.similarity_search(KETTLE.page_content, filter=lambda d: "by" in d.metadata)) == [KEY.page_content]


def test_scores_are_cosines_and_thresholds_are_of_them() -> None:
    made = store(KETTLE, KEY, DOORS)
    scores = [score for _, score in made.similarity_search_with_score(KEY.page_content)]
    assert scores[0] == pytest.approx(1, abs=1e-6)
    assert scores == sorted(scores, reverse=True)
    near = made.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.99})
    assert texts(near.invoke(KEY.page_content)) == [KEY.page_content]
    by_vector = made.similarity_search_by_vector(EMBEDDINGS.embed_query(KEY.page_content), k=1)
    assert texts(by_vector) == [KEY.page_content]
    various = made.as_retriever(search_type="mmr", search_kwargs={"k": 2, "lambda_mult": 0.0})
    assert texts(various.invoke(KEY.page_content))[0] == KEY.page_content


def test_a_document_without_text_does_not_refuse_the_others(caplog: pytest.LogCaptureFixture) -> None:
    made = ManualVectorStore(EMBEDDINGS)
    assert made.add_texts(["", "the key", " \n"], ids=["a", "b", "c"]) == ["a", "b", "c"]
    assert texts(made.get_by_ids(["a", "b", "c"])) == ["the key"]
    assert "document 'a' is left out: it has no text" in caplog.text


def test_it_is_saved_and_goes_on_with_its_ids_and_metadata(tmp_path: Path, postgres: str) -> None:
    for where in (str(tmp_path / "index"), f"{postgres}#documents"):
        made = store(KETTLE, KEY, Document("No place.", id="none"))
        made.save(where)
        again = ManualVectorStore.load(where, EMBEDDINGS)
        expected, found = (one.similarity_search_with_score(KEY.page_content, k=3) for one in (made, again))
        assert [document for document, _ in found] == [document for document, _ in expected]
        assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-6)
        assert again.get_by_ids(["none"]) == [Document("No place.", id="none", metadata={})]
        again.add_documents([DOORS])
        again.save(where)
        query = "At which speed do the doors lock?"
        stored = ManualIndex.load(where, EMBEDDINGS)
        hits = [hit.passage for hit in Retriever(stored).search(query)]
        assert hits == [hit.passage for hit in Retriever(again.index).search(query)]
        assert of_pages(stored) == of_pages(again.index)


def test_an_index_of_the_command_line_opens_as_a_vector_store(tmp_path: Path) -> None:
    made = ManualIndex.build([SAMPLES / "manual.en.pdf"], tmp_path, EMBEDDINGS)
    opened = ManualVectorStore.load(tmp_path, EMBEDDINGS)
    passage = made.passages[9]
    (document,) = opened.similarity_search(passage.text, k=1, filter={"source": "manual.en.pdf", "page": passage.page})
    assert document.metadata["section"] == passage.section
    assert list(opened.index.pages) == list(made.pages)
    opened.add_documents([KETTLE])
    assert of_pages(opened.index) == {**of_pages(made), ("kettle.md", 3): KETTLE.page_content}


def test_what_cannot_be_stored_or_opened_is_named(tmp_path: Path) -> None:
    made = store(Document("The key.", id="k", metadata={"of": object()}))
    with pytest.raises(StoreError, match="the metadata of document 'k' cannot be stored as JSON"):
        made.save(tmp_path)
    assert not list(tmp_path.iterdir())
    ManualIndex.build([SAMPLES / "manual.en.pdf"], tmp_path / "words")
    with pytest.raises(StoreError, match="has no vectors: build it with an embedder"):
        ManualVectorStore.load(tmp_path / "words", EMBEDDINGS)


def test_langchains_indexing_keeps_it_in_step_with_its_documents() -> None:
    made, records = ManualVectorStore(EMBEDDINGS), InMemoryRecordManager("documents")
    records.create_schema()

    def sync(*documents: Document) -> tuple[int, int, int]:
        done = index(list(documents), records, made, cleanup="full", source_id_key="source", key_encoder="sha256")
        return done["num_added"], done["num_skipped"], done["num_deleted"]

    assert sync(KETTLE, KEY) == (2, 0, 0)
    assert sync(KEY, DOORS) == (1, 1, 1)
    assert {page.source for page in made.index.pages} == {"car.md"}
