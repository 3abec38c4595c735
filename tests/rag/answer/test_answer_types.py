"""What a question asks for, and whether a text has anything of the kind."""

from __future__ import annotations

import pytest

from egosrag.rag.answer.answer_types import lacks_value


@pytest.mark.parametrize(
    ("question", "text", "lacks"),
    [
        ("How often must the filter be changed?", "Change the filter every 12 months.", False),
        ("How often must the filter be changed?", "The filter keeps the dust out.", True),
        ("How much oil does it take?", "1. Open the cap. 2. Pour in the oil.", True),  # a list's numbers are no amount
        ("How far can the lamp reach?", "The lamp reaches 20 volts.", False),  # which unit is left open
        ("Where is the jack?", "The jack lies under the floor.", False),
        ("Where is the jack?", "Check the jack every 3 years.", True),
        ("What does the car cost?", "The car weighs 1500 kg.", True),
        ("What does the car cost?", "The car costs 20,000 euros.", False),
        ("Which oil does it need?", "Use oil of the type 0W-20.", False),
        ("Which dog crate fits?", "Tighten the nuts with 120 Nm.", True),
        ("How do I open the lid?", "Press the button.", False),  # no value is asked for
        ("滤芯多久换一次？", "每12个月更换滤芯。", False),
        ("滤芯多久换一次？", "滤芯用来挡灰尘。", True),
        ("千斤顶在哪里？", "千斤顶的位置：地板下面。", False),
        ("千斤顶在哪里？", "请每年检查千斤顶。", True),
        ("这辆车的售价是多少？", "在手机上核对六位数字。", True),
        ("皮带的型号是什么？", "更换皮带时请使用FH-141。", False),
        ("怎么打开盖子？", "按下按钮。", False),
    ],
)
def test_a_text_without_the_kind_of_value_that_is_asked_for_is_told(question: str, text: str, lacks: bool) -> None:
    assert lacks_value(question, text) is lacks
