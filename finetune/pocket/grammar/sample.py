"""One training sample: the prompt's messages as serving renders them, the answer, and the data for its evaluation."""

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
        language: "en" or "zh".
        messages: (chat role, content) pairs; the last is the assistant's, with the prefix as its content ("" for none).
        answer: the continuation of the prefix.
        value: what a correct answer must contain, one value per line.
        spans: earlier answers inside the user message; they are trained on as well.
        sentences: the sentences that the lexical baseline chooses its answer from.
        question: the question, for the lexical baseline; of an extraction the character's name.
        passages: the texts of the manual's passages in the prompt.
    """

    family: str
    language: str
    messages: tuple[tuple[str, str], ...]
    answer: str
    value: str
    spans: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    question: str = ""
    passages: tuple[str, ...] = ()


def prompt_messages(prompt: str, language: str, prefix: str = "", **values: str) -> tuple[tuple[str, str], ...]:
    """The messages of a prompt template as serving renders them, and the assistant's prefix after them."""
    role = {"system": "system", "human": "user"}
    rendered = load(prompt, language, "pocket").messages(**values)
    return (*((role[m.type], str(m.content)) for m in rendered), ("assistant", prefix))


@cache
def table(name: str, language: str) -> dict[str, Any]:
    """The wordings and words in ``tables/NAME.LANGUAGE.yaml``."""
    text = files(__package__).joinpath("tables", f"{name}.{language}.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded
