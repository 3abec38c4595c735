"""Refusals: the answer that there is no answer, and how such a text is recognised."""

from __future__ import annotations

import re

from egosrag.prompts import load
from egosrag.schema import Answer

_REFUSAL = re.compile(
    r"没有(?:说明|提到|提及|提供|相关|答案)|未(?:提及|说明|提到|提供)|无法(?:回答|确定|得知)|不知道|抱歉"
    r"|do(?:es)? not (?:say|tell|mention|provide|contain|specify)|doesn't (?:say|mention|specify)"
    r"|cannot (?:answer|be answered)"
    r"|not (?:mentioned|specified|stated)|no information|I (?:do not|don't) know|sorry",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether a text says that there is no answer, in Chinese or English."""
    return bool(_REFUSAL.search(text))


def refusal(language: str) -> Answer:
    """The answer of the prompt file ``refusal``: that the manual does not say."""
    return Answer(answer=load("refusal", language).text(), refused=True, mode="refused")
