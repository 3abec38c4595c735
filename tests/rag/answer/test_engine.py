"""Answers: each sentence cited or dropped, refusals by confidence, the manual quoted when the model fails."""

from __future__ import annotations

import re

import pytest

from egosrag.errors import SettingsError, WindowError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.answer.engine import ManualEngine
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.schema import Answer, AnswerProgress

NONSENSE = "胡说八道 99 秒。Nonsense of 99 seconds."
REFUSAL = {"zh": "手册中没有说明。", "en": "The manual does not say."}


def engine(index: ManualIndex, *responses: str, **options: int) -> tuple[ManualEngine, ScriptedChatModel]:
    model = ScriptedChatModel(responses=list(responses), **options)
    return ManualEngine(index, model), model


def assert_quotes_are_verbatim(index: ManualIndex, answer: Answer) -> None:
    for citation in answer.citations:
        assert citation.quote in index.page(citation.source, citation.page).text
        assert 0 < citation.score <= 1


QUESTIONS = {
    "zh": ("智能钥匙在多远的距离内有效？", "智能钥匙在距离车辆25米以内有效", 2),
    "en": ("How many airbags does the car have?", "seven airbags", 7),
}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_supported_sentence_is_kept_with_its_page_and_an_invented_one_is_dropped(
    manuals: dict[str, ManualIndex], language: str
) -> None:
    question, _, page = QUESTIONS[language]
    supported = {"zh": "智能钥匙在25米以内有效。[1]", "en": "The car has seven airbags [1]."}[language]
    invented = {"zh": "它会唱歌跳舞弹钢琴。[2]", "en": "They sing lullabies to dogs.[2]"}[language]
    manual, _ = engine(manuals[language], f"{supported} {invented}")
    answer = manual.ask(question)
    assert (answer.mode, answer.refused) == ("generated", False)
    assert answer.answer == re.sub(r"\s*\[1\]", "", supported)
    assert {c.page for c in answer.citations} == {page}
    assert_quotes_are_verbatim(manuals[language], answer)
    assert answer.usage.prompt_tokens > 0


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_manual_is_quoted_when_the_model_writes_nonsense(manuals: dict[str, ManualIndex], language: str) -> None:
    question, words, page = QUESTIONS[language]
    manual, _ = engine(manuals[language], NONSENSE)
    answer = manual.ask(question)
    assert answer.mode == "quoted"
    assert words in answer.answer
    assert [c.page for c in answer.citations] == [page]
    assert_quotes_are_verbatim(manuals[language], answer)


@pytest.mark.parametrize(
    ("language", "question"),
    [
        ("zh", "中国足球的队长是谁？"),
        ("zh", "怎么做红烧肉？"),
        ("zh", "导航地图怎么更新？"),
        ("en", "Who is the captain of the football team?"),
        ("en", "Who wrote Hamlet?"),
        ("en", "In which town is the factory?"),
        ("zh", "  "),
    ],
)
def test_an_unanswerable_question_is_refused_without_asking_the_model(
    manuals: dict[str, ManualIndex], language: str, question: str
) -> None:
    manual, model = engine(manuals[language])
    answer = manual.ask(question)
    expected = REFUSAL["zh" if question.strip() and language == "zh" else "en"]
    assert (answer.answer, answer.refused, answer.citations, answer.mode) == (expected, True, (), "refused")
    assert model.calls == []


def test_a_true_sentence_about_something_else_is_no_answer(manuals: dict[str, ManualIndex]) -> None:
    manual, _ = engine(manuals["zh"], "钥匙电池的型号是CR2032。")
    answer = manual.ask("解锁后多少秒没有打开车门，车辆会自动重新上锁？")
    assert answer.mode == "quoted"
    assert "40秒" in answer.answer


@pytest.mark.parametrize(
    ("language", "question", "sentence"),
    [
        ("zh", "儿童锁怎么设置？", "用机械钥匙把锁槽转到水平位置，车门就只能从车外打开。"),  # 设定 is the tailgate's
        ("en", "How do I set the child lock?", "Turn its slot with the mechanical key to the horizontal position."),
    ],
)
def test_what_is_below_a_heading_that_the_question_names_is_an_answer(
    manuals: dict[str, ManualIndex], language: str, question: str, sentence: str
) -> None:
    manual, _ = engine(manuals[language], sentence)
    answer = manual.ask(question)
    assert (answer.mode, answer.answer) == ("generated", sentence)


def test_without_a_model_the_manual_is_quoted(manuals: dict[str, ManualIndex]) -> None:
    question, words, page = QUESTIONS["en"]
    answer = ManualEngine(manuals["en"], None).ask(question, [("Which battery does the key need?", "CR2032.")])
    assert answer.mode == "quoted" and words in answer.answer and answer.citations[0].page == page
    for options in ({"decompose": True}, {"rewrites": 1}, {"answers": "model"}):
        with pytest.raises(SettingsError, match="need a model"):
            ManualEngine(manuals["en"], None, **options)  # type: ignore[arg-type]


def test_the_repeated_question_is_no_answer(manuals: dict[str, ManualIndex]) -> None:
    manual, _ = engine(manuals["zh"], "钥匙电池的型号。")
    assert "CR2032" in manual.ask("钥匙电池的型号是什么？").answer
    manual, _ = engine(manuals["en"], "The cabin filter.")
    assert "behind the glove box" in manual.ask("Where is the cabin filter?").answer


@pytest.mark.parametrize("question", ["海登5的售价是多少？", "钥匙电池的型号是什么？"])
def test_a_refusal_of_the_model_stands(manuals: dict[str, ManualIndex], question: str) -> None:
    manual, _ = engine(manuals["zh"], REFUSAL["zh"])
    answer = manual.ask(question)
    assert answer.refused and not answer.citations


@pytest.mark.parametrize(
    ("language", "question", "offered"),
    [
        ("zh", "车胎用几年就得换新的？", True),
        ("zh", "钥匙电池的型号是什么？", False),
        ("en", "How do I fold out the roof tent?", True),
        ("en", "How many airbags does the car have?", False),
    ],
)
def test_the_prompt_offers_a_refusal_only_where_the_evidence_is_weak(
    manuals: dict[str, ManualIndex], language: str, question: str, offered: bool
) -> None:
    manual, model = engine(manuals[language], NONSENSE)
    manual.ask(question)
    assert (REFUSAL[language] in str(model.calls[0].messages[-1].text)) is offered


@pytest.mark.parametrize(
    ("language", "question", "raw", "expected"),
    [
        ("en", "Does the inside mirror dim at night?", "Yes.", "Yes. The inside mirror dims by itself at night."),
        ("zh", "座椅加热有三挡吗？", "是的。", "是的。座椅加热有三挡，只在发动机运转时有效。"),
    ],
)
def test_a_yes_alone_is_given_with_what_the_manual_says(
    manuals: dict[str, ManualIndex], language: str, question: str, raw: str, expected: str
) -> None:
    manual, _ = engine(manuals[language], raw)
    answer = manual.ask(question)
    assert (answer.mode, answer.sentences[0].citation) == ("quoted", 0)
    assert answer.answer.startswith(expected)
    assert_quotes_are_verbatim(manuals[language], answer)


@pytest.mark.parametrize(
    ("language", "question", "raw"),
    [
        ("en", "What does the Halden 5 cost?", "The Halden 5 costs 110 kW."),
        ("zh", "海登5的售价是多少？", "海登5的售价是1340公斤。"),
    ],
)
def test_a_value_of_something_else_is_no_price(
    manuals: dict[str, ManualIndex], language: str, question: str, raw: str
) -> None:
    manual, _ = engine(manuals[language], raw)
    assert manual.ask(question).refused


def test_a_yes_does_not_contradict_the_quote(manuals: dict[str, ManualIndex]) -> None:
    question = "May two people share one belt?"
    for raw, contradicts in (("Yes.", True), ("No.", False)):
        manual, _ = engine(manuals["en"], raw)
        answer = manual.ask(question).answer
        assert "Never let two people share one belt." in answer
        assert answer.startswith(raw) is not contradicts


def test_a_yes_has_the_citation_of_the_sentence_after_it(manuals: dict[str, ManualIndex]) -> None:
    manual, _ = engine(manuals["en"], "Yes. Press the middle of the knob to fold both mirrors.")
    answer = manual.ask("Do the mirrors fold?")
    assert (answer.mode, answer.answer) == ("generated", "Yes. Press the middle of the knob to fold both mirrors.")
    assert [sentence.citation for sentence in answer.sentences] == [0, 0]


@pytest.mark.parametrize("size", [1, 3, 50])
def test_a_stream_gives_only_verified_text_and_ends_with_the_answer(manuals: dict[str, ManualIndex], size: int) -> None:
    raw = "智能钥匙在25米以内有效[1]。它会唱歌跳舞弹钢琴。钥匙电池的型号是CR2032[1]。"
    manual, _ = engine(manuals["zh"], raw, chunk_size=size)
    *pieces, answer = manual.stream("智能钥匙在多远的距离内有效？")
    assert isinstance(answer, Answer)
    assert (
        "".join(piece for piece in pieces if isinstance(piece, str))
        == answer.answer
        == "智能钥匙在25米以内有效。钥匙电池的型号是CR2032。"
    )
    assert answer.timing.first_token_s is not None
    assert answer.timing.total_s >= answer.timing.first_token_s


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_pages_found_come_before_the_model_is_called(manuals: dict[str, ManualIndex], language: str) -> None:
    question, _, page = QUESTIONS[language]
    manual, model = engine(manuals[language], NONSENSE)
    stream = manual.stream(question)
    searching, found, reading = (next(stream) for _ in range(3))
    assert not model.calls
    for event, step in ((searching, "searching"), (found, "found"), (reading, "reading")):
        assert isinstance(event, AnswerProgress)
        assert event.step == step
    assert isinstance(found, AnswerProgress) and isinstance(reading, AnswerProgress)
    assert found.pages[0] == (found.passages[0].source, page)
    assert len(set(found.pages)) == len(found.pages) >= 1
    assert {place for place in reading.pages} <= set(found.pages)
    *_, answer = stream
    assert isinstance(answer, Answer)
    assert answer.mode == "quoted"


@pytest.mark.parametrize("question", ["", "hi", "谢谢"])
def test_nothing_is_searched_for_without_a_question(manuals: dict[str, ManualIndex], question: str) -> None:
    pieces = list(engine(manuals["en"])[0].stream(question))
    assert not any(isinstance(piece, AnswerProgress) for piece in pieces)


def test_history_is_in_the_prompt_and_a_follow_up_finds_its_page(manuals: dict[str, ManualIndex]) -> None:
    history = [("发动机机油用什么型号？", "0W-20。")]
    manual, model = engine(manuals["zh"], "发动机机油要加多少？", NONSENSE)
    answer = manual.ask("要加多少？", history)
    assert "4.6升" in answer.answer
    rewriting, answering = (str(call.messages[-1].text) for call in model.calls)
    assert rewriting.endswith("最后一个问题：要加多少？")
    assert "问：发动机机油用什么型号？\n答：0W-20。\n问题：要加多少？" in answering


def test_a_standalone_question_is_not_rewritten(manuals: dict[str, ManualIndex]) -> None:
    manual, model = engine(manuals["en"], NONSENSE)
    manual.ask("How many airbags does the car have?", [("Which engine oil does the car need?", "0W-20.")])
    assert len(model.calls) == 1


@pytest.mark.parametrize("rewritten", ["完全无关的别的话题比如天气股票足球", "How much oil?", "", "量" * 500])
def test_an_untrusted_rewriting_is_replaced_by_the_last_question(
    manuals: dict[str, ManualIndex], rewritten: str
) -> None:
    manual, _ = engine(manuals["zh"], rewritten, NONSENSE)
    assert "4.6升" in manual.ask("它要加多少？", [("发动机机油用什么型号？", "0W-20。")]).answer


def test_a_small_window_takes_fewer_passages_and_turns_and_still_answers(manuals: dict[str, ManualIndex]) -> None:
    history = [(f"问题{n}？", "很长的回答。" * 30) for n in range(6)]
    manual, model = engine(manuals["zh"], NONSENSE, context_window=420, max_new_tokens=100)
    assert manual.ask("智能钥匙在多远的距离内有效？", history).mode == "quoted"
    (call,) = model.calls
    assert model.count_tokens(list(call.messages)) <= 320
    assert "[1]" in str(call.messages[-1].text)
    manual, _ = engine(manuals["zh"], NONSENSE, context_window=120, max_new_tokens=100)
    with pytest.raises(WindowError, match="shorter"):
        manual.ask("智能钥匙在多远的距离内有效？")


def test_questions_about_pages_are_answered_from_the_page_numbers_of_the_document(
    manuals: dict[str, ManualIndex],
) -> None:
    manual, model = engine(manuals["zh"])
    where = manual.ask("“儿童锁”在第几页？")
    assert where.answer.startswith("第3页")
    assert [c.page for c in where.citations] == [3]
    about = manual.ask("第17页讲什么？")
    assert [c.page for c in about.citations] == [17]
    assert_quotes_are_verbatim(manuals["zh"], about)
    assert manual.ask("第400页讲什么？").refused
    assert model.calls == []


def test_each_sentence_of_an_answer_has_its_citation(manuals: dict[str, ManualIndex]) -> None:
    manual, _ = engine(manuals["zh"], "智能钥匙在25米以内有效[1]。钥匙电池的型号是CR2032[1]。智能钥匙在25米以内有效。")
    answer = manual.ask("智能钥匙在多远的距离内有效？")
    assert "".join(sentence.text for sentence in answer.sentences) == answer.answer
    assert [sentence.citation for sentence in answer.sentences] == [0, 1, 0]
    assert "CR2032" in answer.citations[1].quote
    manual, _ = engine(manuals["zh"], NONSENSE)
    quoted = manual.ask("智能钥匙在多远的距离内有效？")
    assert {sentence.citation for sentence in quoted.sentences} == {0}


@pytest.mark.parametrize(
    ("language", "raw", "shown"),
    [
        (
            "zh",
            "智能钥匙在25米以内有效[1]。它会唱歌跳舞弹钢琴。",
            "智能钥匙在25米以内有效。它会唱歌跳舞弹钢琴。（手册中没有依据）",
        ),
        (
            "en",
            "The car has seven airbags [1]. They sing lullabies to dogs.",
            "The car has seven airbags. They sing lullabies to dogs. (not in the manual)",
        ),
    ],
)
def test_unsupported_sentences_are_marked_if_that_is_chosen(
    manuals: dict[str, ManualIndex], language: str, raw: str, shown: str
) -> None:
    model = ScriptedChatModel(responses=[raw])
    *pieces, answer = ManualEngine(manuals[language], model, unsupported="mark").stream(QUESTIONS[language][0])
    assert isinstance(answer, Answer)
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == answer.answer == shown
    assert [sentence.citation for sentence in answer.sentences] == [0, None]


def test_an_answer_of_marked_sentences_alone_is_not_shown(manuals: dict[str, ManualIndex]) -> None:
    manual = ManualEngine(manuals["zh"], ScriptedChatModel(responses=[NONSENSE]), unsupported="mark")
    assert manual.ask("智能钥匙在多远的距离内有效？").mode == "quoted"


def test_the_manual_of_a_real_car(car_manual: ManualIndex) -> None:
    manual, _ = engine(car_manual, NONSENSE)
    answer = manual.ask("如何打开前机舱盖？")
    assert 307 in {c.page for c in answer.citations}
    assert_quotes_are_verbatim(car_manual, answer)


class SlowReader(ScriptedChatModel):
    """A script in place of a model that is computed on this machine."""

    reads_slowly = True


READ_TWICE = {
    "en": ("How many airbags does the car have?", "The car has seven airbags."),
    "zh": ("尾门能开多高？", "尾门的开启高度为195厘米。"),
}


def passages_in(model: ScriptedChatModel) -> list[list[str]]:
    """The passages in each prompt, a line each."""
    return [re.findall(r"(?m)^\[\d+\].*$", str(call.messages[-1].text)) for call in model.calls]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_model_of_this_machine_reads_few_passages_first(manuals: dict[str, ManualIndex], language: str) -> None:
    question, sentence = READ_TWICE[language]
    model, other = (kind(responses=[sentence]) for kind in (SlowReader, ScriptedChatModel))
    answer = ManualEngine(manuals[language], model).ask(question)
    assert (answer.mode, answer.answer) == ("generated", sentence)
    assert ManualEngine(manuals[language], other).ask(question).answer == sentence
    (few,), (whole,) = passages_in(model), passages_in(other)
    assert 1 <= len(few) < len(whole) and whole[: len(few)] == few


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("first", [NONSENSE, None])
def test_where_the_first_passages_do_not_answer_it_reads_all(
    manuals: dict[str, ManualIndex], language: str, first: str | None
) -> None:
    question, sentence = READ_TWICE[language]
    model = SlowReader(responses=[first or REFUSAL[language], sentence])
    *pieces, answer = ManualEngine(manuals[language], model).stream(question)
    assert isinstance(answer, Answer)
    assert (answer.mode, answer.refused) == ("generated", False)
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == answer.answer == sentence
    few, whole = passages_in(model)
    assert 1 <= len(few) < len(whole) and whole[: len(few)] == few
    read = [piece.passages for piece in pieces if isinstance(piece, AnswerProgress) and piece.step == "reading"]
    assert [len(passages) for passages in read] == [len(few), len(whole)]
    assert answer.usage.prompt_tokens == sum(model.count_tokens(list(call.messages)) for call in model.calls)


def test_where_neither_answers_the_last_refusal_stands(manuals: dict[str, ManualIndex]) -> None:
    question, _ = READ_TWICE["en"]
    model = SlowReader(responses=[NONSENSE, REFUSAL["en"]])
    assert ManualEngine(manuals["en"], model).ask(question).refused and len(model.calls) == 2


def test_a_single_passage_is_read_once(manuals: dict[str, ManualIndex]) -> None:
    model = SlowReader(responses=[NONSENSE])
    assert ManualEngine(manuals["zh"], model).ask("钥匙电池的型号是什么？").mode == "quoted"
    assert len(model.calls) == 1


@pytest.mark.parametrize("question", ["How do I fold out the roof tent?", "车胎用几年就得换新的？"])
def test_with_weak_evidence_all_passages_are_read_at_once(manuals: dict[str, ManualIndex], question: str) -> None:
    language = "zh" if "车" in question else "en"
    model, other = (kind(responses=[REFUSAL[language]]) for kind in (SlowReader, ScriptedChatModel))
    assert all(ManualEngine(manuals[language], each).ask(question).refused for each in (model, other))
    assert passages_in(model) == passages_in(other)
