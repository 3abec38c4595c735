"""Messages of errors in the language of the page: the library writes them in English, this is how they are said else.

``messages.zh.yaml`` has a pattern for each message that a visitor of the pages may see; ``{name}`` stands for what is
inserted there.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import yaml


def translated(message: str, language: str) -> str:
    """A message in ``language``; where there is no translation, the English one after a sentence that says so."""
    if language == "en" or not message:
        return message
    patterns, otherwise = _translations(language)
    for pattern, text in patterns:
        if match := pattern.fullmatch(message):
            return text.format(**match.groupdict())
    return otherwise.format(message=message)


@cache
def _translations(language: str) -> tuple[list[tuple[re.Pattern[str], str]], str]:
    path = Path(__file__).with_name(f"messages.{language}.yaml")
    texts: dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
    otherwise = texts.pop("otherwise")
    return [(_pattern(english), text) for english, text in texts.items()], otherwise


def _pattern(english: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", english)
    return re.compile("".join(f"(?P<{p}>.+?)" if n % 2 else re.escape(p) for n, p in enumerate(parts)), re.DOTALL)
