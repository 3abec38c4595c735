"""Query understanding (report 6.3.4): condensed, taken apart, asked again; each an option and seen in the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from egosrag.errors import SettingsError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.prompts import load
from egosrag.rag.answer.engine import ManualEngine
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.condense import Condenser
from egosrag.rag.retrieval.queries import Finder
from egosrag.rag.retrieval.search import Retriever

OIL = [("发动机机油用什么型号？", "0W-20。")]


def engine(index: ManualIndex, *responses: str, **options: object) -> tuple[ManualEngine, ScriptedChatModel]:
    model = ScriptedChatModel(responses=list(responses))
    return ManualEngine(index, model, **options), model  # type: ignore[arg-type]


def pages(found: ManualEngine, question: str) -> list[int]:
    return [hit.passage.page for hit in found.search(question)]


def test_what_was_searched_for_is_seen_in_the_answer(manuals: dict[str, ManualIndex]) -> None:
    asked, _ = engine(manuals["en"], "The car has seven airbags [1].")
    answer = asked.ask("How many airbags does the car have?")
    assert answer.queries == ("How many airbags does the car have?",)
    assert 0.5 < answer.evidence <= 1
    asked, _ = engine(manuals["zh"], "发动机机油要加多少？", "4.6升。")
    joined = "发动机机油用什么型号？ 要加多少？"
    assert asked.ask("要加多少？", OIL).queries == ("发动机机油要加多少？", joined)


def test_condensing_can_be_turned_off(manuals: dict[str, ManualIndex]) -> None:
    asked, model = engine(manuals["zh"], condense=False)
    assert asked.ask("要加多少？", OIL).queries == ("要加多少？",)
    assert model.calls == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_follow_up_in_the_owners_words_is_found_by_the_last_answer(
    manuals: dict[str, ManualIndex], language: str
) -> None:
    file = Path(__file__).parents[3] / "evals" / "data" / f"owner.{language}.followups.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    finder, condenser = (
        Finder(Retriever(manuals[language]), ScriptedChatModel(responses=[])),
        Condenser(manuals[language]),
    )
    finder._condenser = condenser  # by rule alone
    first = sum(finder.find(r["question"], r["history"]).found[0].passage.page == int(r["reference"][5:]) for r in rows)
    assert first >= 11 and len(rows) == 12
    *_, last = rows
    # What was answered is not asked: it finds, and is no evidence for an answer.
    ((question, answer),) = last["history"]
    evidence = finder.find(last["question"], last["history"])
    assert evidence.queries == [f"{question} {last['question']}"] and len(evidence.coverages) == 1
    # A refusal holds none of the manual's words.
    refusal = load("refusal", language).text()
    assert condenser.with_answer(last["question"], [(question, refusal)]) == f"{question} {last['question']}"


HOPS = {
    "en": (
        "Is the spare wheel's pressure the same as the speed limit with it?",
        "1. What pressure does the spare wheel need?\n2. How fast may I drive with the spare wheel?",
        {18, 19},
    ),
    "zh": ("备胎的胎压和备胎的最高车速各是多少？", "- 备胎的胎压是多少？\n- 装上备胎最快能开多快？", {18, 19}),
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_question_with_several_facts_is_taken_apart_and_the_evidence_joined(
    manuals: dict[str, ManualIndex], language: str
) -> None:
    question, parts, wanted = HOPS[language]
    asked, _ = engine(manuals[language], parts, decompose=True, top_k=2)
    found = asked._finder.find(question)
    assert len(found.queries) == 3
    assert found.queries[0] == question
    assert not any(query[0] in "1-" for query in found.queries)
    assert wanted <= {hit.passage.page for hit in found.found}
    ids = [hit.passage.id for hit in found.found]
    assert len(set(ids)) == len(ids) <= 4


@pytest.mark.parametrize(
    "written",
    [
        "How many airbags does the car have?",  # unchanged: one fact is enough
        "",
        "气囊有几个？\n气囊在哪里？",  # translated
        "Who won the match?\nWho wrote it?",  # about something else
        "Airbags? " * 100 + "\n" + "Seats? " * 100,
    ],
)
def test_parts_that_cannot_be_trusted_are_not_searched_for(manuals: dict[str, ManualIndex], written: str) -> None:
    asked, model = engine(manuals["en"], written, decompose=True)
    question = "How many airbags does the car have?"
    assert asked._finder.find(question).queries == [question]
    assert len(model.calls) == 1


def test_a_question_that_finds_too_little_is_asked_again_in_the_manuals_words(manuals: dict[str, ManualIndex]) -> None:
    question = "My remote is dead, what now?"
    again = "What do I do when the battery of the smart key is empty?"
    told = "Pull the mechanical key out of the smart key and turn it in the lock of the driver's door [1]."
    asked, model = engine(manuals["en"], again, told, rewrites=3)
    answer = asked.ask(question)
    assert answer.queries == (question, again)
    assert (answer.mode, answer.citations[0].page) == ("generated", 2)
    assert f"Tried:\n{question}\nQuestion: {question}" in str(model.calls[0].messages[-1].text)
    assert answer.usage.prompt_tokens > model.count_tokens(list(model.calls[1].messages))


def test_rewriting_ends_where_enough_is_found_and_after_three_rounds(manuals: dict[str, ManualIndex]) -> None:
    asked, model = engine(manuals["en"], "The car has seven airbags [1].", rewrites=3)
    asked.ask("How many airbags does the car have?")
    assert len(model.calls) == 1
    vague = ["Which mirror glow worm?", "Which wheel glow worm moon?", "Which belt glow worm sun?", "Which lamp glow?"]
    asked, model = engine(manuals["en"], *vague, rewrites=3)
    found = asked._finder.find("Where do the gnomes live?")
    assert found.queries[1:] == vague[:3]
    assert len(model.calls) == 3


@pytest.mark.parametrize("written", ["", "Where do the gnomes live?", "精灵住在哪里？", "Zork blarg quux?"])
def test_a_rewriting_that_cannot_help_ends_the_rounds(manuals: dict[str, ManualIndex], written: str) -> None:
    asked, model = engine(manuals["en"], written, rewrites=3)
    assert asked._finder.find("Where do the gnomes live?").queries == ["Where do the gnomes live?"]
    assert len(model.calls) == 1


def test_a_models_own_question_never_makes_the_manual_speak(manuals: dict[str, ManualIndex]) -> None:
    drifted = "How many airbags does the car have?"
    asked, _ = engine(manuals["en"], drifted, "No idea at all.", rewrites=1)
    answer = asked.ask("Who wrote Hamlet?")
    assert (answer.refused, answer.queries) == (True, ("Who wrote Hamlet?", drifted))


def test_more_rounds_than_three_are_refused(manuals: dict[str, ManualIndex]) -> None:
    with pytest.raises(SettingsError, match="0 to 3"):
        engine(manuals["en"], rewrites=4)
