"""Messages of errors in the language of the page: the library writes them in English, this is how they are said else.

``messages.zh.yaml`` has a pattern for each message that a visitor of the pages may see; ``{name}`` stands for what is
inserted there, and is translated itself where it is a message or a part of one. A test finds every message in the
source that has no pattern.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import yaml

_INSERTED = re.compile(r"\{(\w+)\}")


def translated(message: str, language: str) -> str:
    """A message in ``language``; where there is no translation, the English one after a sentence that says so."""
    if language == "en" or not message:
        return message
    return _in_language(message, language) or _translations(language)[1].format(message=message)


def _in_language(message: str, language: str) -> str:
    """The translation of a message or of a part of one; empty where there is none."""
    for pattern, text in _translations(language)[0]:
        if match := pattern.fullmatch(message):
            inserted = {name: _in_language(value, language) or value for name, value in match.groupdict().items()}
            return text.format(**inserted)
    return ""


@cache
def _translations(language: str) -> tuple[list[tuple[re.Pattern[str], str]], str]:
    """The patterns, the one with the most words of its own first, and the text for a message that has none."""
    path = Path(__file__).with_name(f"messages.{language}.yaml")
    texts: dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
    otherwise = texts.pop("otherwise")
    ordered = sorted(texts, key=lambda english: len(_INSERTED.sub("", english)), reverse=True)
    return [(_pattern(english), texts[english]) for english in ordered], otherwise


def _pattern(english: str) -> re.Pattern[str]:
    parts = _INSERTED.split(english)
    return re.compile("".join(f"(?P<{p}>.*?)" if n % 2 else re.escape(p) for n, p in enumerate(parts)), re.DOTALL)
