"""Lexical overlap: the share of a question's content in a text, and questions about page numbers."""

from __future__ import annotations

import pytest

from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.lexical_overlap import LexicalOverlap, MaxOverlap, MeanOverlap
from egosrag.rag.retrieval.page_references import asks_for_page, named_pages, without_page_request


def test_only_the_content_of_a_question_counts_and_not_its_question_words(manuals: dict[str, ManualIndex]) -> None:
    overlap = LexicalOverlap(manuals["zh"], "请问钥匙电池是什么型号的呢？")
    assert overlap.of("钥匙电池型号") > 0.9
    assert overlap.of("请问是什么呢") == 0.0


def test_overlaps_with_several_queries_are_combined(manuals: dict[str, ManualIndex]) -> None:
    battery, hood = (LexicalOverlap(manuals["en"], q) for q in ("Which battery?", "Where is the hood?"))
    text = "The battery of the key."
    assert battery.of(text) > hood.of(text)
    assert MaxOverlap(battery, hood).of(text) == battery.of(text)
    assert MeanOverlap(battery, hood).of(text) == (battery.of(text) + hood.of(text)) / 2
    assert MaxOverlap().of(text) == 0.0


@pytest.mark.parametrize(
    ("question", "pages", "asks"),
    [
        ("see page 12 and 第 3 页", {12, 3}, False),
        ("On which page is the oil?", set(), True),
        ("“儿童锁”在第几页？", set(), True),
        ("第3页讲什么？", {3}, False),
    ],
)
def test_questions_about_pages_are_recognised(question: str, pages: set[int], asks: bool) -> None:
    assert named_pages(question) == pages
    assert asks_for_page(question) is asks


def test_the_request_for_a_page_is_not_searched_for() -> None:
    assert without_page_request("On which page is the oil?").split() == ["is", "the", "oil?"]
