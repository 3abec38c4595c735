"""Dense search: batches keep the order of the texts, and the approximate search finds what the exact one does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from egosrag.rag.index import vectors as dense
from egosrag.rag.index.vectors import DenseIndex, Embedder
from egosrag.rag.retrieval.search import best_first


class Lengths(Embeddings):
    """Embeds the length of a text, and records the batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.batches.append(texts)
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [float(np.cos(len(text) / 100)), float(np.sin(len(text) / 100))]


def unit(rows: int, width: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((rows, width), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_texts_are_batched_by_length_and_returned_in_order() -> None:
    model, texts = Lengths(), ["x" * (7 * n % 101) for n in range(150)]
    reported: list[tuple[int, int]] = []
    vectors = Embedder("lengths", model).passages(texts, lambda done, total: reported.append((done, total)))
    np.testing.assert_allclose(vectors, [model.embed_query(text) for text in texts], rtol=1e-6)
    assert sorted(texts, key=len) == [text for batch in model.batches for text in batch]
    assert reported == [(64, 150), (128, 150), (150, 150)]


@pytest.mark.parametrize("width", [32, 15])
def test_the_approximate_search_finds_the_nearest_of_the_exact_search(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, questions = unit(3000, width, 0), unit(20, width, 1)
    exact = DenseIndex(vectors)
    for name, value in {"EXACT_SEARCH": 2000, "CANDIDATES": 300, "_SAMPLE": 500}.items():
        monkeypatch.setattr(dense, name, value)
    approximate, found = DenseIndex(vectors), 0
    lexical = np.zeros(3000, dtype=np.float32)
    lexical[:5] = 1.0
    for question in questions:
        all_of_them = exact.nearness(question[None], lexical)
        some = approximate.nearness(question[None], lexical)
        best = np.argsort(-all_of_them)[:10]
        found += len({*best} & {*np.argsort(-some)[:10]})
        rows = np.unique([*best, *range(5)])  # lexically good passages are compared however far they are
        np.testing.assert_allclose(some[rows], all_of_them[rows], atol=0.05)
        assert some.min() >= 0 and some.max() == 1.0
    assert found >= 0.98 * 200


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, float("inf")]), min_size=1, max_size=200), st.integers(1, 8))
def test_rows_sorted_in_two_parts_are_in_order(scores: list[float], head: int) -> None:
    order = list(best_first(np.array(scores), at_once=head))
    assert order == np.argsort(-np.array(scores), kind="stable").tolist()
