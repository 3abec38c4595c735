"""Questions about a role over the chapters of a story, each answered in one sentence.

Of a chapter a small model lists what comes first and invents the rest; asked for one thing at a time it finds more, and
a promise or a fear that is said in the middle of a dialogue. The questions are those of the prompt's own examples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from langchain_core.runnables import RunnableConfig

from egosrag.egos.extract.dialogue import role_lines
from egosrag.models.continuation import written_lines
from egosrag.prompts import load
from egosrag.text.language import language_of, one_line
from egosrag.text.names import mention_pattern

CHAPTER_PASSAGES = 4  # a chapter, which the model reads for each question, is as long as so many passages
_EXAMPLE = {"en": "Otto Finn", "zh": "方守一"}  # the person in the prompt's examples
_NOTHING = re.compile(r"\W*(?:none|unknown|not (?:stated|mentioned)|无|没有说|不知道)\b", re.IGNORECASE)
_CALLS = re.compile(r"\bcalls?\b.*?[\"“](?P<en>[^\"”]+)[\"”]|[叫称].*?[\"“「](?P<zh>[^\"”」]+)[\"”」]")


def questions(language: str, name: str, prompts: str = "") -> list[str]:
    """The questions about ``name``.

    Args:
        language: "en" or "zh".
        name: the role's name.
        prompts: the set of prompts of the model.
    """
    examples = load("questions", language, prompts).messages(source="", question="")
    lines = [str(message.content).splitlines()[-1] for message in examples[1:-1] if message.type == "human"]
    return [line.replace(_EXAMPLE[language], name) for line in lines]


def answers(model: Any, text: str, name: str, prompts: str = "", config: RunnableConfig | None = None) -> Iterator[str]:
    """The model's answers about ``name`` from a chapter, one after the other, without those that say nothing.

    Args:
        model: the chat model.
        text: the chapter.
        name: the role's name.
        prompts: the set of prompts of the model.
        config: LangChain's configuration of the run.
    """
    language = language_of(text)
    template = load("questions", language, prompts)
    for question in questions(language, name, prompts):
        written = written_lines(model, template.messages(source=text, question=question), config=config, repeats=2)
        answer = one_line(next(iter(written), ""))
        if mention_pattern(name).search(answer) and not _NOTHING.match(answer):
            yield answer


def form_of_address(statement: str, name: str, text: str) -> tuple[int, int] | None:
    """Where the role addresses somebody by the word that ``statement`` quotes ('Juno calls the surveyor "cargo"').

    Args:
        statement: an answer.
        name: the role's name.
        text: what was read.

    Returns:
        The place (start, end) of the role's line in ``text``; None if the statement says nothing of the kind, or if no
        line has such a word between marks, as a form of address has.
    """
    match = _CALLS.search(statement)
    if match is None:
        return None
    word = (match.group("en") or match.group("zh")).strip(" ,.，。")
    address = re.compile(rf"(?:^|[,，.。!！?？]\s*){re.escape(word)}\s*(?:[,，.。!！?？]|$)", re.IGNORECASE)
    for line in role_lines([("", text)], name, limit=10_000):
        (place,) = line.evidence
        if address.search(place.quote):
            return place.start, place.end
    return None
