"""Answer types: the kind of value that a question asks for, and the form of a sentence that contains one.

The rules are for no particular manual or question: they use question words, units, positions and codes, in Chinese and
English.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_AMOUNT = r"\d[\d.,]*\s*"
_NUMBER_WORDS = "one|two|three|four|five|six|seven|eight|nine|ten"
_NUMBER = rf"\d|[一二两三四五六七八九十百]+(?:[个种挡级次年月天只把部座])|\b(?:{_NUMBER_WORDS})\b"
_LIST_NUMBER = re.compile(r"(?:^|(?<=\s))\d{1,2}[.、)](?=\s)")
_ANY_NUMBER = re.compile(_NUMBER, re.IGNORECASE)
_DURATION = (
    rf"(?:\d|[一二两三四五六七八九十半]|\b(?:{_NUMBER_WORDS}|a|an))[\d.,\s]*个?"
    r"(?:秒|分|小时|天|日|周|月|年|seconds?|minutes?|hours?|days?|weeks?|months?|years?)"
)


class _AnswerType(NamedTuple):
    """A pattern of the questions that ask for a type of answer, and one of the sentences that contain it."""

    question: re.Pattern[str]
    answer: re.Pattern[str]


def _answer_type(question: str, answer: str) -> _AnswerType:
    return _AnswerType(re.compile(question, re.IGNORECASE), re.compile(answer, re.IGNORECASE))


_PLACE = _answer_type(
    r"哪里|哪儿|什么(?:位置|地方)|哪个位置|在哪|哪一?[边侧]|\bwhere\b|\bwhich side\b",
    r"位于|位置|在[^，。]{1,14}(?:[里内上下后前左右侧处]|旁边?|中间|底部|方)"
    r"|\b(?:under|behind|beside|left|right|below|above|inside|next to|near|between|(?:in|on|at) the)\b",
)
_COUNT = _answer_type(
    r"多少|几[^乎]|多[久长高远重大宽深快]|\bhow (?:many|much|long|far|high|often|fast|big|old|large|heavy)\b"
    r"|\b(?:what|which) (?:size|number|amount)\b",
    _NUMBER + r"|\b(?:once|twice)\b",
)
_PRICE = _answer_type(
    r"多少钱|售价|价格|价钱|\bcosts?\b|\bprices?\b|\bexpensive\b|\bhow cheap\b",
    _AMOUNT + r"(?:元|块|[美欧日港]元|英镑|euros?|dollars?|yuan|cents?|pounds?|yen|rupees?|RMB|CNY|USD|EUR|GBP|JPY|INR)"
    r"|(?:[$€£¥￥₹₩]|\b(?:RMB|CNY|USD|EUR|GBP|JPY|INR|Rs\.?))\s*\d|免费|\bfree\b|\bno (?:charge|cost)\b",
)
_MEASURES = (
    _answer_type(r"压力|胎压|\bpressure\b", _AMOUNT + r"(?:bar|kPa|psi|巴|千帕)"),
    _answer_type(r"温度|多[热冷]|几度|\btemperature\b|\bhow (?:hot|cold)\b", _AMOUNT + r"(?:°|℃|摄氏度|度|degrees)"),
    _answer_type(r"速度|车速|多快|\bspeeds?\b|\bhow fast\b", _AMOUNT + r"(?:km/h|mph|公里每小时|千米/小时|公里/小时)"),
    _answer_type(r"扭矩|力矩|\btorque\b", _AMOUNT + r"(?:Nm|N·m|牛米|牛·米)"),
    _answer_type(r"多重|重量|载重|\bweighs?\b|\bweight\b|\bhow heavy\b|\bload\b", _AMOUNT + r"(?:kg|t\b|公斤|千克|吨)"),
    _answer_type(
        r"多[远长高宽深]|距离|高度|深度|\bhow (?:far|long|high|deep|wide)\b|\b(?:distance|height|depth|length|width)\b",
        _AMOUNT + r"(?:[kcm]?m\b|met|kilomet|centimet|毫米|厘米|公里|千米|米)",
    ),
    _answer_type(r"容量|容积|加多少|多大空间|\bhow much\b|\bhow large\b", _AMOUNT + r"(?:l\b|lit|升)"),
    _answer_type(
        r"多久|多长时间|几(?:秒|分钟|小时|天|个?月|年)|什么时候|何时"
        r"|\bhow (?:long|often|old)\b|\bwhen (?:do|does|is|are|must|should)\b",
        _DURATION + r"|\d\s*(?:km|公里|千米)|\bevery\b|每",
    ),
)
_MODEL = _answer_type(
    r"型号|规格|什么牌|哪[种款]|\bwhich\b|\b(?:what|which) (?:type|kind|model|sort)\b",
    r"型号|规格|标号|\btype\b|(?-i:(?<![A-Za-z])[A-Z]{1,4}[- ]?\d)|\b\d+W-\d+|\d/\d",
)
# An answer to a question for a value has one; an answer to a question for a definition or instructions may have
# another form.
_VALUES = (_PLACE, _COUNT, _PRICE, *_MEASURES, _MODEL)
_DEFINITION = _answer_type(
    r"什么是|是什么|作用|什么用|\bwhat (?:is|are|does)\b",
    r"是|用于|用来|可以|可在|能够|帮助|\bis an?\b|\bhelps?\b|\bused\b|\bmeans?\b",
)
_INSTRUCTION = _answer_type(
    r"怎样|怎么|如何|\bhow (?:do|can|should|is|are|to)\b|\bwhat should i do\b",
    r"^\s*(?:\d{1,2}[.、)]\s*)?(?:按|拉|转|把|用|将|推|打开|选择|点击|踩|松开|向[上下左右前后]|先"
    r"|(?:press|pull|push|turn|hold|lift|open|close|choose|touch|adjust|move|put|lay|replace|remove|clean|check"
    r"|to \w+)\b)",
)

_PROHIBITION = re.compile(r"切勿|请勿|严禁|禁止|不要|不得|\b(?:never|do not|don't|must not)\b", re.IGNORECASE)
_ASKS_PERMISSION = re.compile(
    r"能不能|能否|可否|可不可以|可以|允许|什么时候不|不能|不要|为什么|注意|危险|警告|[能会].*[吗么]"
    r"|\b(?:may|can|should|allowed|must|not|never|why|warn\w*|danger\w*|careful|safe\w*)\b",
    re.IGNORECASE,
)


_VERDICT = re.compile(
    r"\s*(?:(?P<yes>yes|是的?|可以|能|会|有|对)|no|否|不是|不可以|不能|不会|没有|不行)(?:\s*[,，.。!！;；:：]\s*|\s*$)",
    re.IGNORECASE,
)


class Verdict(NamedTuple):
    """The yes or no that a sentence begins with.

    Attributes:
        text: as a sentence of its own: "Yes." or "可以。".
        positive: whether it is a yes.
        rest: what follows it in the sentence.
    """

    text: str
    positive: bool
    rest: str


def verdict_of(sentence: str) -> Verdict | None:
    """The yes or no that ``sentence`` begins with; None where it begins with neither."""
    if not (match := _VERDICT.match(sentence)):
        return None
    word = match.group().strip(" \n,，.。!！;；:：")
    return Verdict(word + ("." if word.isascii() else "。"), match["yes"] is not None, sentence[match.end() :])


def answer_patterns(question: str) -> list[re.Pattern[str]]:
    """The patterns of sentences with the types of answer that ``question`` asks for; none where it states no type."""
    types = (*_VALUES, _DEFINITION, _INSTRUCTION)
    return [kind.answer for kind in types if kind.question.search(question)]


def lacks_answer_type(question: str, text: str) -> bool:
    """Whether ``question`` asks for a place, a number, a price or a model, and ``text`` contains none.

    A measure may be in another unit than the expected one; a price may not be any other number.
    """
    expected = [kind for kind in _VALUES if kind.question.search(question)]
    patterns = [kind.answer for kind in expected]
    if _PRICE in expected:
        patterns = [_PRICE.answer]
    elif any(kind in expected for kind in _MEASURES):
        patterns.append(_ANY_NUMBER)
    text = _LIST_NUMBER.sub("", text)
    return bool(expected) and not any(pattern.search(text) for pattern in patterns)


def lacks_price(question: str, text: str) -> bool:
    """Whether ``question`` asks for a price and ``text`` contains none."""
    return bool(_PRICE.question.search(question)) and not _PRICE.answer.search(text)


def asks_for_instructions(question: str) -> bool:
    """Whether ``question`` asks how something is done."""
    return bool(_INSTRUCTION.question.search(question))


def only_prohibits(question: str, sentence: str) -> bool:
    """Whether ``sentence`` is a prohibition, and ``question`` asks neither for permission nor for dangers."""
    return bool(_PROHIBITION.search(sentence)) and not _ASKS_PERMISSION.search(question)
