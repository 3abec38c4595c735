"""Answers: every sentence cited or not said, refusals by evidence, the manual's own words when the model fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from egosrag.errors import WindowError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.answer.citations import Checker, answer_sentences, has_quantities, joined, same_sense
from egosrag.rag.answer.engine import ManualEngine
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.search import Coverage, Retriever, asks_for_page, pages_named
from egosrag.schema import Answer
from egosrag.text.sentences import sentence_spans

NONSENSE = "胡说八道 99 秒。Nonsense of 99 seconds."
REFUSED = {"zh": "手册中没有说明。", "en": "The manual does not say."}


def engine(index: ManualIndex, *responses: str, **options: int) -> tuple[ManualEngine, ScriptedChatModel]:
    model = ScriptedChatModel(responses=list(responses), **options)
    return ManualEngine(index, model), model


def assert_quotes_stand(index: ManualIndex, answer: Answer) -> None:
    for citation in answer.citations:
        assert citation.quote in index.page(citation.source, citation.page).text
        assert 0 < citation.score <= 1


QUESTIONS = {
    "zh": ("智能钥匙在多远的距离内有效？", "智能钥匙在距离车辆25米以内有效", 2),
    "en": ("How many airbags does the car have?", "seven airbags", 7),
}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_supported_sentence_is_said_with_its_page_and_an_invented_one_is_not(
    manuals: dict[str, ManualIndex], language: str
) -> None:
    question, _, page = QUESTIONS[language]
    told = {"zh": "智能钥匙在25米以内有效。[1]", "en": "The car has seven airbags [1]."}[language]
    invented = {"zh": "它会唱歌跳舞弹钢琴。[2]", "en": "They sing lullabies to dogs.[2]"}[language]
    asked, _ = engine(manuals[language], f"{told} {invented}")
    answer = asked.ask(question)
    assert (answer.mode, answer.refused) == ("generated", False)
    assert answer.answer == re.sub(r"\s*\[1\]", "", told)
    assert {c.page for c in answer.citations} == {page}
    assert_quotes_stand(manuals[language], answer)
    assert answer.usage.prompt_tokens > 0


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_model_that_talks_nonsense_lets_the_manual_speak(manuals: dict[str, ManualIndex], language: str) -> None:
    question, words, page = QUESTIONS[language]
    asked, _ = engine(manuals[language], NONSENSE)
    answer = asked.ask(question)
    assert answer.mode == "quoted"
    assert words in answer.answer
    assert [c.page for c in answer.citations] == [page]
    assert_quotes_stand(manuals[language], answer)


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
def test_what_the_manual_does_not_tell_is_refused_without_asking_the_model(
    manuals: dict[str, ManualIndex], language: str, question: str
) -> None:
    asked, model = engine(manuals[language])
    answer = asked.ask(question)
    expected = REFUSED["zh" if question.strip() and language == "zh" else "en"]
    assert (answer.answer, answer.refused, answer.citations, answer.mode) == (expected, True, (), "refused")
    assert model.calls == []


def test_a_true_sentence_on_something_else_is_no_answer(manuals: dict[str, ManualIndex]) -> None:
    asked, _ = engine(manuals["zh"], "钥匙电池的型号是CR2032。")
    answer = asked.ask("解锁后多少秒没有打开车门，车辆会自动重新上锁？")
    assert answer.mode == "quoted"
    assert "40秒" in answer.answer


def test_the_question_over_again_is_no_answer(manuals: dict[str, ManualIndex]) -> None:
    asked, _ = engine(manuals["zh"], "钥匙电池的型号。")
    assert "CR2032" in asked.ask("钥匙电池的型号是什么？").answer
    asked, _ = engine(manuals["en"], "The cabin filter.")
    assert "behind the glove box" in asked.ask("Where is the cabin filter?").answer


def test_a_models_refusal_is_believed_unless_the_evidence_is_plain(manuals: dict[str, ManualIndex]) -> None:
    asked, _ = engine(manuals["zh"], REFUSED["zh"])
    assert asked.ask("海登5的售价是多少？").refused
    asked, _ = engine(manuals["zh"], REFUSED["zh"])
    assert asked.ask("钥匙电池的型号是什么？").mode == "quoted"


@pytest.mark.parametrize("size", [1, 3, 50])
def test_a_stream_shows_only_what_was_checked_and_ends_with_the_answer(
    manuals: dict[str, ManualIndex], size: int
) -> None:
    told = "智能钥匙在25米以内有效[1]。它会唱歌跳舞弹钢琴。钥匙电池的型号是CR2032[1]。"
    asked, _ = engine(manuals["zh"], told, chunk_size=size)
    *pieces, answer = asked.stream("智能钥匙在多远的距离内有效？")
    assert isinstance(answer, Answer)
    assert "".join(map(str, pieces)) == answer.answer == "智能钥匙在25米以内有效。钥匙电池的型号是CR2032。"
    assert answer.timing.first_token_s is not None
    assert answer.timing.total_s >= answer.timing.first_token_s


def test_history_is_in_the_prompt_and_the_follow_up_finds_its_page(manuals: dict[str, ManualIndex]) -> None:
    history = [("发动机机油用什么型号？", "0W-20。")]
    asked, model = engine(manuals["zh"], "发动机机油要加多少？", NONSENSE)
    answer = asked.ask("要加多少？", history)
    assert "4.6升" in answer.answer
    rewriting, answering = (str(call.messages[-1].text) for call in model.calls)
    assert rewriting.endswith("最后一个问题：要加多少？")
    assert "问：发动机机油用什么型号？\n答：0W-20。\n问题：要加多少？" in answering


def test_a_question_that_stands_alone_is_not_rewritten(manuals: dict[str, ManualIndex]) -> None:
    asked, model = engine(manuals["en"], NONSENSE)
    asked.ask("How many airbags does the car have?", [("Which engine oil does the car need?", "0W-20.")])
    assert len(model.calls) == 1


@pytest.mark.parametrize("rewritten", ["完全无关的别的话题比如天气股票足球", "How much oil?", "", "量" * 500])
def test_a_rewriting_that_cannot_be_trusted_is_replaced_by_the_last_question(
    manuals: dict[str, ManualIndex], rewritten: str
) -> None:
    asked, _ = engine(manuals["zh"], rewritten, NONSENSE)
    assert "4.6升" in asked.ask("它要加多少？", [("发动机机油用什么型号？", "0W-20。")]).answer


def test_a_small_window_takes_fewer_passages_and_turns_and_still_answers(manuals: dict[str, ManualIndex]) -> None:
    history = [(f"问题{n}？", "很长的回答。" * 30) for n in range(6)]
    asked, model = engine(manuals["zh"], NONSENSE, context_window=420, max_new_tokens=100)
    assert asked.ask("智能钥匙在多远的距离内有效？", history).mode == "quoted"
    (call,) = model.calls
    assert model.count_tokens(list(call.messages)) <= 320
    assert "[1]" in str(call.messages[-1].text)
    asked, _ = engine(manuals["zh"], NONSENSE, context_window=120, max_new_tokens=100)
    with pytest.raises(WindowError, match="shorter"):
        asked.ask("智能钥匙在多远的距离内有效？")


def test_questions_about_pages_are_answered_from_the_documents_own_numbers(manuals: dict[str, ManualIndex]) -> None:
    asked, model = engine(manuals["zh"])
    where = asked.ask("“儿童锁”在第几页？")
    assert where.answer.startswith("第3页")
    assert [c.page for c in where.citations] == [3]
    about = asked.ask("第17页讲什么？")
    assert [c.page for c in about.citations] == [17]
    assert_quotes_stand(manuals["zh"], about)
    assert asked.ask("第400页讲什么？").refused
    assert model.calls == []
    assert pages_named("see page 12 and 第 3 页") == {12, 3}
    assert asks_for_page("On which page is the oil?") and not asks_for_page("第3页讲什么？")


def test_marks_are_read_on_either_side_of_the_stop() -> None:
    parts = list(answer_sentences("好的[1]。可以。[2][3] Yes [1, 2]. No.【4】"))
    assert parts == [("好的。", (1,)), ("可以。", (2, 3)), ("Yes.", (1, 2)), ("No.", (4,))]
    assert joined(["好的。", "可以。", "Yes.", "No."]) == "好的。可以。Yes. No."


@pytest.mark.parametrize(
    ("text", "quote", "holds"),
    [
        ("它在25米内有效。", "距离车辆25 米以内", True),
        ("它在52米内有效。", "距离车辆25米以内", False),
        ("等30秒。", "等待30分钟。", False),
        ("It takes 4.6 litres.", "takes 4.6 litres", True),
        ("It takes 46 litres.", "takes 4.6 litres", False),
        ("Every 60000 km.", "every 60,000 km", True),
        ("1. 打开盖子。", "打开盖子。", True),
        ("没有数字。", "有5个数字。", True),
    ],
)
def test_the_numbers_and_units_of_a_sentence_stand_in_its_quote(text: str, quote: str, holds: bool) -> None:
    assert has_quantities(text, quote) is holds


def test_a_sentence_with_a_wrong_number_has_no_citation(manuals: dict[str, ManualIndex]) -> None:
    found = [hit.passage for hit in Retriever(manuals["zh"]).search("智能钥匙在多远的距离内有效？")]
    checker = Checker(manuals["zh"], found)
    right, wrong = checker.check("智能钥匙在距离车辆25米以内有效。智能钥匙在距离车辆26米以内有效。")
    assert right.citation and right.citation.page == 2
    assert wrong.citation is None


@pytest.mark.parametrize(
    ("text", "quote", "same"),
    [
        ("Put a child seat on the front seat.", "Never put a child seat on the front seat.", False),
        ("可以在前排座椅上安装儿童座椅。", "切勿在前排座椅上安装儿童座椅。", False),
        ("The system works below 3 °C.", "It does not work below 3 °C or when the battery is low.", False),
        ("The mirrors do not fold.", "Press the middle of the knob to fold both mirrors.", False),
        ("Never drive with an open tailgate.", "Exhaust gas can enter. Never drive with an open tailgate.", True),
        ("The systems help the driver.", "The systems help the driver and do not replace the driver.", True),
        ("最多开到50公里每小时。", "装上防滑链后，车速不要超过50公里每小时。", True),
        ("The weight is 33 kg.", "The weight must not be more than 33 kg.", True),
    ],
)
def test_a_sentence_does_not_turn_its_quote_round(text: str, quote: str, same: bool) -> None:
    assert same_sense(text, quote) is same


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_sentence_of_a_manual_tells_itself(manuals: dict[str, ManualIndex], language: str) -> None:
    for page in manuals[language].pages:
        for start, end in sentence_spans(page.text):
            assert same_sense(page.text[start:end], page.text[start:end])


def test_each_sentence_of_an_answer_carries_its_citation(manuals: dict[str, ManualIndex]) -> None:
    asked, _ = engine(manuals["zh"], "智能钥匙在25米以内有效[1]。钥匙电池的型号是CR2032[1]。智能钥匙在25米以内有效。")
    answer = asked.ask("智能钥匙在多远的距离内有效？")
    assert "".join(sentence.text for sentence in answer.sentences) == answer.answer
    assert [sentence.citation for sentence in answer.sentences] == [0, 1, 0]
    assert "CR2032" in answer.citations[1].quote
    asked, _ = engine(manuals["zh"], NONSENSE)
    quoted = asked.ask("智能钥匙在多远的距离内有效？")
    assert {sentence.citation for sentence in quoted.sentences} == {0}


@pytest.mark.parametrize(
    ("language", "raw", "said"),
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
def test_sentences_that_nothing_tells_are_marked_where_that_is_wanted(
    manuals: dict[str, ManualIndex], language: str, raw: str, said: str
) -> None:
    model = ScriptedChatModel(responses=[raw])
    *pieces, answer = ManualEngine(manuals[language], model, unsupported="mark").stream(QUESTIONS[language][0])
    assert isinstance(answer, Answer)
    assert "".join(map(str, pieces)) == answer.answer == said
    assert [sentence.citation for sentence in answer.sentences] == [0, None]


def test_an_answer_of_marked_sentences_alone_is_not_shown(manuals: dict[str, ManualIndex]) -> None:
    asked = ManualEngine(manuals["zh"], ScriptedChatModel(responses=[NONSENSE]), unsupported="mark")
    assert asked.ask("智能钥匙在多远的距离内有效？").mode == "quoted"


@pytest.mark.parametrize("said", ["儿童锁扣。", "如何阅读安全带。", "空调滤芯在哪里？"])
def test_what_only_looks_like_the_page_has_no_citation(manuals: dict[str, ManualIndex], said: str) -> None:
    found = [
        hit.passage
        for q in ("空调滤芯在哪里？", "儿童锁怎么设置？", "安全带怎样清洁？")
        for hit in Retriever(manuals["zh"]).search(q)
    ]
    checker = Checker(manuals["zh"], found)
    assert checker.cite("空调滤芯在手套箱后面。")
    assert checker.cite(said) is None


def test_coverage_is_the_share_of_the_content_and_not_of_the_asking(manuals: dict[str, ManualIndex]) -> None:
    coverage = Coverage(manuals["zh"], "请问钥匙电池是什么型号的呢？")
    assert coverage.of("钥匙电池型号") > 0.9
    assert coverage.of("请问是什么呢") == 0.0


def test_the_manual_of_a_real_car(shared_data: Path) -> None:
    path = shared_data / "carmanual" / "manual_rebuilt.pdf"
    if not path.is_file():
        pytest.skip("the car manual is not among the real data")
    index = ManualIndex.build([path])
    asked, _ = engine(index, NONSENSE)
    answer = asked.ask("如何打开前机舱盖？")
    assert 307 in {c.page for c in answer.citations}
    assert_quotes_stand(index, answer)
