"""BM25 over Chinese and English: what it finds, and how rare a term is in a small collection."""

from __future__ import annotations

import bm25s
import numpy as np

from egosrag.rag.index.bm25 import Bm25
from egosrag.text.words import words


def test_bm25_finds_chinese_that_the_default_tokenizer_of_libraries_does_not() -> None:
    index = Bm25.build("words", ["打开车门的方法", "更换电池的方法", ""])
    assert int(np.argmax(index.scores("电池怎么更换？"))) == 1
    assert index.scores("天气").tolist() == [0.0, 0.0, 0.0]


def test_the_weights_are_those_of_bm25s() -> None:
    texts = ["oil oil filter", "oil", "", "the filter of the pump", "pump pump pump pump"] * 3
    engine = bm25s.BM25(k1=1.2, b=0.75)
    engine.index([words(text) or ["\x00"] for text in texts], show_progress=False)
    index = Bm25.build("words", texts)
    for query in ("oil", "the pump", "filter oil pump", "lid"):
        terms = [term for term in words(query) if term in engine.vocab_dict]
        expected = engine.get_scores(terms) if terms else np.zeros(len(texts), dtype=np.float32)
        assert index.scores(query).tolist() == expected.tolist()


def test_a_word_on_most_pages_of_a_leaflet_keeps_some_weight() -> None:
    leaflet = Bm25.build("words", ["pump oil", "pump lid", "pump fan", "pump hose", "lamp"])
    known, new = "pump", "sunroof"
    assert leaflet.idf(known, 20) > 0.3 * leaflet.idf(new, 20)
    assert leaflet.idf(known) < 0.2 * leaflet.idf(new)  # as citations are verified
    large = Bm25.build("words", ["pump"] * 4 + ["lamp"] * 60)
    assert large.idf(known, 20) == large.idf(known)
