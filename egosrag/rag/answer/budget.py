"""Passages, history and question in one prompt that fits the model's window, the answer's room kept free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from egosrag.errors import WindowError
from egosrag.models.tokens import context_window, count_tokens
from egosrag.prompts import load, render
from egosrag.schema import Passage
from egosrag.text.language import one_line
from egosrag.text.sentences import sentence_spans

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage


def fit(
    model: BaseChatModel, question: str, history: Sequence[tuple[str, str]], found: Sequence[Passage], language: str
) -> tuple[list[BaseMessage], list[Passage]]:
    """The prompt ``answer`` and the passages that are in it.

    What does not fit goes in this order: passages from the last to the third, history from the oldest, the second
    passage, sentences from the end of the first.

    Raises:
        WindowError: the question alone does not fit.
    """
    window = context_window(model)  # the room for the reply is left out of it already
    passages, turns = list(found), list(history)

    def messages() -> list[BaseMessage]:
        return load("answer", language).messages(
            passages=render.passages(passages, language),
            history=render.question_history(turns, language),
            question=one_line(question),
            refusal=load("refusal", language).text(),
        )

    while count_tokens(model, messages()) > window:
        if len(passages) > 2:
            passages.pop()
        elif turns:
            turns.pop(0)
        elif len(passages) > 1:
            passages.pop()
        elif passages and (shorter := _shortened(passages[0])):
            passages = [shorter]
        else:
            raise WindowError(
                f"the question does not fit the {window} tokens that the model's window leaves: ask a shorter one, "
                "or use a model with a larger window"
            )
    return messages(), passages


def _shortened(passage: Passage) -> Passage | None:
    """The passage without its last sentence, or its last half where it is one sentence; none when little is left."""
    spans = sentence_spans(passage.text)
    end = spans[-1][0] if len(spans) > 1 else len(passage.text) // 2
    text = passage.text[:end].rstrip()
    if len(text) < 10:
        return None
    return passage.model_copy(update={"text": text, "end": passage.start + len(text)})
