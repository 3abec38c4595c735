"""The backends, one for each model name that is served: the chat model itself, a role, a manual.

Each answers a request as an iterator of text chunks that ends with a :class:`Finish`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from langchain_core.messages import AIMessageChunk, BaseMessage, convert_to_messages

from egosrag import assemble
from egosrag.errors import StoreError
from egosrag.models.continuation import continue_prefix
from egosrag.models.sampling import talk_sampling
from egosrag.models.usage import usage_of
from egosrag.presets import Style
from egosrag.prompts.render import USER
from egosrag.schema import Answer, Reply, Turn, Usage
from egosrag.serve.schema import ApiError, ChatRequest, session_busy
from egosrag.settings import Settings
from egosrag.text.language import language_of

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.rag.answer.engine import ManualEngine

_log = logging.getLogger(__name__)
_FINISH_REASONS = {"length": "length", "interrupted": "length"}  # our stop reasons in OpenAI's words; others: "stop"


class Finish(NamedTuple):
    """The end of an answer.

    Attributes:
        reason: OpenAI's finish reason, "stop" or "length".
        usage: tokens of the answer.
        extra: what is sent under the key ``egosrag`` beside the text.
    """

    reason: str
    usage: Usage
    extra: dict[str, Any]


class Backend(Protocol):
    """Answers the requests for one model name."""

    kind: str

    def answer(self, request: ChatRequest, session: str) -> Iterator[str | Finish]:
        """The text of the answer in chunks, then its end. Closing the iterator stops the generation.

        Args:
            request: the request.
            session: key of the stored conversation that the request continues; empty where the messages are the whole
                history.

        Raises:
            ApiError: the request is invalid for this backend.
            EgosRagError: the answer fails.
        """


class ModelBackend:
    """The chat model without role or manual; a last assistant message is continued where the request asks for it.

    What a request leaves open is sampled as in a conversation.
    """

    kind = "model"

    def __init__(self, model: BaseChatModel, style: Style = "model") -> None:
        self._model = model
        self._style = style

    def answer(self, request: ChatRequest, session: str) -> Iterator[str | Finish]:
        """See :class:`Backend`."""
        last = request.messages[-1]
        if last.role == "assistant" and not (last.prefix or request.continue_final_message):
            message = (
                "the last message is the assistant's: to have it continued, set prefix on it or continue_final_message"
            )
            raise ApiError(400, message, "prefix")
        chosen = request.sampling
        sampling = {**talk_sampling(self._model.bind(**chosen), self._style), **chosen}
        whole = AIMessageChunk(content="")
        *messages, final = _messages(request)
        prefix = str(final.text) if last.role == "assistant" else ""
        messages = messages if prefix else [*messages, final]
        for chunk in continue_prefix(self._model, messages, prefix, stop=request.stop_strings, **sampling):
            whole = whole + chunk
            if text := str(chunk.text):
                yield text
        reason = str(whole.response_metadata.get("finish_reason", "stop"))
        yield Finish(_FINISH_REASONS.get(reason, "stop"), usage_of(whole), {"stop_reason": reason})


class RoleBackend:
    """A role. With a session only the last message is new; without, the messages are the whole conversation."""

    kind = "role"

    def __init__(self, settings: Settings, role: Path, model: BaseChatModel) -> None:
        self._settings, self._role, self._model = settings, role, model
        self._busy_sessions: set[str] = set()
        self._lock = threading.Lock()

    def answer(self, request: ChatRequest, session: str) -> Iterator[str | Finish]:
        """See :class:`Backend`."""
        if request.messages[-1].role != "user":
            raise ApiError(400, "a role answers a user message: let the last message be the user's", "last_message")
        settings = self._settings.model_copy(update={} if session else {"store": ":memory:"})
        setup = assemble.ConversationSetup(earlier=() if session else self._earlier_turns(request))
        name = sha256(f"{session}\0{self._role.name}".encode()).hexdigest()[:32] if session else None
        model = self._with_sampling(request.sampling)
        with (
            self._one_at_a_time(name),
            assemble.conversation(settings, self._role, name, model, setup=setup) as conversation,
        ):
            stream = conversation.stream(request.messages[-1].content)
            try:
                for item in stream:
                    yield _role_finish(item) if isinstance(item, Reply) else item
            finally:
                stream.close()  # type: ignore[attr-defined]

    def _with_sampling(self, sampling: Mapping[str, Any]) -> BaseChatModel:
        """The model with the sampling options of the request, as far as it has such fields."""
        known = {key: value for key, value in sampling.items() if key in type(self._model).model_fields}
        return self._model.model_copy(update=known) if known else self._model

    def _earlier_turns(self, request: ChatRequest) -> tuple[Turn, ...]:
        """The messages before the last as turns. System messages are ignored: the card defines the role."""
        from egosrag.roles.files import load_role

        messages = [m for m in request.messages[:-1] if m.role in ("user", "assistant") and m.content.strip()]
        user = USER[language_of("\n".join(m.content for m in request.messages if m.role == "user"))]
        role = load_role(self._role).name
        return tuple(Turn(speaker=user if m.role == "user" else role, text=m.content.strip()) for m in messages)

    @contextmanager
    def _one_at_a_time(self, session: str | None) -> Iterator[None]:
        """Refuse a second request for a session that is still answering."""
        if session is None:
            yield
            return
        with self._lock:
            if session in self._busy_sessions:
                raise session_busy()
            self._busy_sessions.add(session)
        try:
            yield
        finally:
            with self._lock:
                self._busy_sessions.discard(session)


class ManualBackend:
    """Indexed documents: the last message is the question, the earlier ones its history.

    A rebuilt index is reopened at the next question; questions that come in meanwhile are answered from the old one.
    """

    kind = "manual"

    def __init__(self, settings: Settings, index: str, model: BaseChatModel) -> None:
        self._open: Callable[[], ManualEngine] = lambda: assemble.manual(settings, index=index, model=model)
        self._index = index
        self._engine = self._open()
        self._reopening = threading.Lock()

    def _current_engine(self) -> ManualEngine:
        if self._reopening.acquire(blocking=False):
            try:
                if not self._engine.index.is_current(self._index):
                    self._engine = self._open()
            except StoreError as error:  # a build that is not finished, or no database: the next question tries again
                _log.warning("%s", error)
            finally:
                self._reopening.release()
        return self._engine

    def answer(self, request: ChatRequest, session: str) -> Iterator[str | Finish]:
        """See :class:`Backend`."""
        if request.messages[-1].role != "user":
            raise ApiError(400, "a manual answers a question: let the last message be the user's", "last_message")
        for item in self._current_engine().stream(request.messages[-1].content, _question_history(request)):
            if isinstance(item, Answer):
                fields = {"refused", "citations", "mode", "queries", "evidence", "sentences"}
                yield Finish("stop", item.usage, item.model_dump(include=fields))
            else:
                yield item


def _role_finish(reply: Reply) -> Finish:
    extra = {
        "speaker": reply.speaker,
        "stop_reason": reply.stop_reason,
        "ledger": reply.ledger.model_dump(),
        "evidence": [evidence.model_dump() for evidence in reply.evidence],
    }
    return Finish(_FINISH_REASONS.get(reply.stop_reason, "stop"), reply.usage, extra)


def _question_history(request: ChatRequest) -> list[tuple[str, str]]:
    """The earlier messages as (question, answer) pairs."""
    pairs: list[tuple[str, str]] = []
    question = ""
    for message in request.messages[:-1]:
        if message.role == "user":
            question = message.content
        elif message.role == "assistant" and question:
            pairs.append((question, message.content))
            question = ""
    return pairs


def _messages(request: ChatRequest) -> Sequence[BaseMessage]:
    roles = {"developer": "system"}
    return convert_to_messages([(roles.get(m.role, m.role), m.content) for m in request.messages])
