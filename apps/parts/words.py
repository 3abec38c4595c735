"""The words of the pages, a file for each language."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

LANGUAGES = {"en": "English", "zh": "中文"}
FOLDER = Path(__file__).parent / "words"


class Words:
    """The texts of one language: ``words("pages.manual")``, with ``{name}`` filled in by keywords."""

    def __init__(self, language: str) -> None:
        self._sections = sections(language)

    def __call__(self, key: str, **values: Any) -> str:
        """The text of ``key``, "section.name"; one that is missing is a mistake of ours and raises KeyError."""
        section, _, name = key.partition(".")
        text = self._sections[section][name]
        return text.format(**values) if values else text


@cache
def sections(language: str) -> dict[str, dict[str, str]]:
    """All texts of a language, by section and name."""
    found: dict[str, dict[str, str]] = yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return found
