"""The memory of a session as middleware of LangChain's ``create_agent``, in place of its ``SummarizationMiddleware``.

That one replaces the messages of the state by whatever the model wrote as a summary: what it left out is lost. Here the
state keeps every message; the prompt shows scenes in place of old ones (:mod:`egosrag.egos.summarize`): what they name,
promise, or say of the user is kept, if need be word for word. A search over the old messages may be added.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple, NotRequired, Required, TypedDict, cast

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime

from egosrag.egos.memory import ASSISTANT, Recall, TurnSearch, assistant_view, tokens_of_turns
from egosrag.egos.step import cached_count
from egosrag.egos.summarize import KEEP_TURNS, Summarize
from egosrag.egos.view import ConversationView
from egosrag.models.tokens import context_window, count_tokens
from egosrag.prompts import render
from egosrag.schema import Scene, Turn
from egosrag.text.language import language_of

CONVERSATION_SHARE = 0.75  # of the model's window: the rest is for the system prompt and the tools
_log = logging.getLogger(__name__)


class _MemoryState(TypedDict):
    """What this middleware reads of the agent's state, and adds to it; the messages are the whole record."""

    messages: Required[Annotated[list[AnyMessage], add_messages]]
    memory_scenes: NotRequired[Annotated[list[dict[str, Any]], PrivateStateAttr]]


class _Group(NamedTuple):
    """Messages that a prompt shows or hides together, a tool call with its results, and what they are as a turn."""

    messages: list[AnyMessage]
    turn: Turn


class SessionMemory(AgentMiddleware[AgentState[Any], Any, Any]):
    """Shows scenes in place of old messages once a conversation outgrows its share of the window.

    ``create_agent(model, tools, middleware=[SessionMemory(model)], checkpointer=...)``

    Args:
        model: the chat model that summarizes; any of LangChain's.
        window: tokens that the conversation may take in a prompt; three quarters of the model's window by default.
        keep_turns: the last messages that stay as they are, where they fit.
        search: retrieves old messages that the user's last one needs, such as
            ``egosrag.rag.retrieval.turn_memory.TurnMemory()``; it serves one conversation.
        notify: receives, in one line, what could not be summarized; the log by default.
    """

    state_schema = cast("type[AgentState[Any]]", _MemoryState)

    def __init__(
        self,
        model: Any,
        *,
        window: int | None = None,
        keep_turns: int = KEEP_TURNS,
        search: TurnSearch | None = None,
        notify: Callable[[str], None] = _log.warning,
    ) -> None:
        super().__init__()
        self._window = window or int(context_window(model) * CONVERSATION_SHARE)
        self._count = cached_count(partial(count_tokens, model))
        self._summarize = Summarize(
            model, self._count, context_window(model), self._fits, keep_turns=keep_turns, notify=notify
        )
        self._recall = Recall(search, self._count, self._window // 5) if search is not None else None

    def before_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """The new scenes of the state, where the conversation has outgrown its share of the window."""
        groups = _groups(state["messages"])
        kept = _valid_scenes(cast("_MemoryState", state).get("memory_scenes") or [], groups)
        view = _view(groups, kept)
        if self._fits(view) and not view.unsummarized_gaps:
            return None
        scenes = view.with_scenes(self._summarize.invoke(view)).scenes
        return {"memory_scenes": [_stored(scene, groups) for scene in scenes]}

    async def abefore_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """:meth:`before_model`, in a thread."""
        return await asyncio.to_thread(self.before_model, state, runtime)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model with the scenes in place of the messages that they summarize."""
        return handler(self._shortened(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """:meth:`wrap_model_call`; the search, if there is one, runs in a thread."""
        return await handler(await asyncio.to_thread(self._shortened, request))

    def _shortened(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        groups = _groups(request.messages)
        state = cast("_MemoryState", request.state)
        view = _view(groups, _valid_scenes(state.get("memory_scenes") or [], groups))
        hidden = {turn_id for scene in view.visible_scenes for turn_id in scene.turn_ids}
        if not hidden:
            return request
        shown = max(n for n, group in enumerate(groups) if group.turn.id in hidden) + 1
        messages = [message for group in groups[shown:] for message in group.messages]
        if recalled := self._recalled(view, groups):
            line = max((n for n, message in enumerate(messages) if isinstance(message, HumanMessage)), default=0)
            messages.insert(line, HumanMessage(recalled))
        summary = HumanMessage(render.scene_block(view.visible_scenes, view.language))
        return request.override(messages=[summary, *messages])

    def _recalled(self, view: ConversationView, groups: Sequence[_Group]) -> str:
        """The old messages that the user's last one needs, as a block of the prompt."""
        said = [n for n, group in enumerate(groups) if isinstance(group.messages[0], HumanMessage)]
        if self._recall is None or not said:
            return ""
        up_to_line = _view(groups[: said[-1] + 1], view.scenes)
        return render.recalled_block([found.turn for found in self._recall.invoke(up_to_line)], view.language)

    def _fits(self, view: ConversationView, share: float = 1.0) -> bool:
        return tokens_of_turns(view, self._count) <= self._window * share


def _groups(messages: Sequence[AnyMessage]) -> list[_Group]:
    """The messages, each result of a tool together with its call."""
    runs: list[list[AnyMessage]] = []
    for message in messages:
        if isinstance(message, ToolMessage) and runs:
            runs[-1].append(message)
        else:
            runs.append([message])
    language = language_of(" ".join(str(run[0].text) for run in runs[:1]))
    return [_Group(run, _turn(run, n, language)) for n, run in enumerate(runs)]


def _turn(messages: Sequence[AnyMessage], number: int, language: str) -> Turn:
    first = messages[0]
    speaker = render.USER[language] if isinstance(first, HumanMessage) else first.name or ASSISTANT[language]
    text = " ".join(text for message in messages if (text := str(message.text).strip()))
    return Turn(id=first.id or str(number), speaker=speaker, text=text)


def _view(groups: Sequence[_Group], scenes: Sequence[Scene]) -> ConversationView:
    return assistant_view([group.turn for group in groups], scenes)


def _stored(scene: Scene, groups: Sequence[_Group]) -> dict[str, Any]:
    return {**scene.model_dump(mode="json"), "of": _digest(scene.turn_ids, groups)}


def _valid_scenes(stored: Sequence[dict[str, Any]], groups: Sequence[_Group]) -> list[Scene]:
    """The scenes whose messages are still in the state, and as they were: an edit removes those of what it changed."""
    scenes = [(Scene.model_validate({k: v for k, v in one.items() if k != "of"}), one["of"]) for one in stored]
    return [scene for scene, digest in scenes if digest == _digest(scene.turn_ids, groups)]


def _digest(ids: Sequence[str], groups: Sequence[_Group]) -> str:
    texts = {group.turn.id: group.turn.text for group in groups}
    text = "\0".join(texts.get(turn_id, "\0missing") for turn_id in ids)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
