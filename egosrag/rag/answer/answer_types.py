"""What kind of thing a question asks for, and what a sentence that tells it looks like (Chinese and English).

A rule names no manual and no question: it goes by the question word and by units, positions and codes.
"""

from __future__ import annotations

import re

_MEASURE = r"\d[\d.,]*\s*"
_WORDS = "one|two|three|four|five|six|seven|eight|nine|ten"
_NUMBER = rf"\d|[一二两三四五六七八九十百]+(?:[个种挡级次年月天只把部座])|\b(?:{_WORDS})\b"
_LIST_NUMBER = re.compile(r"(?:^|(?<=\s))\d{1,2}[.、)](?=\s)")
_ANY_NUMBER = re.compile(_NUMBER, re.IGNORECASE)
_TIME = (
    rf"(?:\d|[一二两三四五六七八九十半]|\b(?:{_WORDS}|a|an))[\d.,\s]*个?"
    r"(?:秒|分|小时|天|日|周|月|年|seconds?|minutes?|hours?|days?|weeks?|months?|years?)"
)


def _kind(asked: str, told: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    return re.compile(asked, re.IGNORECASE), re.compile(told, re.IGNORECASE)


# What kind of value a question asks for, and what a sentence that tells it looks like.
_PLACE = _kind(
    r"哪里|哪儿|什么(?:位置|地方)|哪个位置|在哪|哪一?[边侧]|\bwhere\b|\bwhich side\b",
    r"位于|位置|在[^，。]{1,14}(?:[里内上下后前左右侧处]|旁边?|中间|底部|方)"
    r"|\b(?:under|behind|beside|left|right|below|above|inside|next to|near|between|(?:in|on|at) the)\b",
)
_COUNT = _kind(
    r"多少|几[^乎]|多[久长高远重大宽深快]|\bhow (?:many|much|long|far|high|often|fast|big|old|large|heavy)\b"
    r"|\b(?:what|which) (?:size|number|amount)\b",
    _NUMBER + r"|\b(?:once|twice)\b",
)
_PRICE = _kind(
    r"多少钱|售价|价格|价钱|\bcosts?\b|\bprices?\b|\bexpensive\b|\bhow cheap\b",
    _MEASURE + r"(?:元|块|美元|欧元|euros?|dollars?|yuan|cents?)|[$€£¥￥]\s*\d",
)
_MEASURES = (
    _kind(r"压力|胎压|\bpressure\b", _MEASURE + r"(?:bar|kPa|psi|巴|千帕)"),
    _kind(r"温度|多[热冷]|几度|\btemperature\b|\bhow (?:hot|cold)\b", _MEASURE + r"(?:°|℃|摄氏度|度|degrees)"),
    _kind(r"速度|车速|多快|\bspeeds?\b|\bhow fast\b", _MEASURE + r"(?:km/h|mph|公里每小时|千米/小时|公里/小时)"),
    _kind(r"扭矩|力矩|\btorque\b", _MEASURE + r"(?:Nm|N·m|牛米|牛·米)"),
    _kind(r"多重|重量|载重|\bweighs?\b|\bweight\b|\bhow heavy\b|\bload\b", _MEASURE + r"(?:kg|t\b|公斤|千克|吨)"),
    _kind(
        r"多[远长高宽深]|距离|高度|深度|\bhow (?:far|long|high|deep|wide)\b|\b(?:distance|height|depth|length|width)\b",
        _MEASURE + r"(?:[kcm]?m\b|met|kilomet|centimet|毫米|厘米|公里|千米|米)",
    ),
    _kind(r"容量|容积|加多少|多大空间|\bhow much\b|\bhow large\b", _MEASURE + r"(?:l\b|lit|升)"),
    _kind(
        r"多久|多长时间|几(?:秒|分钟|小时|天|个?月|年)|什么时候|何时"
        r"|\bhow (?:long|often|old)\b|\bwhen (?:do|does|is|are|must|should)\b",
        _TIME + r"|\d\s*(?:km|公里|千米)|\bevery\b|每",
    ),
)
_TYPE = _kind(
    r"型号|规格|什么牌|哪[种款]|\bwhich\b|\b(?:what|which) (?:type|kind|model|sort)\b",
    r"型号|规格|标号|\btype\b|(?-i:(?<![A-Za-z])[A-Z]{1,4}[- ]?\d)|\b\d+W-\d+|\d/\d",
)
_VALUES = (_PLACE, _COUNT, _PRICE, *_MEASURES, _TYPE)
# As much of what is no value; many answers do without.
_MANNERS = (
    _kind(
        r"什么是|是什么|作用|什么用|\bwhat (?:is|are|does)\b",
        r"是|用于|用来|可以|可在|能够|帮助|\bis an?\b|\bhelps?\b|\bused\b|\bmeans?\b",
    ),
    _kind(
        r"怎样|怎么|如何|\bhow (?:do|can|should|is|are|to)\b|\bwhat should i do\b",
        r"^\s*(?:\d{1,2}[.、)]\s*)?(?:按|拉|转|把|用|将|推|打开|选择|点击|踩|松开|向[上下左右前后]|先"
        r"|(?:press|pull|push|turn|hold|lift|open|close|choose|touch|adjust|move|put|lay|replace|remove|clean|check"
        r"|to \w+)\b)",
    ),
)

_FORBIDS = re.compile(r"切勿|请勿|严禁|禁止|不要|不得|\b(?:never|do not|don't|must not)\b", re.IGNORECASE)
_ASKS_LEAVE = re.compile(
    r"能不能|能否|可否|可不可以|可以|允许|什么时候不|不能|不要|为什么|注意|危险|警告|[能会].*[吗么]"
    r"|\b(?:may|can|should|allowed|must|not|never|why|warn\w*|danger\w*|careful|safe\w*)\b",
    re.IGNORECASE,
)


def kinds_told(question: str) -> list[re.Pattern[str]]:
    """The patterns that an answer to ``question`` has; none where the question does not say what it wants."""
    return [told for asked, told in (*_VALUES, *_MANNERS) if asked.search(question)]


def lacks_value(question: str, text: str) -> bool:
    """Whether ``question`` asks for a place, a number or a type, and ``text`` has none; in what unit is left open."""
    wanted = [kind for kind in _VALUES if kind[0].search(question)]
    telling = [told for _, told in wanted]
    if _PRICE in wanted:
        telling = [_PRICE[1]]
    elif any(kind in wanted for kind in _MEASURES):
        telling.append(_ANY_NUMBER)
    text = _LIST_NUMBER.sub("", text)
    return bool(wanted) and not any(told.search(text) for told in telling)


def only_forbids(question: str, sentence: str) -> bool:
    """Whether ``sentence`` forbids something where the question asks neither for leave nor for dangers."""
    return bool(_FORBIDS.search(sentence)) and not _ASKS_LEAVE.search(question)
