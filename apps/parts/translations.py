"""The texts of the pages, one YAML file for each language in ``locales``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

LANGUAGES = {"en": "English", "zh": "中文"}
FOLDER = Path(__file__).parent / "locales"


class Translations:
    """The texts of one language: ``t("pages.manual")``, with ``{name}`` filled in from keyword arguments."""

    def __init__(self, language: str) -> None:
        self._sections = sections(language)

    def __call__(self, key: str, **values: Any) -> str:
        """The text of ``key``, "section.name".

        Raises:
            KeyError: the locale file has no such key, which is a bug.
        """
        section, _, name = key.partition(".")
        text = self._sections[section][name]
        return text.format(**values) if values else text


@cache
def sections(language: str) -> dict[str, dict[str, str]]:
    """All texts of a language, by section and name."""
    texts: dict[str, dict[str, str]] = yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return texts
