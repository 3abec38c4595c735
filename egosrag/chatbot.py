"""The plain chatbot (report 5.1): a conversation that the model continues up to its end-of-sequence token.

With history "multiple" each past turn is a message of its own; with "single" the history is put before the question in
one user message, as the report does for models that were trained on single turns.

When the prompt no longer fits the context window, its oldest pairs are left out and counted (``left_out``); a question
that does not fit alone is an error. Role-play with a long memory is ``egosrag.egos``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import Field

from egosrag.errors import SessionError, WindowError
from egosrag.models.continuation import continue_prefix
from egosrag.models.sampling import TalkSampling, talk_sampling
from egosrag.models.tokens import context_window, count_tokens
from egosrag.models.usage import usage_of
from egosrag.prompts import load
from egosrag.prompts.render import question_history
from egosrag.schema import Reply, Timing, Usage
from egosrag.text.language import language_of


class ChatReply(Reply):
    """A reply of the chatbot."""

    left_out: int = Field(default=0, description="oldest pairs that did not fit the context window")


class Chatbot:
    """A conversation with a chat model, kept in memory.

    Args:
        model: any chat model, or a plain LLM.
        system: the system message; the prompt file's, in the language of the first question, when None.
        history: "multiple" or "single".
        sampling: passed to each call; by default what the model's publisher recommends, unless the model has settings
            of its own (:func:`egosrag.models.sampling.talk_sampling`).
    """

    def __init__(
        self,
        model: Any,
        *,
        system: str | None = None,
        history: Literal["multiple", "single"] = "multiple",
        sampling: TalkSampling | None = None,
    ) -> None:
        self.model = model
        self.system = system
        self.history = history
        self.sampling = talk_sampling(model) if sampling is None else sampling
        self.pairs: list[tuple[str, str]] = []

    def say(self, line: str) -> ChatReply:
        """The reply to ``line``.

        Raises:
            SessionError: the line is empty.
            WindowError: the line does not fit the model's window.
            ModelError: the model failed.
        """
        *_, reply = self.stream(line)
        assert isinstance(reply, ChatReply)
        return reply

    def stream(self, line: str) -> Iterator[str | ChatReply]:
        """The reply to ``line`` as it is generated: text, then the ``ChatReply``; errors as ``say``.

        A reply that is not streamed to its end is not part of the history.
        """
        if not line.strip():
            raise SessionError("the line is empty: write what you want to say")
        started, first_s = time.perf_counter(), None
        messages, left_out = self._fitting(line.strip())
        text, reason, usage = "", "", Usage()
        for chunk in continue_prefix(self.model, messages, "", **self.sampling):
            reason = str(chunk.response_metadata.get("finish_reason") or reason)
            usage = usage + usage_of(chunk)
            new = str(chunk.text) if text else str(chunk.text).lstrip()
            if new:
                first_s = first_s or time.perf_counter() - started
                text += new
                yield new
        self.pairs.append((line.strip(), text.strip()))
        yield ChatReply(
            speaker="assistant",
            text=text.strip(),
            stop_reason="length" if reason == "length" else "eos",
            usage=usage,
            timing=Timing(first_token_s=first_s, total_s=time.perf_counter() - started),
            left_out=left_out,
        )

    def messages(self, line: str, pairs: list[tuple[str, str]]) -> list[BaseMessage]:
        """The prompt for ``line`` after ``pairs`` of earlier questions and answers."""
        system = self.system
        if system is None:
            first = self.pairs[0][0] if self.pairs else line
            system = str(load("chat", language_of(first)).messages()[0].text)
        opening: list[BaseMessage] = [SystemMessage(system)] if system else []
        if self.history == "single":
            history = question_history(pairs, language_of(line))
            return [*opening, HumanMessage(f"{history}\n{line}" if history else line)]
        turns: list[BaseMessage] = []
        for question, answer in pairs:
            turns += [HumanMessage(question), AIMessage(answer)]
        return [*opening, *turns, HumanMessage(line)]

    def _fitting(self, line: str) -> tuple[list[BaseMessage], int]:
        """The prompt with the part of the history that fits the context window, and the number of pairs left out."""
        window = context_window(self.model)
        for left_out in range(len(self.pairs) + 1):
            messages = self.messages(line, self.pairs[left_out:])
            size = count_tokens(self.model, messages)
            if size <= window:
                return messages, left_out
        raise WindowError(
            f"the question takes {size} tokens and the model's window holds {window}: shorten it, or use a model with a"
            " longer window"
        )
