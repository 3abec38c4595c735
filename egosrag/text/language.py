"""The language of a text, and text as a single line."""

from __future__ import annotations

import re

_SPACES = re.compile(r"\s+")
_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def one_line(text: str) -> str:
    """``text`` with every run of white space as one space, so that it cannot begin a new line of the prompt."""
    return _SPACES.sub(" ", text).strip()


def language_of(text: str) -> str:
    """The language of the prompts for ``text``: "zh" where at least one letter in six is Chinese, else "en"."""
    letters = sum(c.isalpha() for c in text)
    return "zh" if letters and len(_CJK.findall(text)) * 6 >= letters else "en"
