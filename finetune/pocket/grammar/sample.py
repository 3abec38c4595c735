"""One training sample: the messages as they are served, the answer, and what of the history teaches too."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

from egosrag.prompts import load


class Sample(NamedTuple):
    """A rendered prompt and its answer.

    Attributes:
        family: "role", "manual", "summarize", "extract" or "condense".
        messages: (chat role, content) pairs; the last is the assistant's, its content the prefix ("" for none).
        answer: what is to be written after the prefix.
        value: what must stand in the answer for it to be right in substance.
        spans: earlier answers inside the user message; they are trained on as well.
        sentences: what a lexical baseline may choose its answer from.
        asked: the question as the baseline sees it.
        passages: the texts of a manual that the prompt shows.
    """

    family: str
    language: str
    messages: tuple[tuple[str, str], ...]
    answer: str
    value: str
    spans: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    asked: str = ""
    passages: tuple[str, ...] = ()


def messages(prompt: str, language: str, prefix: str = "", **values: str) -> tuple[tuple[str, str], ...]:
    """The prompt as it is served, the assistant's prefix behind it."""
    role = {"system": "system", "human": "user"}
    rendered = load(prompt, language).messages(**values)
    return (*((role[m.type], str(m.content)) for m in rendered), ("assistant", prefix))


@cache
def table(name: str, language: str) -> dict[str, Any]:
    """The wordings and words of ``tables/name.language.yaml``."""
    text = files(__package__).joinpath("tables", f"{name}.{language}.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded
