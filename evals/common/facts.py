"""Whether a text contains given facts: exact wordings, matched without a model, in Chinese and English."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

_DASHES = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2011": "-"})
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_BLANK = re.compile(r"\s+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LATIN = "a-z\u00c0-\u024f"


def normalized(text: str) -> str:
    """``text`` in NFKC and lower case, with one kind of dash and of blank, and no commas inside numbers."""
    # NFKC turns a superscript 2 into a 2: powers keep their meaning as ^2.
    text = text.translate(_DASHES).replace("²", "^2").replace("³", "^3")
    return _THOUSANDS.sub("", _BLANK.sub(" ", unicodedata.normalize("NFKC", text).casefold()))


def contains(text: str, wordings: Iterable[str]) -> bool:
    """Whether ``text`` contains at least one of the wordings.

    Latin words match as whole words, or with any ending when the wording ends in ``*``; a number matches when it is
    not a part of a longer number; blanks inside a formula do not matter.
    """
    searched = normalized(text)
    return any(_pattern(wording).search(searched) for wording in wordings)


def contains_all(text: str, facts: Sequence[Sequence[str]], *, final: bool = False) -> bool:
    """Whether ``text`` contains every fact: at least one wording of each group.

    Args:
        text: The answer.
        facts: Groups of wordings, see :func:`contains`.
        final: The last number of the text has to be the fact, so that an intermediate result does not count; a text
            without any digit may have it in words.
    """
    numbers = _NUMBER.findall(normalized(text)) if final else []
    return all(contains(numbers[-1] if numbers else text, group) for group in facts)


@cache
def _pattern(wording: str) -> re.Pattern[str]:
    stem = wording.endswith("*") and len(wording) > 1
    word = normalized(wording.rstrip("*") if stem else wording).strip()
    start = rf"(?<![{_LATIN}])" if re.match(rf"[{_LATIN}]", word) else r"(?<![\d.])" if word[:1].isdigit() else ""
    if re.search(rf"[{_LATIN}]\Z", word):
        end = "" if stem else rf"(?![{_LATIN}])"
    else:
        end = r"(?!\d|\.\d|/\d)" if word[-1:].isdigit() else ""
    formula = any(sign in word for sign in "+-=^()/\\")
    parts = [re.escape(c) for c in word.replace(" ", "")] if formula else [re.escape(word)]
    return re.compile(start + r"\s*".join(parts) + end)
