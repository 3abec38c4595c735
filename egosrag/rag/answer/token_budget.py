"""The prompt within the token budget: passages, history and question that fit the model's context window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from egosrag.errors import WindowError
from egosrag.models.tokens import context_window, count_tokens
from egosrag.models.traits import traits_of
from egosrag.prompts import load, render
from egosrag.rag.retrieval.search import ScoredPassage
from egosrag.schema import Passage
from egosrag.text.language import one_line
from egosrag.text.sentences import sentence_spans

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

_MIN_PASSAGE = 10  # characters that a truncated passage keeps at least


def compose_prompt(
    model: BaseChatModel,
    question: str,
    history: Sequence[tuple[str, str]],
    hits: Sequence[ScoredPassage],
    language: str,
    *,
    may_refuse: bool = True,
) -> tuple[list[BaseMessage], list[Passage]]:
    """The messages of the prompt ``answer``, and the passages that are in it.

    What does not fit is left out in this order: passages from the last to the third, history from the oldest turn,
    the second passage, sentences from the end of the first.

    Args:
        model: counts the tokens; its window is counted without the tokens reserved for the reply.
        question: the question as the user asked it.
        history: earlier (question, answer) pairs, oldest first.
        hits: the retrieved passages, best first.
        language: "zh" or "en".
        may_refuse: whether the prompt says how to refuse.

    Raises:
        WindowError: the question alone does not fit.
    """
    budget = context_window(model)
    passages, turns = [hit.passage for hit in hits], list(history)

    def messages() -> list[BaseMessage]:
        return load("answer", language, traits_of(model).prompts).messages(
            passages=render.passages(passages, language),
            history=render.question_history(turns, language),
            question=one_line(question),
            refusal=load("refusal", language).text() if may_refuse else "",
        )

    while count_tokens(model, messages()) > budget:
        if len(passages) > 2:
            passages.pop()
        elif turns:
            turns.pop(0)
        elif len(passages) > 1:
            passages.pop()
        elif passages and (shorter := _truncated(passages[0])):
            passages = [shorter]
        else:
            raise WindowError(
                f"the question does not fit the {budget} tokens that the model's window leaves: ask a shorter one, "
                "or use a model with a larger window"
            )
    return messages(), passages


def _truncated(passage: Passage) -> Passage | None:
    """The passage without its last sentence, or its first half where it is one sentence; None if little is left."""
    spans = sentence_spans(passage.text)
    end = spans[-1][0] if len(spans) > 1 else len(passage.text) // 2
    text = passage.text[:end].rstrip()
    if len(text) < _MIN_PASSAGE:
        return None
    return passage.model_copy(update={"text": text, "end": passage.start + len(text)})
