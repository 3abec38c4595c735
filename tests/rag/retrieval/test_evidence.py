"""Evidence: the passages of all queries of a question, the queries seen in the answer, and the rounds of rewording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from egosrag.errors import SettingsError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.answer.engine import ManualEngine
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.evidence import EvidenceRetriever
from egosrag.rag.retrieval.query_rewriting import QueryRewriter
from egosrag.rag.retrieval.search import Retriever
from tests.rag.retrieval.test_query_rewriting import AIRBAGS, HOPS, OIL


def engine(index: ManualIndex, *responses: str, **options: object) -> tuple[ManualEngine, ScriptedChatModel]:
    model = ScriptedChatModel(responses=list(responses))
    return ManualEngine(index, model, **options), model  # type: ignore[arg-type]


def test_the_queries_and_the_confidence_are_in_the_answer(manuals: dict[str, ManualIndex]) -> None:
    manual, _ = engine(manuals["en"], "The car has seven airbags [1].")
    answer = manual.ask(AIRBAGS)
    assert answer.queries == (AIRBAGS,)
    assert 0.5 < answer.evidence <= 1
    manual, _ = engine(manuals["zh"], "发动机机油要加多少？", "4.6升。")
    joined = "发动机机油用什么型号？ 要加多少？"
    assert manual.ask("要加多少？", OIL).queries == ("发动机机油要加多少？", joined)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_follow_up_in_the_users_words_is_found_by_the_last_answer(
    manuals: dict[str, ManualIndex], language: str
) -> None:
    file = Path(__file__).parents[3] / "evals" / "data" / f"owner.{language}.followups.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    rewriter = QueryRewriter(manuals[language])  # by rule alone
    retriever = EvidenceRetriever(Retriever(manuals[language]), rewriter)
    found = [retriever.retrieve(rewriter.plan(row["question"], row["history"])) for row in rows]
    first = [evidence.passages[0].passage.page for evidence in found]
    assert sum(page == int(row["reference"][5:]) for page, row in zip(first, rows, strict=True)) >= 11
    assert len(rows) == 12
    # The last answer finds passages and is no evidence: it is not among the queries.
    ((question, _),) = rows[-1]["history"]
    assert found[-1].queries == (f"{question} {rows[-1]['question']}",)
    assert len(found[-1].overlaps) == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_evidence_of_sub_questions_is_joined(manuals: dict[str, ManualIndex], language: str) -> None:
    question, written = HOPS[language]
    manual, _ = engine(manuals[language], written, decompose=True, top_k=2)
    evidence = manual.retrieve(question)
    assert len(evidence.queries) == 3
    assert {18, 19} <= {hit.passage.page for hit in evidence.passages}
    ids = [hit.passage.id for hit in evidence.passages]
    assert len(set(ids)) == len(ids) <= 4


def test_a_question_that_finds_too_little_is_reworded_in_the_manuals_words(manuals: dict[str, ManualIndex]) -> None:
    question = "My remote is dead, what now?"
    reworded = "What do I do when the battery of the smart key is empty?"
    text = "Pull the mechanical key out of the smart key and turn it in the lock of the driver's door [1]."
    manual, model = engine(manuals["en"], reworded, text, rewrites=3)
    answer = manual.ask(question)
    assert answer.queries == (question, reworded)
    assert (answer.mode, answer.citations[0].page) == ("generated", 2)
    assert answer.usage.prompt_tokens > model.count_tokens(list(model.calls[1].messages))


def test_rewording_ends_when_enough_is_found_and_after_three_rounds(manuals: dict[str, ManualIndex]) -> None:
    manual, model = engine(manuals["en"], "The car has seven airbags [1].", rewrites=3)
    manual.ask(AIRBAGS)
    assert len(model.calls) == 1
    vague = ["Which mirror glow worm?", "Which wheel glow worm moon?", "Which belt glow worm sun?", "Which lamp glow?"]
    manual, model = engine(manuals["en"], *vague, rewrites=3)
    assert manual.retrieve("Where do the gnomes live?").queries[1:] == tuple(vague[:3])
    assert len(model.calls) == 3


@pytest.mark.parametrize("written", ["", "Where do the gnomes live?", "精灵住在哪里？", "Zork blarg quux?"])
def test_a_rewording_that_cannot_be_used_ends_the_rounds(manuals: dict[str, ManualIndex], written: str) -> None:
    manual, model = engine(manuals["en"], written, rewrites=3)
    assert manual.retrieve("Where do the gnomes live?").queries == ("Where do the gnomes live?",)
    assert len(model.calls) == 1


def test_a_rewording_of_the_model_gives_no_confidence_to_quote(manuals: dict[str, ManualIndex]) -> None:
    manual, _ = engine(manuals["en"], AIRBAGS, "No idea at all.", rewrites=1)
    answer = manual.ask("Who wrote Hamlet?")
    assert (answer.refused, answer.queries) == (True, ("Who wrote Hamlet?", AIRBAGS))


def test_more_than_three_rounds_are_an_error(manuals: dict[str, ManualIndex]) -> None:
    with pytest.raises(SettingsError, match="0 to 3"):
        engine(manuals["en"], rewrites=4)
