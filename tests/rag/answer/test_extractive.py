"""The manual's own sentences: the one that answers is taken, by its words, those around it and what is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest

from egosrag.rag.answer.answer_types import kinds_told, only_forbids
from egosrag.rag.answer.extractive import best_block
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.condense import Condenser
from egosrag.rag.retrieval.queries import Blend
from egosrag.rag.retrieval.search import Coverage, Retriever
from tests.conftest import SAMPLES


def taken(index: ManualIndex, question: str, history: Sequence[tuple[str, str]] = ()) -> str:
    wanted, _ = Condenser(index).condense(question, history)
    coverage = Blend(Coverage(index, wanted), Coverage(index, question))
    block = best_block(index, question, Retriever(index).search(wanted), coverage)
    assert block
    assert block.citation.quote in index.page(block.citation.source, block.citation.page).text
    return block.citation.quote


TAKEN = [
    # Its subject stands in the sentence before; the section on the empty battery repeats more of the question's words.
    ("en", "Which battery does the key need?", "CR2032"),
    # A row that was broken over lines, under a heading; the warning below it has more of the question's words.
    ("en", "What should I do when the amber engine lamp is lit?", "within a week"),
    # A row of a table whose head has "Front".
    ("en", "What pressure do the front tyres need with up to three people?", "2.3 bar"),
    # Not among the first three passages.
    ("en", "How often must the spark plugs be replaced?", "60,000 km"),
    # The warning forbids something else about the same thing.
    ("zh", "怎样关闭副驾驶安全气囊？", "机械钥匙"),
]


@pytest.mark.parametrize(("language", "question", "words"), TAKEN)
def test_the_sentence_that_answers_is_taken(
    manuals: dict[str, ManualIndex], language: str, question: str, words: str
) -> None:
    assert words in re.sub(r"\s+", " ", taken(manuals[language], question))


def test_the_last_words_of_a_follow_up_count_beside_the_whole(manuals: dict[str, ManualIndex]) -> None:
    history = [("How do I turn on cruise control?", "Press CRUISE, then press SET.")]
    assert "brake pedal" in taken(manuals["en"], "And how do I pause it?", history)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_direct_questions_of_the_samples(manuals: dict[str, ManualIndex], language: str) -> None:
    rows = json.loads((SAMPLES / f"manual.{language}.questions.json").read_text(encoding="utf-8"))
    rows = [row for row in rows if row["kind"] == "direct"]

    def plain(text: str) -> str:
        return re.sub(r"\s+", "", text)

    told = sum(plain(row["answer"]) in plain(taken(manuals[language], row["question"])) for row in rows)
    assert told >= 31, f"{told} of {len(rows)}"


@pytest.mark.parametrize(
    ("question", "told", "other"),
    [
        ("What pressure do the tyres need?", "2.3 bar", "Check it once a month."),
        ("胎压是多少？", "2.3巴", "每月检查一次胎压。"),
        ("How often must it be replaced?", "every 15,000 km", "The arrow must point down."),
        ("儿童锁在哪里？", "位于后门的侧边。", "车门就只能打开。"),
        ("How do I fold the mirrors?", "Press the middle of the knob.", "The knob is grey."),
    ],
)
def test_what_is_asked_for_shows_in_a_sentence(question: str, told: str, other: str) -> None:
    kinds = kinds_told(question)
    assert sum(bool(kind.search(told)) for kind in kinds) > sum(bool(kind.search(other)) for kind in kinds)


def test_a_warning_answers_who_asks_for_leave() -> None:
    never = "Never drive with an open tailgate."
    assert only_forbids("How do I open the tailgate?", never)
    assert not only_forbids("May I drive with an open tailgate?", never)
    assert only_forbids("怎样安装儿童座椅？", "切勿在前排安装。")
    assert not only_forbids("能不能在前排安装儿童座椅？", "切勿在前排安装。")
