"""Numbers and units in Chinese and English text: quantities for comparison, and numbers in digits or words.

* :func:`quantities` reads "30 min" or "4.6升"; :func:`quantities_supported` compares those of two texts.
* :func:`number_values` reads numbers in digits, English words and Chinese numerals, so that 7, seven and 七 are equal;
  :func:`spelled_numbers` reads those in words and numerals.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# The bullet or the number of a list item at the start of a text, which is no quantity: "- ", "1. ", "（2）", "3 打开".
LIST_MARKER = re.compile(r"^\s*(?:[-*•■□]|\d{1,2}[.、)）](?!\d)|[（(]\d{1,2}[)）]|\d{1,2}\s(?=[\u3400-\u9fff]))\s*")
# A number in digits, with its date, time, range, decimals or thousands: 2023-05-08, 12:30, 3/4, 4.6, 60,000.
DIGIT_GROUPS = re.compile(r"\d+(?:[.,:/\-]\d+)*")
# A Chinese numeral that is a number for certain: before a counter (三次), or of two characters or more (十二).
CHINESE_COUNTS = re.compile(
    r"[零〇一二两三四五六七八九十百千万亿]+(?=[年月日号点岁个次天里斤块元])|[零〇一二三四五六七八九十百千万]{2,}"
)
_DECIMALS = re.compile(r"\d+(?:[.,]\d+)*")
_CHINESE_NUMERALS = re.compile("[零〇二两三四五六七八九十百千万亿]+")  # without 一, which is part of too many words

_UNIT = (
    r"%|‰|℃|°C?|[kKmc]?m²?|mm|km/h|mph|k?g|t|m?[lL]|ml|kPa|MPa|bar|psi|[kM]?W|kWh|[kM]?Hz|V|A|Ah|Nm|N·m|rpm|dB|s|min|h|"
    r"seconds?|minutes?|hours?|days?|weeks?|months?|years?|times?|met(?:er|re)s?|kilomet(?:er|re)s?|centimet(?:er|re)s?|"
    r"lit(?:er|re)s?|degrees?|percent|秒钟?|分钟?|小时|天|日|周|个月|月|年|次|公里|千米|米|厘米|毫米|升|毫升|公斤|千克|克|"
    r"吨|摄氏度|度|巴|千帕|瓦|千瓦|伏|安|牛米|公里每小时|元|挡|档|级|个|种|只|把|条"
)
_QUANTITY = re.compile(rf"(?<![A-Za-z0-9_.])(\d+(?:[.,:]\d+)*)(?:\s*({_UNIT})(?![A-Za-z]))?")
_SAME_UNIT = {
    **{"秒钟": "秒", "分": "分钟", "千米": "公里", "千克": "公斤", "档": "挡", "日": "天"},
    **{"meter": "metre", "kilometer": "kilometre", "centimeter": "centimetre", "liter": "litre"},
}

_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
_SMALL = f"two three four five six seven eight nine {_TEENS}".split()  # "one" is also a pronoun
_ENGLISH_NUMBERS = {
    **{word: str(value) for value, word in enumerate(_SMALL, 2)},
    **{"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90"},
    **{"hundred": "100", "thousand": "1000", "million": "1000000", "dozen": "12"},
}
#: the value in digits of each Chinese numeral of a single character
CHINESE_DIGITS = {digit: str(value) for value, digit in enumerate("零一二三四五六七八九十")} | {"两": "2"}
_LETTERS = re.compile("[a-z]+")


class Quantity(NamedTuple):
    """A number with its unit, both normalised: ``60,000 km`` is ("60000", "km"); the unit may be empty."""

    number: str
    unit: str


def quantities(text: str) -> set[Quantity]:
    """The numbers in digits of a text with their units; the number of a list item at its start is none of them."""
    return {
        Quantity(_normal_number(number), _normal_unit(unit))
        for number, unit in _QUANTITY.findall(LIST_MARKER.sub("", text))
    }


def quantities_supported(text: str, source: str) -> bool:
    """Whether ``source`` contains every quantity of ``text``, with the same unit where both state one.

    "30" is supported by "30 minutes" and the other way round; "30 seconds" is not.
    """
    available = quantities(source)
    numbers = {quantity.number for quantity in available}
    return all(
        quantity in available
        or (Quantity(quantity.number, "") in available if quantity.unit else quantity.number in numbers)
        for quantity in quantities(text)
    )


def number_values(text: str) -> set[str]:
    """The numbers of a text in digits; 7, seven and 七 are all "7", longer Chinese numerals stay as they are."""
    return set(_DECIMALS.findall(text)) | {value for _, value in spelled_numbers(text)}


def spelled_numbers(text: str) -> list[tuple[str, str]]:
    """The numbers in English words and then those in Chinese numerals, each as written and as :func:`number_values`."""
    words = [(word, _ENGLISH_NUMBERS[word]) for word in _LETTERS.findall(text.casefold()) if word in _ENGLISH_NUMBERS]
    numerals = [(numeral, CHINESE_DIGITS.get(numeral, numeral)) for numeral in _CHINESE_NUMERALS.findall(text)]
    return words + numerals


def _normal_number(number: str) -> str:
    return number.replace(",", "").lstrip("0") or "0"


def _normal_unit(unit: str) -> str:
    unit = unit[:-1] if len(unit) > 3 and unit.endswith("s") else unit
    return _SAME_UNIT.get(unit, unit)
