"""Answer types: what kind of answer a question asks for, and whether a text contains one."""

from __future__ import annotations

import pytest

from egosrag.rag.answer.answer_types import answer_patterns, lacks_answer_type, lacks_price, only_prohibits, verdict_of


@pytest.mark.parametrize(
    ("question", "text", "lacks"),
    [
        ("How often must the filter be changed?", "Change the filter every 12 months.", False),
        ("How often must the filter be changed?", "The filter keeps the dust out.", True),
        ("How much oil does it take?", "1. Open the cap. 2. Pour in the oil.", True),  # numbers of list items
        ("How far can the lamp reach?", "The lamp reaches 20 volts.", False),  # in any unit
        ("Where is the jack?", "The jack lies under the floor.", False),
        ("Where is the jack?", "Check the jack every 3 years.", True),
        ("What does the car cost?", "The car weighs 1500 kg.", True),
        ("What does the car cost?", "The car costs 20,000 euros.", False),
        ("Which oil does it need?", "Use oil of the type 0W-20.", False),
        ("Which dog crate fits?", "Tighten the nuts with 120 Nm.", True),
        ("How do I open the lid?", "Press the button.", False),  # asks for no value
        ("滤芯多久换一次？", "每12个月更换滤芯。", False),
        ("滤芯多久换一次？", "滤芯用来挡灰尘。", True),
        ("千斤顶在哪里？", "千斤顶的位置：地板下面。", False),
        ("千斤顶在哪里？", "请每年检查千斤顶。", True),
        ("这辆车的售价是多少？", "在手机上核对六位数字。", True),
        ("皮带的型号是什么？", "更换皮带时请使用FH-141。", False),
        ("怎么打开盖子？", "按下按钮。", False),
    ],
)
def test_a_text_may_lack_the_type_of_answer_that_is_asked_for(question: str, text: str, lacks: bool) -> None:
    assert lacks_answer_type(question, text) is lacks


@pytest.mark.parametrize(
    ("question", "answer", "other"),
    [
        ("What pressure do the tyres need?", "2.3 bar", "Check it once a month."),
        ("胎压是多少？", "2.3巴", "每月检查一次胎压。"),
        ("How often must it be replaced?", "every 15,000 km", "The arrow must point down."),
        ("儿童锁在哪里？", "位于后门的侧边。", "车门就只能打开。"),
        ("How do I fold the mirrors?", "Press the middle of the knob.", "The knob is grey."),
    ],
)
def test_the_form_of_a_question_distinguishes_its_answer(question: str, answer: str, other: str) -> None:
    patterns = answer_patterns(question)
    assert sum(bool(p.search(answer)) for p in patterns) > sum(bool(p.search(other)) for p in patterns)


def test_a_price_is_an_amount_of_money() -> None:
    assert lacks_price("What does the car cost?", "The car costs 110 kW.")
    assert not lacks_price("What does the car cost?", "It costs 20,000 euros.")
    assert not lacks_price("What does the car weigh?", "It weighs 1,340 kg.")
    assert not lacks_price("How much does a bicycle cost?", "A new bicycle costs roughly 200-500 RMB.")
    assert not lacks_price("What does the update cost?", "Updates are free.")


@pytest.mark.parametrize(
    ("sentence", "text", "positive", "rest"),
    [
        ("Yes.", "Yes.", True, ""),
        ("No, never do it.", "No.", False, "never do it."),
        ("可以，按住按钮。", "可以。", True, "按住按钮。"),
        ("不能。", "不能。", False, ""),
    ],
)
def test_a_verdict_is_the_yes_or_no_that_a_sentence_begins_with(
    sentence: str, text: str, positive: bool, rest: str
) -> None:
    assert verdict_of(sentence) == (text, positive, rest)


@pytest.mark.parametrize(
    "sentence", ["Nobody may do it.", "No 5 fuse.", "有三种模式。", "能量回收。", "会车灯亮。", ""]
)
def test_other_sentences_have_no_verdict(sentence: str) -> None:
    assert verdict_of(sentence) is None


def test_a_prohibition_answers_only_questions_about_permission() -> None:
    never = "Never drive with an open tailgate."
    assert only_prohibits("How do I open the tailgate?", never)
    assert not only_prohibits("May I drive with an open tailgate?", never)
    assert only_prohibits("怎样安装儿童座椅？", "切勿在前排安装。")
    assert not only_prohibits("能不能在前排安装儿童座椅？", "切勿在前排安装。")
