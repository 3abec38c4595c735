"""Refusals: the answer that there is no answer, and how such a text is recognised."""

from __future__ import annotations

import re

from egosrag.prompts import load
from egosrag.schema import Answer

# A refusal is about the manual or the speaker: "the kit does not contain a jack" is a fact of a manual.
_SOURCE = r"(?:manuals?|passages?|documents?|texts?|context|pages?|sections?|excerpts?|information)"
_SAYING = r"(?:say|tell|mention|provide|contain|specif|state|answer|describe|include|give|cover|explain|indicate|list)"
_SOURCE_ZH = r"(?:手册|说明书|段落|文档|文中|文章|上下文|资料|原文)"
_SAYING_ZH = r"(?:说明|提到|提及|提供|相关|答案|写明|指出|描述|介绍|涉及|给出|回答|确定)"
_REFUSAL = re.compile(
    rf"\b{_SOURCE}\b[^.!?;,]{{0,40}}?\bdo(?:es)?(?: not|n[’']t) (?:\w+ ){{0,2}}?{_SAYING}"
    rf"|\bnot (?:\w+ ){{0,3}}(?:in|by|from) (?:the|this|these|any) (?:\w+ )?{_SOURCE}\b"
    r"|^\W*(?:it is |this is )?not (?:mentioned|specified|stated|provided)\W*$"
    r"|\bno (?:\w+ )?(?:information|mention)\b|\b(?:question|this|it) cannot be (?:answered|determined)"
    r"|\bI (?:do not|don[’']t|cannot|can[’']t) (?:know|answer|find|tell|say)\b|^\W*(?:I(?:[’']| a)m )?sorry\b"
    rf"|{_SOURCE_ZH}[^，。！？；]{{0,12}}[没未无][^，。！？；]{{0,6}}{_SAYING_ZH}"
    rf"|^[并也]?[没未][^，。！？；]{{0,4}}{_SAYING_ZH}[^，。！？；]{{0,8}}\W*$|没有(?:相关的?(?:信息|内容|说明)|答案)"
    r"|^(?:无法(?:回答|确定|得知)|我?不知道)\W*$|抱歉",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether a text says that there is no answer, in Chinese or English."""
    return bool(_REFUSAL.search(text))


def refusal(language: str) -> Answer:
    """The answer of the prompt file ``refusal``: that the manual does not say."""
    return Answer(answer=load("refusal", language).text(), refused=True, mode="refused")


def no_question(language: str) -> Answer:
    """The answer to a greeting or thanks, of the prompt file ``no_question``; a refusal, as it cites nothing."""
    return Answer(answer=load("no_question", language).text(), refused=True, mode="refused")
