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
from egosrag.prompts.render import language_of, one_line, question_history
from egosrag.rag.index import ManualIndex
from egosrag.rag.lexical import content, words

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

History = Sequence[tuple[str, str]]

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
        named = {w for w in words(content(question)) if len(w) > 1 and known.knows(w)}
        return len(named) >= 2

    def standalone(self, question: str, history: History) -> str:
        """The question to search for.

        Args:
            question: the last question.
            history: earlier (question, answer) pairs, oldest first.
        """
        if not history or self.stands_alone(question):
            return question
        rewritten = self._rewrite(question, history) if self._model else ""
        return rewritten or f"{one_line(history[-1][0])} {one_line(question)}"

    def prompt(self, question: str, history: History) -> list[BaseMessage]:
        """The messages that ask the model to rewrite the question."""
        language = language_of(question)
        return load("condense", language).messages(
            history=question_history(history, language), question=one_line(question)
        )

    def _rewrite(self, question: str, history: History) -> str:
        """What the model makes of the question; empty where it cannot be trusted."""
        assert self._model is not None
        text = one_line(str(self._model.invoke(self.prompt(question, history[-2:]), max_new_tokens=96).text))
        if not 2 <= len(text) <= 4 * len(question) + 120 or language_of(text) != language_of(question):
            return ""
        said = set(words(" ".join([question, *(part for turn in history[-2:] for part in turn)])))
        new = [w for w in words(content(text)) if w not in said]
        keeps = any(w in said for w in words(content(text)))
        return text if keeps and len(new) <= 2 else ""
