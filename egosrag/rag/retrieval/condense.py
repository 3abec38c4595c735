"""A follow-up question made to stand alone before retrieval (report 6.3.4: query rewriting).

A question stands alone unless it points back (it, that, 它, 那) or names too little of the manual by itself.
The model rewrites it with the prompt ``condense``; what it writes is used only where it stays in the language
and keeps to words of the question, the history and the manual. Otherwise the last question is put before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from egosrag.prompts import load
from egosrag.prompts.render import question_history
from egosrag.rag.answer.draft import refuses
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.schema import Usage
from egosrag.text.language import language_of, one_line
from egosrag.text.words import without_question_words, words

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage

History = Sequence[tuple[str, str]]
_CLIP = 300  # characters of a turn that the rewriting reads: it must fit a small window
_ANSWER = 200  # characters of the last answer that are searched for too

_POINTS_BACK = re.compile(
    r"[它其此]|^那|那(?:么|个|怎|要|能|是|如果)|这(?:个|种|样|时|些|项|里)|上述|前者|后者|刚才|之后呢|呢[？?]?$|还有(?:别的|其他)"
    r"|\b(?:it|its|they|them|their|that|those|this|these|one|ones|there|then|else|same|another)\b"
    r"|^(?:and|but|so|what about|how about|why|how long|how much|how many|how often|when|where)\b.{0,24}$",
    re.IGNORECASE,
)


class Condenser:
    """Makes follow-ups stand alone, with a model or without."""

    def __init__(self, index: ManualIndex, model: BaseChatModel | None = None) -> None:
        self._index = index
        self._model = model

    def stands_alone(self, question: str) -> bool:
        """Whether the question can be searched without what was said before."""
        if _POINTS_BACK.search(one_line(question)):
            return False
        known = self._index.lexical["pages-words"]
        named = {w for w in words(without_question_words(question)) if len(w) > 1 and known.knows(w)}
        return len(named) >= 2

    def with_answer(self, question: str, history: History) -> str:
        """What finds a follow-up best without a model: the last question, its answer and this question.

        The answer is in the manual's words and the user's are not. Owners' follow-ups to the sample manuals, the right
        page first: 24 of 24, without the answer 9. It only finds: it says nothing of whether there is an answer.
        """
        if not history or self.stands_alone(question):
            return question
        asked, answer = history[-1]
        told = "" if refuses(answer) else one_line(answer)[:_ANSWER]
        return " ".join(part for part in (one_line(asked), told, one_line(question)) if part)

    def condense(self, question: str, history: History) -> tuple[str, Usage]:
        """The question to search for, and the tokens that it took to make it.

        Args:
            question: the last question.
            history: earlier (question, answer) pairs, oldest first.
        """
        if not history or self.stands_alone(question):
            return question, Usage()
        rewritten, usage = self._rewrite(question, history) if self._model else ("", Usage())
        return rewritten or f"{one_line(history[-1][0])} {one_line(question)}", usage

    def prompt(self, question: str, history: History) -> list[BaseMessage]:
        """The messages that ask the model to rewrite the question, from the last two turns."""
        language = language_of(question)
        turns = [(one_line(q)[:_CLIP], one_line(a)[:_CLIP]) for q, a in history[-2:]]
        return load("condense", language).messages(
            history=question_history(turns, language), question=one_line(question)[:_CLIP]
        )

    def _rewrite(self, question: str, history: History) -> tuple[str, Usage]:
        """What the model makes of the question; empty where it cannot be trusted."""
        assert self._model is not None
        message = self._model.invoke(self.prompt(question, history))
        text = one_line(str(message.text))
        if not 2 <= len(text) <= 4 * len(question) + 120 or language_of(text) != language_of(question):
            return "", usage_of(message)
        said = set(words(" ".join([question, *(part for turn in history[-2:] for part in turn)])))
        told = words(without_question_words(text))
        sound = any(w in said for w in told) and sum(w not in said for w in told) <= 2
        return (text if sound else ""), usage_of(message)


def usage_of(message: AIMessage) -> Usage:
    """The tokens that a model's message says it took; zeros where it does not say."""
    told = message.usage_metadata
    if not told:
        return Usage()
    cached = (told.get("input_token_details") or {}).get("cache_read") or 0
    return Usage(prompt_tokens=told["input_tokens"], completion_tokens=told["output_tokens"], cached_tokens=cached)
