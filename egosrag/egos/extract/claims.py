"""Checks the names and numbers of a statement about a role against its evidence.

A statement may paraphrase its evidence, but not add a name or a number: a model that invents one invents a fact.
"""

from __future__ import annotations

import re

from egosrag.text.language import language_of
from egosrag.text.named_items import chinese_names, missing_items
from egosrag.text.names import mention_pattern
from egosrag.text.numbers import CHINESE_DIGITS, number_values, spelled_numbers

_WORD = re.compile(r"[A-Za-z][A-Za-z]*(?:['’\-][A-Za-z]+)*")
_FOREIGN = re.compile(r"[\u4e00-\u9fff]{1,6}(?:[·•][\u4e00-\u9fff]{1,6})+")  # 杰伊·盖茨比
_BEGINS = re.compile(r"(?:^|[.!?…:;。！？：；\n]|[\"“‘'(（])\s*$")
_AGE = re.compile(r"\b(?:years? old|aged)\b|岁", re.IGNORECASE)
_AGE_EVIDENCE = re.compile(r"\b(?:old|aged?|born|birthday|turn(?:s|ed)?)\b|岁|生于|出生", re.IGNORECASE)
# Words that may be capitalised at the beginning of a statement although its evidence lacks them.
_OPENER_WORDS = """
a an the he she they it his her their its i you we my our this that these those there in on at as by for from with
without after before during since while when where who whose which what and but or so if not no one once now then
both all some many most often always never usually sometimes also very is was are were be been being has had have
having does did do can could will would may might must should lives lived living works worked working likes liked
loves loved hates hated fears feared wants wanted enjoys enjoyed speaks spoke speaking talks talked talking uses
used using says said tells told gives gave takes took makes made keeps kept owns owned runs ran knows knew thinks
thought feels felt believes believed comes came goes went grew grows born known called named mr mrs ms dr
"""
OPENERS = frozenset(_OPENER_WORDS.split())


def unsupported_claims(statement: str, name: str, quote: str, context: str) -> list[str]:
    """The names, numbers and ages of ``statement`` that ``quote`` lacks.

    Args:
        statement: a statement about the role.
        name: the role's name, which needs no support.
        quote: the evidence.
        context: the text around the evidence: a word that occurs there in lower case is not a name.
    """
    named = mention_pattern(name)
    claims = named.sub(" ", statement)
    values = number_values(quote)
    lost = [item for item in missing_items([claims], quote) if CHINESE_DIGITS.get(item, item) not in values]
    names = _unsupported_english_names(statement, named, quote, context)
    age = _AGE.search(statement)
    if age and not _AGE_EVIDENCE.search(quote):  # "eleven years of salt and letters" is no age
        lost.append(age.group())
    return [*lost, *names, *_unsupported_numbers(claims, quote), *_unsupported_chinese_names(claims, quote)]


def _unsupported_english_names(statement: str, named: re.Pattern[str], quote: str, context: str) -> list[str]:
    """Capitalised words that ``quote`` lacks; one that begins a sentence may be an ordinary word."""
    own = [match.span() for match in named.finditer(statement)]
    known = {word.casefold() for word in _WORD.findall(quote)}
    known |= {word.removesuffix("'s").removesuffix("’s") for word in known}
    is_english = language_of(statement) == "en"
    lost = []
    for match in _WORD.finditer(statement):
        word = match.group()
        low = word.casefold().removesuffix("'s").removesuffix("’s")
        if not word[0].isupper() or low in known or low in ("i", "mr", "mrs", "ms", "dr", "miss"):
            continue
        if any(start <= match.start() < end for start, end in own):
            continue
        begins = is_english and _BEGINS.search(statement[: match.start()])
        if begins and (low in OPENERS or _is_ordinary(low, quote, context)):
            continue
        lost.append(word)
    return lost


def _is_ordinary(low: str, quote: str, context: str) -> bool:
    """Whether a capitalised word is not a name: it is in lower case in the context, or inflects a word of the quote."""
    if re.search(rf"\b{re.escape(low)}\b", context):
        return True
    return len(low) > 4 and re.search(rf"\b{re.escape(low[: max(4, len(low) - 3)])}", quote) is not None


def _unsupported_numbers(claims: str, quote: str) -> list[str]:
    """Numbers in words, and Chinese numbers without a unit, that ``quote`` lacks."""
    have = number_values(quote)
    return [
        written
        for written, value in spelled_numbers(claims)
        if value not in have and (written.isascii() or written not in quote)
    ]


def _unsupported_chinese_names(claims: str, quote: str) -> list[str]:
    """Chinese names that ``quote`` lacks: those written with a dot, and words that jieba tags as names."""
    lost = [match.group() for match in _FOREIGN.finditer(claims) if match.group() not in quote]
    runs = re.findall(r"[\u4e00-\u9fff]{2,}", claims)
    if lost or all(run[i : i + 2] in quote for run in runs for i in range(len(run) - 1)):
        return lost  # nothing that could be a new name: no need to load the dictionary
    return [name for name in chinese_names(claims) if name not in quote]
