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
        ("第十二页讲什么？", {12}, False),
        ("What do pages 3 to 5 say?", {3, 4, 5}, False),
        ("第3到5页讲什么？", {3, 4, 5}, False),
        ("Which chapter covers towing?", set(), True),
        ("Where in the manual is towing described?", set(), True),
        ("儿童锁在哪一章？", set(), True),
        ("哪个章节介绍更换轮胎？", set(), True),
        # Other pages, sections, places and counters.
        ("Which section of the fuse box holds fuse 5?", set(), False),
        ("How many pages does it print?", set(), False),
        ("Where is the lever of the hood?", set(), False),
        ("每分钟打印几页？", set(), False),
        ("遥控器用哪一节电池？", set(), False),
    ],
)
def test_questions_about_pages_are_recognised(question: str, pages: set[int], asks: bool) -> None:
    assert named_pages(question) == pages
    assert asks_for_page(question) is asks


@pytest.mark.parametrize(
    ("question", "topic"),
    [
        ("On which page is the oil?", "is the oil"),
        ("Which page of the manual describes the tyre pressure?", "the tyre pressure"),
        ("On what page can I find information about towing?", "towing"),
        ("Where in the manual is towing described?", "is towing"),
        ("请问预约充电在说明书第几页可以找到？", "预约充电"),
        ("关于检查制动液的内容在手册的哪一页？", "检查制动液"),
        ("哪一页介绍了儿童锁？", "儿童锁"),
        ("怎样更换雨刷？这一操作在第几页？", "怎样更换雨刷"),
        ("Where is the hood described?", "Where is the hood described"),
    ],
)
def test_the_request_for_a_page_is_not_searched_for(question: str, topic: str) -> None:
    assert " ".join(without_page_request(question).split()).rstrip(" ?？") == topic
