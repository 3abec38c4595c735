"""Whether a text tells given facts: exact wordings, found without a model, in Chinese and English."""

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


def plain(text: str) -> str:
    """``text`` in one width and case, with one kind of dash and of blank, and no commas inside numbers."""
    # NFKC would turn a square sign into a plain 2: powers keep their meaning as ^2.
    text = text.translate(_DASHES).replace("²", "^2").replace("³", "^3")
    return _THOUSANDS.sub("", _BLANK.sub(" ", unicodedata.normalize("NFKC", text).casefold()))


def told(text: str, wordings: Iterable[str]) -> bool:
    """Whether at least one of the wordings stands in ``text``.

    Latin words count as whole words, or with any ending where the wording ends in ``*``; a number counts where it is
    no part of a longer one; blanks inside a formula do not matter.
    """
    said = plain(text)
    return any(_pattern(wording).search(said) for wording in wordings)


def all_told(text: str, facts: Sequence[Sequence[str]], *, final: bool = False) -> bool:
    """Whether ``text`` tells every fact: one wording of each group.

    With ``final`` the last number of the text has to be it, so that a number on the way does not count; a text
    without any digit may say it in words.
    """
    numbers = _NUMBER.findall(plain(text)) if final else []
    return all(told(numbers[-1] if numbers else text, group) for group in facts)


@cache
def _pattern(wording: str) -> re.Pattern[str]:
    stem = wording.endswith("*") and len(wording) > 1
    word = plain(wording.rstrip("*") if stem else wording).strip()
    start = rf"(?<![{_LATIN}])" if re.match(rf"[{_LATIN}]", word) else r"(?<![\d.])" if word[:1].isdigit() else ""
    if re.search(rf"[{_LATIN}]\Z", word):
        end = "" if stem else rf"(?![{_LATIN}])"
    else:
        end = r"(?!\d|\.\d|/\d)" if word[-1:].isdigit() else ""
    formula = any(sign in word for sign in "+-=^()/\\")
    pieces = [re.escape(c) for c in word.replace(" ", "")] if formula else [re.escape(word)]
    return re.compile(start + r"\s*".join(pieces) + end)
