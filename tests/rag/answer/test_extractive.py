"""Extractive answers: the sentences that answer, by their words, those around them and the type of the question."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest

from egosrag.rag.answer.extractive import choose_excerpt
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.evidence import EvidenceRetriever
from egosrag.rag.retrieval.query_rewriting import QueryRewriter
from egosrag.rag.retrieval.search import Retriever
from tests.conftest import SAMPLES


def quote(index: ManualIndex, question: str, history: Sequence[tuple[str, str]] = ()) -> str:
    rewriter = QueryRewriter(index)
    evidence = EvidenceRetriever(Retriever(index), rewriter).retrieve(rewriter.plan(question, history))
    excerpt = choose_excerpt(index, evidence)
    assert excerpt
    assert excerpt.citation.quote in index.page(excerpt.citation.source, excerpt.citation.page).text
    return excerpt.citation.quote


QUOTED = [
    # Its subject is in the sentence before; the section on the empty battery repeats more of the question's words.
    ("en", "Which battery does the key need?", "CR2032"),
    # A table row broken over lines, under a heading; the warning below it repeats more of the question's words.
    ("en", "What should I do when the amber engine lamp is lit?", "within a week"),
    # A row of a table whose header contains "Front".
    ("en", "What pressure do the front tyres need with up to three people?", "2.3 bar"),
    # Not among the first three passages.
    ("en", "How often must the spark plugs be replaced?", "60,000 km"),
    # The warning prohibits something else about the same thing.
    ("zh", "怎样关闭副驾驶安全气囊？", "机械钥匙"),
]


@pytest.mark.parametrize(("language", "question", "words"), QUOTED)
def test_the_sentence_that_answers_is_quoted(
    manuals: dict[str, ManualIndex], language: str, question: str, words: str
) -> None:
    assert words in re.sub(r"\s+", " ", quote(manuals[language], question))


def test_the_words_of_a_follow_up_count_besides_its_standalone_form(manuals: dict[str, ManualIndex]) -> None:
    history = [("How do I turn on cruise control?", "Press CRUISE, then press SET.")]
    assert "brake pedal" in quote(manuals["en"], "And how do I pause it?", history)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_direct_questions_of_the_samples(manuals: dict[str, ManualIndex], language: str) -> None:
    rows = json.loads((SAMPLES / f"manual.{language}.questions.json").read_text(encoding="utf-8"))
    rows = [row for row in rows if row["kind"] == "direct"]

    def without_space(text: str) -> str:
        return re.sub(r"\s+", "", text)

    answered = sum(
        without_space(row["answer"]) in without_space(quote(manuals[language], row["question"])) for row in rows
    )
    assert answered >= 31, f"{answered} of {len(rows)}"
