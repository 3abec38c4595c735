"""The static memory of a session as a memory block of LlamaIndex's ``Memory``.

A ``Memory`` hands its blocks the messages that leave its queue. This one keeps scenes of them
(:mod:`egosrag.egos.summarize`): what they name, promise, or say of the user is kept, if need be word for word.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.memory import BaseMemoryBlock
from pydantic import Field, PrivateAttr

from egosrag.egos.memory import ASSISTANT, assistant_view, tokens_of_turns
from egosrag.egos.step import Count, cached_count
from egosrag.egos.summarize import Summarize
from egosrag.egos.view import ConversationView
from egosrag.models.tokens import context_window, count_tokens
from egosrag.prompts import render
from egosrag.schema import Scene, Turn
from egosrag.text.language import language_of

_ASSISTANTS = (MessageRole.ASSISTANT, MessageRole.CHATBOT, MessageRole.MODEL, MessageRole.TOOL, MessageRole.FUNCTION)
_log = logging.getLogger(__name__)


class SessionMemoryBlock(BaseMemoryBlock[str]):
    """Scenes of the messages that left the queue, and the last of these as they were.

    ``Memory.from_defaults(memory_blocks=[SessionMemoryBlock(model=model)])``. A block serves one conversation.
    """

    name: str = "earlier"
    model: Any = Field(exclude=True, description="the LangChain chat model that summarizes")
    tokens: int = Field(600, ge=1, description="of the block, by the tokenizer of ``model``")
    keep_turns: int = Field(2, ge=1, description="the last messages of the block that stay as they were")

    _turns: list[Turn] = PrivateAttr(default_factory=list)
    _scenes: tuple[Scene, ...] = PrivateAttr(())
    _count: Count = PrivateAttr()
    _summarize: Summarize = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Make the step that summarizes."""
        super().model_post_init(context)
        self._count = cached_count(partial(count_tokens, self.model))
        self._summarize = Summarize(
            self.model,
            self._count,
            context_window(self.model),
            self._fits,
            keep_turns=self.keep_turns,
            notify=_log.warning,
        )

    @property
    def turns(self) -> list[Turn]:
        """Every message that left the queue, oldest first."""
        return list(self._turns)

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        view = assistant_view(self._turns, self._scenes)
        scenes = render.scene_block(view.visible_scenes, view.language)
        return "\n".join(filter(None, [scenes, render.transcript(view.visible_turns, view.language)]))

    async def _aput(self, messages: list[ChatMessage]) -> None:
        self._turns += [turn for message in messages if (turn := self._turn(message)).text]
        view = assistant_view(self._turns, self._scenes)
        if not self._fits(view):
            self._scenes += await asyncio.to_thread(self._summarize.invoke, view)

    def _turn(self, message: ChatMessage) -> Turn:
        text = (message.content or "").strip()
        language = language_of(self._turns[0].text if self._turns else text)
        # What a tool answered is a part of what the assistant says, as in the middleware.
        names = {MessageRole.USER: render.USER, **dict.fromkeys(_ASSISTANTS, ASSISTANT)}
        return Turn(speaker=names[message.role][language] if message.role in names else message.role.value, text=text)

    def _fits(self, view: ConversationView, share: float = 1.0) -> bool:
        return tokens_of_turns(view, self._count) <= self.tokens * share
