"""Query rewriting (report 6.3.4): standalone questions, decomposition and rewording, each an option."""

from __future__ import annotations

import pytest

from egosrag.models.scripted import ScriptedChatModel
from egosrag.prompts import load
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.query_rewriting import FollowUpRewriter, QueryRewriter, is_small_talk

OIL = [("发动机机油用什么型号？", "0W-20。")]
AIRBAGS = "How many airbags does the car have?"


def rewriter(index: ManualIndex, *responses: str, **options: bool) -> tuple[QueryRewriter, ScriptedChatModel]:
    model = ScriptedChatModel(responses=list(responses))
    return QueryRewriter(index, model, **options), model


def test_a_follow_up_is_searched_for_in_the_models_words_and_after_the_last_question(
    manuals: dict[str, ManualIndex],
) -> None:
    queries, _ = rewriter(manuals["zh"], "发动机机油要加多少？")
    plan = queries.plan("要加多少？", OIL)
    assert plan.standalone == ("发动机机油要加多少？", "发动机机油用什么型号？ 要加多少？")
    assert plan.with_last_answer == "发动机机油用什么型号？ 0W-20。 要加多少？"
    assert plan.usage.prompt_tokens > 0


def test_a_model_that_only_repeats_a_follow_up_has_not_made_it_standalone(manuals: dict[str, ManualIndex]) -> None:
    plan = rewriter(manuals["zh"], "要加多少？")[0].plan("要加多少？", OIL)
    assert plan.standalone == ("发动机机油用什么型号？ 要加多少？",)
    assert plan.with_last_answer


def test_a_standalone_question_is_its_only_query(manuals: dict[str, ManualIndex]) -> None:
    queries, model = rewriter(manuals["en"])
    plan = queries.plan(AIRBAGS, [("Which engine oil does the car need?", "0W-20.")])
    assert (plan.standalone, plan.with_last_answer, model.calls) == ((AIRBAGS,), "", [])


def test_standalone_questions_can_be_turned_off(manuals: dict[str, ManualIndex]) -> None:
    queries, model = rewriter(manuals["zh"], condense=False)
    assert queries.plan("要加多少？", OIL).standalone == ("要加多少？",)
    assert model.calls == []


def test_without_a_model_the_last_question_is_put_before_the_follow_up(manuals: dict[str, ManualIndex]) -> None:
    assert QueryRewriter(manuals["zh"]).plan("要加多少？", OIL).standalone == ("发动机机油用什么型号？ 要加多少？",)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_refusal_is_not_put_before_a_follow_up(manuals: dict[str, ManualIndex], language: str) -> None:
    refusal = load("refusal", language).text()
    question, follow_up = {"zh": ("机油呢？", "它呢？"), "en": ("And the oil?", "And it?")}[language]
    joined = FollowUpRewriter(manuals[language]).with_last_answer(follow_up, [(question, refusal)])
    assert joined == f"{question} {follow_up}"


HOPS = {
    "en": (
        "Is the spare wheel's pressure the same as the speed limit with it?",
        "1. What pressure does the spare wheel need?\n2. How fast may I drive with the spare wheel?",
    ),
    "zh": ("备胎的胎压和备胎的最高车速各是多少？", "- 备胎的胎压是多少？\n- 装上备胎最快能开多快？"),
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_question_for_several_facts_is_decomposed(manuals: dict[str, ManualIndex], language: str) -> None:
    question, written = HOPS[language]
    plan = rewriter(manuals[language], written, decompose=True)[0].plan(question)
    assert plan.standalone == (question,)
    assert len(plan.sub_questions) == 2
    assert not any(query[0] in "12-" for query in plan.sub_questions)


@pytest.mark.parametrize(
    "written",
    [
        AIRBAGS,  # unchanged: one fact is enough
        "",
        "气囊有几个？\n气囊在哪里？",  # translated
        "Who won the match?\nWho wrote it?",  # about something else
        "Airbags? " * 100 + "\n" + "Seats? " * 100,
    ],
)
def test_untrusted_sub_questions_are_dropped(manuals: dict[str, ManualIndex], written: str) -> None:
    queries, model = rewriter(manuals["en"], written, decompose=True)
    assert queries.plan(AIRBAGS).sub_questions == ()
    assert len(model.calls) == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1. What do I do when the battery of the key is empty?", "What do I do when the battery of the key is empty?"),
        ("", ""),
        ("My remote is dead, what now?", ""),  # tried already
        ("遥控器没电了怎么办？", ""),
        ("Zork blarg quux?", ""),  # no word of the manual
    ],
)
def test_a_rewording_is_in_the_questions_language_and_in_words_of_the_manual(
    manuals: dict[str, ManualIndex], written: str, expected: str
) -> None:
    question = "My remote is dead, what now?"
    queries, model = rewriter(manuals["en"], written)
    reworded, usage = queries.reworded(question, [question], ["Keys"])
    assert reworded == expected
    assert usage.prompt_tokens > 0
    assert f"Tried:\n{question}\nQuestion: {question}" in str(model.calls[0].messages[-1].text)


OFF_TOPIC = ["What is the capital of France?", "Who won the world cup in 2022?", "Where is the hood?"]
OFF_TOPIC_ZH = ["法国的首都是哪里？", "谁是世界杯冠军？", "儿童锁怎么设置？"]


@pytest.mark.parametrize("question", [*OFF_TOPIC, *OFF_TOPIC_ZH])
def test_a_question_that_names_its_subject_is_not_about_the_one_before(
    manuals: dict[str, ManualIndex], question: str
) -> None:
    language, last = ("en", "Which brake fluid?") if question.isascii() else ("zh", "制动液用什么型号？")
    plan = QueryRewriter(manuals[language]).plan(question, [(last, "DOT 4.")])
    assert (plan.standalone, plan.with_last_answer) == ((question,), "")


@pytest.mark.parametrize("question", ["How often?", "And at the rear with a full load?", "How much of it goes in?"])
def test_a_question_that_names_nothing_is_about_the_one_before(manuals: dict[str, ManualIndex], question: str) -> None:
    assert QueryRewriter(manuals["en"]).plan(question, [("What oil?", "0W-20.")]).with_last_answer


@pytest.mark.parametrize("text", ["hi", "Hello!", "Thanks a lot.", "ok", "谢谢！", "你好", "好的"])
def test_greetings_and_thanks_are_no_questions(text: str) -> None:
    assert is_small_talk(text)


@pytest.mark.parametrize("text", ["Hi, how do I open the hood?", "OK to tow a trailer?", "谢谢，机油呢？"])
def test_a_question_after_a_greeting_is_one(text: str) -> None:
    assert not is_small_talk(text)
