"""Which language a text is written in, and text as a single line."""

from __future__ import annotations

import re

_SPACES = re.compile(r"\s+")
_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def one_line(text: str) -> str:
    """``text`` with every run of white space as one space, so that it cannot open a line of the prompt."""
    return _SPACES.sub(" ", text).strip()


def language_of(text: str) -> str:
    """The prompt language that fits ``text``: "zh" from one Chinese character in six letters on, else "en"."""
    letters = sum(c.isalpha() for c in text)
    return "zh" if letters and len(_CJK.findall(text)) * 6 >= letters else "en"
