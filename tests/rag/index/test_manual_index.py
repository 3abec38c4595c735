"""The index: written as a whole, read without pickle, checked when it is loaded, updated file by file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

import numpy as np
import psycopg
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from egosrag.errors import ModelError, SourceError, StoreError
from egosrag.postgres import is_postgres_url
from egosrag.rag.documents.load import file_hash
from egosrag.rag.index import bulk
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.index.safe_files import weights_hash
from egosrag.rag.index.storage import VERSION
from egosrag.rag.index.vectors import DenseIndex
from egosrag.rag.retrieval.search import Retriever
from egosrag.schema import Page


class Counting(DeterministicFakeEmbedding):
    """An embedder that records the texts that it embeds."""

    size: int = 8
    seen: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.seen.extend(texts)
        return super().embed_documents(texts)


class Backwards(DeterministicFakeEmbedding):
    """Other vectors of the same size."""

    def embed_query(self, text: str) -> list[float]:
        return super().embed_query(text[::-1])


class Prefixed(DeterministicFakeEmbedding):
    """As many embedders as prefixes, with one class."""

    size: int = 8
    prefix: str

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return super().embed_documents([self.prefix + text for text in texts])

    def embed_query(self, text: str) -> list[float]:
        return super().embed_query(self.prefix + text)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# 钥匙\n智能钥匙在25米以内有效。\n", encoding="utf-8")
    (folder / "b.md").write_text("# Oil\nThe engine takes 4.6 litres of oil.\n", encoding="utf-8")
    return folder


def top(index: ManualIndex, question: str) -> str:
    return Retriever(index).search(question)[0].passage.source


def test_a_loaded_index_equals_the_saved_one(docs: Path, place: str) -> None:
    built = ManualIndex.build([docs], place)
    loaded = ManualIndex.load(place)
    assert list(loaded.passages) == built.passages
    assert list(loaded.pages) == built.pages
    assert loaded.page("b.md", 1) == built.page("b.md", 1)
    for question in ("智能钥匙多远有效？", "How much oil?"):
        assert Retriever(loaded).search(question) == Retriever(built).search(question)


def test_an_index_contains_no_pickle(docs: Path, tmp_path: Path) -> None:
    ManualIndex.build([docs], tmp_path / "index")
    assert not [p for p in (tmp_path / "index").rglob("*") if p.suffix in {".pkl", ".pickle"}]


def test_only_changed_files_are_read_and_embedded_again(
    docs: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Counting(seen=[])
    ManualIndex.build([docs], place, embedder)
    read: list[str] = []
    monkeypatch.setattr(bulk, "load_document", _watched(read, bulk.load_document))
    (docs / "a.md").write_text("# 轮胎\n备胎在行李舱地板下面。\n", encoding="utf-8")
    (docs / "c.md").write_text("# Tyres\nSix years.\n", encoding="utf-8")
    embedder.seen.clear()
    ManualIndex.build([docs], place, embedder)
    assert read == ["a.md", "c.md"]
    assert len(embedder.seen) == 2
    assert top(ManualIndex.load(place, embedder), "备胎在哪里") == "a.md"
    (docs / "b.md").unlink()
    ManualIndex.build([docs], place, embedder)
    assert {p.source for p in ManualIndex.load(place, embedder).pages} == {"a.md", "c.md"}


def test_a_build_without_changes_returns_the_existing_index(
    docs: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Counting(seen=[])
    ManualIndex.build([docs], place, embedder)
    monkeypatch.setattr(ManualIndex, "save", lambda *_: pytest.fail("written again"))
    again = ManualIndex.build([docs], place, embedder)
    assert top(again, "智能钥匙多远有效？") == "a.md"
    for changed in ({"window": 200}, {"overlap": 50}, {"embedder": None}, {"paths": [docs / "b.md", docs / "a.md"]}):
        with pytest.raises(pytest.fail.Exception, match="written again"):
            ManualIndex.build(**{"paths": [docs], "out_dir": place, "embedder": embedder, **changed})


def test_a_folder_keeps_one_generation(docs: Path, tmp_path: Path) -> None:
    for window in (300, 200, 300):
        ManualIndex.build([docs], tmp_path / "index", window=window)
    assert len(list((tmp_path / "index").iterdir())) == 2


def test_the_files_of_killed_builds_are_removed_after_a_while(docs: Path, tmp_path: Path) -> None:
    for name, age in (("data-0123456789ab", 7200), ("data-young", 0)):
        (tmp_path / "index" / name).mkdir(parents=True)
        os.utime(tmp_path / "index" / name, (time.time() - age,) * 2)
    ManualIndex.build([docs], tmp_path / "index")
    remaining = {path.name for path in (tmp_path / "index").iterdir()}
    assert "data-young" in remaining and "data-0123456789ab" not in remaining and len(remaining) == 3
    assert ManualIndex.load(tmp_path / "index").passages


def _watched(read: list[str], original: object) -> object:
    def load(path: Path, source: str, **options: object) -> object:
        read.append(source)
        return original(path, source, **options)  # type: ignore[operator]

    return load


def test_the_cache_is_built_once_for_the_same_content(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ManualIndex.cached([docs], tmp_path / "cache")
    monkeypatch.setattr(bulk, "load_document", lambda *_, **__: pytest.fail("read again"))
    assert ManualIndex.cached([docs], tmp_path / "cache").passages == first.passages
    monkeypatch.undo()
    (docs / "a.md").write_text("# 新\n全新的内容。\n", encoding="utf-8")
    assert "全新" in ManualIndex.cached([docs], tmp_path / "cache").pages[0].text


def test_another_embedder_than_the_indexs_is_an_error(docs: Path, place: str) -> None:
    with pytest.raises(StoreError, match="no index"):
        ManualIndex.load(place)
    ManualIndex.build([docs], place, Counting(seen=[]))
    with pytest.raises(StoreError, match="built with the embedder"):
        ManualIndex.load(place, "minilm")
    with pytest.raises(StoreError, match="built with the embedder.*not tests"):
        Retriever(ManualIndex.load(place, Backwards(size=8))).search("oil")
    with pytest.raises(StoreError, match="name it"):
        Retriever(ManualIndex.load(place)).search("oil")
    # The same vectors under another name are the same embedder.
    for same in (Counting(seen=[]), DeterministicFakeEmbedding(size=8)):
        assert Retriever(ManualIndex.load(place, same)).search("oil")


def test_vectors_of_another_embedder_of_the_same_class_are_not_used(docs: Path, place: str) -> None:
    ManualIndex.build([docs], place, Prefixed(prefix="a"))
    changed = ManualIndex.build([docs], place, Prefixed(prefix="b"))
    assert changed.dense is not None and changed.embedder is not None
    new = ManualIndex.build([docs], None, Prefixed(prefix="b"))
    assert new.dense is not None
    assert changed.dense.vectors.tolist() == new.dense.vectors.tolist()


def test_an_index_never_decides_which_model_is_loaded(docs: Path, tmp_path: Path) -> None:
    ManualIndex.build([docs], tmp_path / "index", Counting(seen=[]))
    path = tmp_path / "index" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["embedder"]["name"] = "someone/model"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(StoreError, match="someone/model: name it"):
        Retriever(ManualIndex.load(tmp_path / "index")).search("oil")


def test_weights_are_the_identity_of_a_model_wherever_it_is(tmp_path: Path) -> None:
    for name, weights in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(weights)
    one, two, other = (weights_hash(tmp_path / name) for name in "abc")
    assert one == two != other
    (tmp_path / "b" / "model.safetensors").write_bytes(b"33")
    assert weights_hash(tmp_path / "b") != two


def test_the_hash_of_a_document_is_of_what_was_read(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = bulk.load_document

    def while_written(path: Path, source: str, **options: Any) -> list[Page]:
        monkeypatch.setattr(bulk, "load_document", read)
        pages = read(path, source, **options)
        path.write_text("# Oil\nThe engine takes 5.1 litres of oil.\n", encoding="utf-8")
        return pages

    monkeypatch.setattr(bulk, "load_document", while_written)
    index = ManualIndex.build([docs / "b.md"], tmp_path / "index")
    assert "5.1" in index.pages[0].text
    assert index.manifest.files == {"b.md": file_hash(docs / "b.md")}


def header(shape: str, dtype: str = "<f4") -> bytes:
    """A npy file that states a shape and has no data."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("vectors.npy", header("(2000000000, 8)")),
        ("vectors.npy", header("(2, -8)")),
        ("vectors.npy", header("(" * 200)),
        ("vectors.npy", header("(2, 8)", "|O")),
        ("windows-pairs/data.csc.index.npy", header("(1000000000000,)")),
        ("windows-pairs/params.index.json", b'{"num_docs": -1}'),
        ("windows-pairs/params.index.json", b'{"num_docs": 2, "backend": "numba"}'),
        ("windows-pairs/vocab.index.json", b"[" * 100_000),
        ("windows-pairs/vocab.index.json", b'{"oil": 1000000}'),
        ("windows-pairs/vocab.index.json", b'{"oil": "1"}'),
        ("pages.jsonl", b'{"source": 1, "page": "x"}\n'),
        ("pages.jsonl", b"[" * 100_000),
        ("passages.jsonl", b'{"id": "a", "source": "a.md", "page": 1, "start": -5, "end": 3, "section": ""}\n'),
        ("passages.jsonl", b'{"id": "a", "source": "z.md", "page": 1, "start": 0, "end": 3, "section": ""}\n'),
        ("passages.jsonl", b'{"id": "a", "source": "a.md", "page": 1, "start": 0, "end": 3, "text": "x"}\n'),
        ("../manifest.json", b'{"format": "egosrag-index", "version": 3, "generation": "../../etc"}'),
        ("../manifest.json", b'{"format": "egosrag-index", "version": "3"}'),
        ("../manifest.json", b'{"format": "egosrag-index", "version": 3, "embedder": {"name": "e5", "dimension": -1}}'),
        ("../manifest.json", b"[" * 100_000),
    ],
)
def test_a_made_up_index_is_an_error_of_one_line(docs: Path, tmp_path: Path, part: str, content: bytes) -> None:
    ManualIndex.build([docs], tmp_path / "index", Counting(seen=[]))
    (place,) = [p for p in (tmp_path / "index").iterdir() if p.is_dir()]
    (place / part).write_bytes(content)
    if b"numba" in content:  # what a file says about a backend is not read
        assert top(ManualIndex.load(tmp_path / "index", Counting(seen=[])), "How much oil?") == "b.md"
        return
    with pytest.raises(StoreError, match="damaged") as raised:
        ManualIndex.load(tmp_path / "index")
    assert "\n" not in str(raised.value)


def test_a_build_reports_its_steps_and_can_be_cancelled_in_each(docs: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    ManualIndex.build([docs], progress=lambda step, done, total: steps.append(step))
    assert list(dict.fromkeys(steps)) == ["reading", "splitting", "indexing words"]
    for cancelled in dict.fromkeys(steps):

        def cancel(step: str, done: int, total: int, cancelled: str = cancelled) -> None:
            if step == cancelled:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            ManualIndex.build([docs], tmp_path / "index", progress=cancel)
        assert not (tmp_path / "index" / "manifest.json").exists()


def test_what_killed_builds_left_is_swept_also_where_nothing_changed(docs: Path, tmp_path: Path) -> None:
    ManualIndex.build([docs], tmp_path / "index")
    for name, age in (("data-0123456789ab", 2 * 3600), ("data-ba9876543210", 60)):
        orphan = tmp_path / "index" / name
        orphan.mkdir()
        os.utime(orphan, (time.time() - age,) * 2)
    ManualIndex.build([docs], tmp_path / "index")
    assert not (tmp_path / "index" / "data-0123456789ab").exists()
    assert (tmp_path / "index" / "data-ba9876543210").exists()  # it may be of a build that is running


@pytest.mark.parametrize(("version", "told"), [(1, "build it again"), (99, "nothing was changed")])
def test_another_version_is_an_error_and_a_newer_one_is_never_overwritten(
    docs: Path, place: str, version: int, told: str
) -> None:
    ManualIndex.build([docs], place)
    set_version(place, version)
    with pytest.raises(StoreError, match=f"version {version}.*{told}"):
        ManualIndex.load(place)
    if version == 99:
        with pytest.raises(StoreError, match=told):
            ManualIndex.build([docs], place)
        set_version(place, VERSION)
    else:
        ManualIndex.build([docs], place)
    assert top(ManualIndex.load(place), "智能钥匙多远有效？") == "a.md"


def set_version(place: str, version: int) -> None:
    """As if another program had written the index."""
    if is_postgres_url(place):
        with psycopg.connect(urldefrag(place).url) as connection:
            connection.execute("UPDATE egosrag_index SET version = %s", (version,))
        return
    path = Path(place, "manifest.json")
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "version": version}), encoding="utf-8")


@pytest.mark.parametrize("part", ["pages.jsonl", "passages.jsonl", "windows-pairs", "vectors.npy"])
def test_a_damaged_index_is_an_error_and_a_new_build_repairs_it(docs: Path, tmp_path: Path, part: str) -> None:
    folder = tmp_path / "index"
    ManualIndex.build([docs], folder, Counting(seen=[]))
    (place,) = [p for p in folder.iterdir() if p.is_dir()]
    broken = place / part
    for file in broken.iterdir() if broken.is_dir() else [broken]:
        file.write_bytes(file.read_bytes()[:7])
    with pytest.raises(StoreError, match="damaged"):
        ManualIndex.load(folder)
    ManualIndex.build([docs], folder, Counting(seen=[]))
    assert ManualIndex.load(folder).passages


def test_a_folder_with_other_files_is_not_written_to(docs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x", encoding="utf-8")
    with pytest.raises(StoreError, match="other files"):
        ManualIndex.build([docs], tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_embedder_that_does_not_exist_is_an_error(docs: Path) -> None:
    with pytest.raises(ModelError, match="no-such-folder"):
        ManualIndex.build([docs], embedder="./no-such-folder")


def test_nothing_to_search_in_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("<!-- nothing -->", encoding="utf-8")
    with pytest.raises(SourceError):
        ManualIndex.build([tmp_path / "a.md"])


class Compass(Embeddings):
    """Vectors of different lengths, so that inner product and distance disagree unless they are normalised."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[9.0, 9.0] if "远" in text else [0.1, 0.0] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.05]


def test_the_nearest_vector_scores_highest_independently_of_its_length(tmp_path: Path) -> None:
    """LlamaIndex's FAISS store gives L2 distances as similarities: fused, the worst passage comes first."""
    for name, text in (("near", "近处。"), ("far", "远处。")):
        (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
    index = ManualIndex.build([tmp_path], embedder=Compass())
    assert index.dense is not None and index.embedder is not None
    scores = dict(
        zip([p.source for p in index.passages], index.dense.scores(index.embedder.question("?")), strict=True)
    )
    assert scores["near.md"] > scores["far.md"]
    assert scores["near.md"] == pytest.approx(0.9988, abs=1e-3)


def test_a_vector_belongs_to_its_passage_after_another_was_removed() -> None:
    """LlamaIndex's FAISS map store gives a new vector the id of an old one after a deletion."""
    a, b, c, d = np.eye(4, dtype=np.float32)
    rows = np.stack([b, c, d])
    assert DenseIndex(rows).scores(c[None]).tolist() == [0.0, 1.0, 0.0]
    assert DenseIndex(np.stack([a, *rows])).scores(d[None]).tolist() == [0.0, 0.0, 0.0, 1.0]
