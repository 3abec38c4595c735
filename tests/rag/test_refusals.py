"""Refusals are recognised by what they are about: the manual or the speaker, and no fact of the manual."""

from __future__ import annotations

import pytest

from egosrag.rag.refusals import is_refusal


@pytest.mark.parametrize(
    "text",
    [
        "The manual does not say.",
        "No, the manual does not say.",
        "The passages do not mention a roof tent.",
        "The provided text doesn't contain the answer.",
        "The price is not specified in the manual.",
        "The answer is not in the passages.",
        "Not mentioned.",
        "There is no information about it.",
        "The question cannot be answered from the passages.",
        "I don't know.",
        "I'm sorry, I cannot help.",
        "手册中没有说明。",
        "手册未提及天窗。",
        "段落中没有提到这一点。",
        "手册中并没有说明如何打开天窗。",
        "没有相关信息。",
        "无法确定。",
        "我不知道。",
        "抱歉，我不知道。",
    ],
)
def test_a_text_that_says_that_there_is_no_answer_is_a_refusal(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "If the light does not go out, do not drive on.",
        "The kit does not contain a jack.",
        "It does not mention the speed when muted.",
        "You cannot answer calls while the screen is locked.",
        "The car has no answer-back horn.",
        "The belt is not provided for children.",
        "Do not open it when the engine is hot.",
        "车辆没有提供备胎。",
        "备胎没有说明的标签。",
        "如果指示灯没有熄灭，请勿继续行驶。",
        "系统无法确定位置时，会显示提示。",
        "不知道密码时，请联系经销商。",
    ],
)
def test_a_negative_fact_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)
