"""Numbers in digits or words, Chinese and English.

:func:`number_values` reads numbers in digits, English words and Chinese numerals, so that 7, seven and 七 are equal;
:func:`spelled_numbers` reads those in words and numerals. Numbers with their units are in ``quantities``.
"""

from __future__ import annotations

import re

# The bullet or the number of a list item at the start of a text, which is no quantity: "- ", "1. ", "（2）", "3 打开".
LIST_MARKER = re.compile(
    r"^\s*(?:[-*•■□]|\d{1,2}[.、)）](?!\d)|[（(]\d{1,2}[)）]|\d{1,2}\s(?=[\u3400-\u9fff])|0\d(?=[\u3400-\u9fff]))\s*"
)
# A number in digits, with its date, time, range, decimals or thousands: 2023-05-08, 12:30, 3/4, 4.6, 60,000.
DIGIT_GROUPS = re.compile(r"\d+(?:[.,:/\-]\d+)*")
# A Chinese numeral that is a number for certain: before a counter (三次), or of two characters or more (十二).
CHINESE_COUNTS = re.compile(
    r"[零〇一二两三四五六七八九十百千万亿]+(?=[年月日号点岁个次天里斤块元])|[零〇一二三四五六七八九十百千万]{2,}"
)
_DECIMALS = re.compile(r"\d+(?:[.,]\d+)*")
_CHINESE_NUMERALS = re.compile("[零〇二两三四五六七八九十百千万亿]+")  # without 一, which is part of too many words

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


def number_values(text: str) -> set[str]:
    """The numbers of a text in digits; 7, seven and 七 are all "7", longer Chinese numerals stay as they are."""
    return set(_DECIMALS.findall(text)) | {value for _, value in spelled_numbers(text)}


def spelled_numbers(text: str) -> list[tuple[str, str]]:
    """The numbers in English words and then those in Chinese numerals, each as written and as :func:`number_values`."""
    words = [(word, _ENGLISH_NUMBERS[word]) for word in _LETTERS.findall(text.casefold()) if word in _ENGLISH_NUMBERS]
    numerals = [(numeral, CHINESE_DIGITS.get(numeral, numeral)) for numeral in _CHINESE_NUMERALS.findall(text)]
    return words + numerals
