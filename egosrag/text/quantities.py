"""Quantities: the numbers of Chinese and English text with sign, range, tolerance and unit, however they are written.

"10 000 km", "10,000 km" and "1万公里" are equal; "three to five seconds" is "3-5 s"; "零下30摄氏度" is "-30 °C". A
range, a tolerance ("2.3 ± 0.1 bar") and a size ("10 × 20 mm") are one quantity. Codes ("5W-30") are read as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from egosrag.text.units import SYMBOL, UNIT, canonical_unit

_SPACE = "[ \u00a0\u2009\u202f]"
_VULGAR = {"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8"}
_DIGITS = (
    rf"\d{{1,3}}(?:{_SPACE}\d{{3}})+(?![\d])(?!\.\d{{4}})"  # 10 000
    r"|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?!\d)"  # 2023-05-08
    r"|\d{1,2}:\d{2}(?::\d{2})?(?!\d)"  # 12:30
    r"|\d+(?:[.,'’]\d+)*(?:/\d+(?:[.,]\d+)*)*"  # 2,5 and 60,000 and 3/4 and 215/55
)
_CHINESE = r"[零〇一二两三四五六七八九十][零〇一二两三四五六七八九十百千万亿]*(?:点[零〇一二三四五六七八九]+)?"
_WORDS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORD_VALUES = {
    **{word: value for value, word in enumerate(re.split(" ", _WORDS), 1)},
    **{word: 10 * value for value, word in enumerate(re.split(" ", _TENS), 2)},
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "万": 10_000, "亿": 100_000_000}
_WORD = "|".join([*_WORD_VALUES, *_SCALES, "a dozen", "dozen"])
_ENGLISH = rf"\b(?:(?:a{_SPACE})?(?:{_WORD})(?:(?:-|{_SPACE}(?:and{_SPACE})?)(?:{_WORD}))*)\b"
# Minus signs are written in several ways; one after a letter or a digit is a hyphen or the mark of a range.
_SIGN = rf"(?:(?<![\w%°℃)）])[-−–](?=\.?\d)|零下\s*|负(?=[\d零一二两三四五六七八九十])|\bminus{_SPACE}+)"
_NUMBER = re.compile(
    rf"(?P<sign>{_SIGN})?(?P<ordinal>第)?(?:(?P<percent>百分之)|(?P<under>{_CHINESE}|\d+)分之)?"
    rf"(?:(?<![A-Za-z\d_.])(?P<digits>{_DIGITS})(?P<power>[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]*)(?P<vulgar>[{''.join(_VULGAR)}])?"
    rf"|(?P<fraction>[{''.join(_VULGAR)}])|(?P<chinese>{_CHINESE})|(?P<half>半(?=个?{UNIT})|\bhalf\b)|(?P<english>{_ENGLISH}))"
    rf"(?P<scale>\s?[万亿](?!一)|{_SPACE}(?:thousand|million)\b)?(?:\s*(?P<unit>个?{UNIT}|{SYMBOL}(?![A-Za-z])))?",
    re.IGNORECASE,
)
_CODE = re.compile(r"(?<![A-Za-z\d])(?=[A-Za-z\d/.-]*[A-Za-z])(?=[A-Za-z/.-]*\d)[A-Za-z\d]+(?:[-/.][A-Za-z\d]+)*")
_RANGE = re.compile(r"\s*(?:[-–—−~～]|至|到|\bto\b|\bthrough\b|\.\.\.?|…)\s*", re.IGNORECASE)
_AND = re.compile(r"\s*(?:and|和|与)\s*", re.IGNORECASE)
_BETWEEN = re.compile(r"\bbetween\s*$", re.IGNORECASE)
_TOLERANCE = re.compile(r"\s*(?:±|\+/-|\+-|[（(]±)\s*")
_SIZE = re.compile(r"\s*[×✕xX*]\s*")
_AT_LEAST = re.compile(
    r"(?:at least|(?:no|not) (?:less|lower|fewer|smaller) than|minimum(?: of)?|\bmin\b\.?|more than|\bover|\babove"
    r"|exceed(?:s|ing)?|greater than|longer than|higher than|至少|最少|最低|超过|高于|大于|多于)[^\d。.;；]{0,6}$",
    re.IGNORECASE,
)
_NOT_LESS = re.compile(r"不[得能应要]?(?:少|低|小)于[^\d。.;；]{0,6}$")
_AT_MOST = re.compile(
    r"(?:at most|(?:no|not) (?:more|higher|longer|greater) than|(?:not?|never) exceed|up to|maximum(?: of)?|\bmax\b\.?"
    r"|less than|\bunder|\bbelow|\bwithin|lower than|shorter than|fewer than|最多|至多|最高|最大|低于|小于|少于"
    r"|切勿超过|不[得能应要]?(?:超过|高于|大于|多于|超出))[^\d。.;；]{0,6}$",
    re.IGNORECASE,
)
_OR_MORE = re.compile(r"\s*(?:及以上|以上|或更[高多长]|or (?:more|higher|above|longer|later))", re.IGNORECASE)
_OR_LESS = re.compile(r"\s*(?:及以下|以下|以内|之内|内(?!部)|or (?:less|lower|below|fewer))", re.IGNORECASE)
_CHINESE_VALUES = {numeral: value for value, numeral in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_CHINESE_SCALES = {"十": 10, "百": 100, "千": 1000}


class Quantity(NamedTuple):
    """A number with its unit, or a range, a tolerance, a size, or a code.

    Attributes:
        values: one value, or the ends of a range, or a value and its tolerance; canonical, as ``-0.5``.
        kind: "" for one value, else "range", "tolerance", "size" or "code".
        unit: canonical; empty where there is none.
        bound: ">" for a lower limit, "<" for an upper one, else empty.
        start: offset of the quantity in the text.
        end: offset of its end, the unit included.
        readings: other readings of an ambiguous single value: "1.500" may be 1500.
    """

    values: tuple[str, ...]
    kind: str
    unit: str
    bound: str
    start: int
    end: int
    readings: tuple[str, ...] = ()


def quantities(text: str) -> list[Quantity]:
    """The quantities of a text, in order."""
    found = list(_single(text))
    joined: list[Quantity] = []
    for quantity in found:
        last = joined[-1] if joined else None
        kind = _relation(text, last, quantity) if last else ""
        if last and kind:
            unit = quantity.unit or last.unit
            values = (*last.values, *quantity.values)
            joined[-1] = last._replace(values=values, kind=kind, unit=unit, end=quantity.end, readings=())
        else:
            joined.append(quantity)
    return [quantity._replace(bound=_bound(text, quantity)) for quantity in joined]


def without_quantities(text: str) -> str:
    """The text without its quantities."""
    parts, end = [], 0
    for quantity in quantities(text):
        parts.append(text[end : quantity.start])
        end = quantity.end
    return " ".join([*parts, text[end:]])


def _relation(text: str, last: Quantity, quantity: Quantity) -> str:
    """How two neighbouring numbers are one quantity: "range", "tolerance" or "size"; empty where they are two."""
    if "code" in (last.kind, quantity.kind) or (last.unit and quantity.unit and last.unit != quantity.unit):
        return ""
    between = text[last.end : quantity.start]
    if _TOLERANCE.fullmatch(between) and not last.kind:
        return "tolerance"
    if _SIZE.fullmatch(between) and last.kind in ("", "size"):
        return "size"
    is_range = _RANGE.fullmatch(between) or (
        _AND.fullmatch(between) and (_BETWEEN.search(text[: last.start]) or text[quantity.end :].startswith("之间"))
    )
    return "range" if is_range and not last.kind and (quantity.unit or not last.unit or "之间" in text) else ""


def _single(text: str) -> Iterator[Quantity]:
    """Codes and single numbers, in order."""
    at = 0
    while at < len(text):
        code, number = _CODE.search(text, at), _NUMBER.search(text, at)
        if code and (not number or code.start() <= number.start("digits") or code.start() <= number.start()):
            # "12V" and "30min" are numbers with their units.
            if number and number["unit"] and number.start() <= code.start() and number.end() >= code.end():
                code = None
            else:
                yield Quantity((code.group().casefold(),), "code", "", "", code.start(), code.end())
                at = code.end()
                continue
        if not number:
            return
        quantity = _read(number)
        if quantity:
            yield quantity
            at = quantity.end
        else:
            at = max(number.end(), at + 1) if number["chinese"] else number.start() + max(1, len(number.group()))


def _read(match: re.Match[str]) -> Quantity | None:
    """The quantity of a match; None for numerals that only look like a number, as in 一起 and "one of them"."""
    unit = canonical_unit((match["unit"] or "").removeprefix("个")) if match["unit"] != "个" else "个"
    readings: tuple[str, ...] = ()
    if match["digits"]:
        value, readings = _digits(match["digits"])
        if match["vulgar"] and value.isdecimal():
            value = _decimal(int(value) + Fraction(_VULGAR[match["vulgar"]]))
        value += match["power"]
    elif match["fraction"]:
        value = _decimal(Fraction(_VULGAR[match["fraction"]]))
    elif match["half"]:
        value = "0.5"
    elif match["chinese"]:
        number = chinese_number(match["chinese"])
        certain = unit or match["ordinal"] or match["percent"] or match["under"] or match["sign"]
        following = _RANGE.match(match.string, match.end())
        ranged = bool(following and re.match(rf"{_CHINESE}\s*个?{UNIT}", match.string[following.end() :]))
        # 一 is part of many words, and 一个 is an article.
        article = match["chinese"] == "一" and unit in ("", "个", "种", "条") and not match["under"]
        if article or not (certain or ranged):
            return None
        value = _decimal(number)
    else:
        words = match["english"].casefold()
        if words == "one" and not unit:
            return None
        value = str(_english(words))
    if match["under"]:
        below = int(match["under"]) if match["under"].isdecimal() else chinese_number(match["under"])
        value = _decimal(Fraction(value) / below) if below else value
    if match["percent"]:
        unit = "%"
    if match["scale"]:
        factor = {"万": 10_000, "亿": 100_000_000}.get(match["scale"].strip(), 0) or _SCALES[
            match["scale"].strip().lower()
        ]
        value = _decimal(Fraction(value) * factor) if re.fullmatch(r"[\d.]+", value) else value
    if match["sign"]:
        value = f"-{value}"
        readings = tuple(f"-{reading}" for reading in readings)
    if match["ordinal"]:
        value = f"#{value}"
    end = match.end() if match["unit"] else match.end("scale") if match["scale"] else match.end()
    return Quantity((value,), "", unit, "", match.start(), end, readings)


def _digits(text: str) -> tuple[str, tuple[str, ...]]:
    """The canonical value of digits, and other readings of it."""
    text = re.sub(rf"{_SPACE}|['’]", "", text)
    if re.fullmatch(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}:\d{2}(?::\d{2})?", text):
        return text, ()
    if "/" in text:
        above, _, below = text.partition("/")
        is_fraction = above.isdecimal() and below.isdecimal() and 0 < int(above) < int(below) <= 16
        return (_decimal(Fraction(int(above), int(below))) if is_fraction else text), ()
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text):
        return _decimal(Fraction(text.replace(",", ""))), ()
    if re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+", text):
        return _decimal(Fraction(text.replace(".", "").replace(",", "."))), ()
    if re.fullmatch(r"\d+,\d+", text):
        return _decimal(Fraction(text.replace(",", "."))), ()
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        thousands = (text.replace(".", ""),) if re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", text) else ()
        return _decimal(Fraction(text)), thousands
    return text, ()  # a section number, such as 3.2.1


def _decimal(value: Fraction | int) -> str:
    """A value as a decimal number without trailing zeros; periodic ones to six digits."""
    fraction = Fraction(value)
    if fraction.denominator == 1:
        return str(fraction.numerator)
    exact = Decimal(fraction.numerator) / Decimal(fraction.denominator)
    return f"{exact:.6f}".rstrip("0") if abs(exact) < 1_000_000 else str(exact)


def chinese_number(text: str) -> Fraction:
    """The value of a Chinese numeral, such as 一百二十 or 二点五."""
    whole, _, decimals = text.partition("点")
    total = section = digit = 0
    if len(whole) > 1 and all(numeral in _CHINESE_VALUES for numeral in whole):  # 二〇二五
        total = int("".join(str(_CHINESE_VALUES[numeral]) for numeral in whole))
    else:
        for numeral in whole:
            if numeral in _CHINESE_VALUES:
                digit = _CHINESE_VALUES[numeral]
            elif numeral in _CHINESE_SCALES:
                section += (digit or 1) * _CHINESE_SCALES[numeral]
                digit = 0
            else:
                total, section, digit = (total + section + digit) * (10_000 if numeral == "万" else 100_000_000), 0, 0
        total += section + digit
    places = "".join(str(_CHINESE_VALUES[numeral]) for numeral in decimals)
    return Fraction(f"{total}.{places}") if places else Fraction(total)


def _english(words: str) -> int:
    total = section = 0
    for word in re.findall("[a-z]+", words):
        if word in _WORD_VALUES:
            section += _WORD_VALUES[word]
        elif word == "hundred":
            section = (section or 1) * 100
        elif word in _SCALES:
            total, section = total + (section or 1) * _SCALES[word], 0
        elif word == "dozen":
            section = (section or 1) * 12
    return total + section


def _bound(text: str, quantity: Quantity) -> str:
    """Whether a quantity is a lower or an upper limit."""
    before = text[max(0, quantity.start - 40) : quantity.start]
    if _NOT_LESS.search(before):
        return ">"
    if _AT_MOST.search(before) or _OR_LESS.match(text, quantity.end):
        return "<"
    return ">" if _AT_LEAST.search(before) or _OR_MORE.match(text, quantity.end) else ""
