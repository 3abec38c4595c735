"""What is served under a name: the chat model itself, a role, or a manual. Each answers a request piece by piece."""

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
from egosrag.prompts.render import USER
from egosrag.schema import Answer, Reply, Turn, Usage
from egosrag.serve.schema import Asked, Refused
from egosrag.settings import Settings
from egosrag.text.language import language_of

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.rag.answer.engine import ManualEngine

_log = logging.getLogger(__name__)
_REASONS = {"length": "length", "interrupted": "length"}


class Done(NamedTuple):
    """The end of an answer: why it ended, as OpenAI says it, its tokens, and what is told beside the text."""

    reason: str
    usage: Usage
    extra: dict[str, Any]


class Served(Protocol):
    """Answers requests under one name."""

    kind: str

    def answer(self, asked: Asked, session: str) -> Iterator[str | Done]:
        """The pieces of the answer and its end. Closing the iterator stops the work.

        Args:
            asked: the request.
            session: whose lasting conversation it belongs to; empty where the messages are the whole history.

        Raises:
            Refused: the request cannot be answered so.
            EgosRagError: the work fails.
        """


class Plain:
    """The chat model as it is; a last assistant message is continued where the request says so."""

    kind = "model"

    def __init__(self, model: BaseChatModel) -> None:
        self._model = model

    def answer(self, asked: Asked, session: str) -> Iterator[str | Done]:
        """See :class:`Served`."""
        last = asked.messages[-1]
        if last.role == "assistant" and not (last.prefix or asked.continue_final_message):
            told = "the last message is the assistant's: mark it with prefix, or send continue_final_message"
            raise Refused(400, told, "prefix")
        whole: AIMessageChunk | None = None
        for piece in self._model.stream(_messages(asked), stop=asked.stops or None, **asked.sampling):
            whole = piece if whole is None else whole + piece
            if text := str(piece.text):
                yield text
        meta = dict(whole.response_metadata) if whole is not None else {}
        reason = str(meta.get("finish_reason", "stop"))
        yield Done(_REASONS.get(reason, "stop"), _usage(whole), {"stop_reason": reason})


class Played:
    """A role: in a lasting session the last line alone is new; else the messages are the whole conversation."""

    kind = "role"

    def __init__(self, settings: Settings, role: Path, model: BaseChatModel) -> None:
        self._settings, self._role, self._model = settings, role, model
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def answer(self, asked: Asked, session: str) -> Iterator[str | Done]:
        """See :class:`Served`."""
        if asked.messages[-1].role != "user":
            raise Refused(400, "a role answers a user's line: let the last message be the user's", "last_message")
        line, sampling = asked.messages[-1].content, asked.sampling
        settings = self._settings.model_copy(update={} if session else {"store": ":memory:"})
        setup = assemble.ConversationSetup(earlier=() if session else self._turns(asked))
        name = sha256(f"{session}\0{self._role.name}".encode()).hexdigest()[:32] if session else None
        with (
            self._alone(name),
            assemble.conversation(settings, self._role, name, self._tuned(sampling), setup=setup) as talk,
        ):
            pieces = talk.stream(line)
            try:
                for piece in pieces:
                    if isinstance(piece, Reply):
                        extra: dict[str, Any] = {"speaker": piece.speaker, "stop_reason": piece.stop_reason}
                        extra["ledger"] = piece.ledger.model_dump()
                        extra["evidence"] = [found.model_dump() for found in piece.evidence]
                        yield Done(_REASONS.get(piece.stop_reason, "stop"), piece.usage, extra)
                    else:
                        yield piece
            finally:
                pieces.close()  # type: ignore[attr-defined]

    def _tuned(self, sampling: Mapping[str, Any]) -> BaseChatModel:
        known = {key: value for key, value in sampling.items() if key in type(self._model).model_fields}
        return self._model.model_copy(update=known) if known else self._model

    def _turns(self, asked: Asked) -> tuple[Turn, ...]:
        """The earlier messages as turns; what a client has as system prompt is the card's to say."""
        from egosrag.roles.files import load_role

        said = [m for m in asked.messages[:-1] if m.role in ("user", "assistant") and m.content.strip()]
        user = USER[language_of("\n".join(m.content for m in asked.messages if m.role == "user"))]
        role = load_role(self._role).name
        return tuple(Turn(speaker=user if m.role == "user" else role, text=m.content.strip()) for m in said)

    @contextmanager
    def _alone(self, session: str | None) -> Iterator[None]:
        if session is None:
            yield
            return
        with self._lock:
            if session in self._busy:
                raise Refused(409, "this session is still answering: wait for its reply", "session_busy", retry_after=1)
            self._busy.add(session)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(session)


class Manual:
    """Indexed documents: the last message is the question, the earlier ones its history.

    An index that was built anew is opened anew by the first question after it; others go on with the old one meanwhile.
    """

    kind = "manual"

    def __init__(self, settings: Settings, place: str, model: BaseChatModel) -> None:
        self._open: Callable[[], ManualEngine] = lambda: assemble.manual(settings, index=place, model=model)
        self._place = place
        self._engine = self._open()
        self._looking = threading.Lock()

    def _newest(self) -> ManualEngine:
        if self._looking.acquire(blocking=False):
            try:
                if not assemble.is_current(self._engine.index, self._place):
                    self._engine = self._open()
            except StoreError as error:  # of a build that is not whole, or a database that is away: the next one looks
                _log.warning("%s", error)
            finally:
                self._looking.release()
        return self._engine

    def answer(self, asked: Asked, session: str) -> Iterator[str | Done]:
        """See :class:`Served`."""
        if asked.messages[-1].role != "user":
            raise Refused(400, "a manual answers a question: let the last message be the user's", "last_message")
        for piece in self._newest().stream(asked.messages[-1].content, _history(asked)):
            if isinstance(piece, Answer):
                told = piece.model_dump(include={"refused", "citations", "mode", "queries", "evidence", "sentences"})
                yield Done("stop", piece.usage, told)
            else:
                yield piece


def _history(asked: Asked) -> list[tuple[str, str]]:
    """The earlier questions with their answers."""
    found: list[tuple[str, str]] = []
    question = ""
    for message in asked.messages[:-1]:
        if message.role == "user":
            question = message.content
        elif message.role == "assistant" and question:
            found.append((question, message.content))
            question = ""
    return found


def _messages(asked: Asked) -> Sequence[BaseMessage]:
    roles = {"developer": "system"}
    return convert_to_messages([(roles.get(m.role, m.role), m.content) for m in asked.messages])


def _usage(message: AIMessageChunk | None) -> Usage:
    told = message.usage_metadata if message is not None else None
    if not told:
        return Usage()
    cached = (told.get("input_token_details") or {}).get("cache_read") or 0
    return Usage(prompt_tokens=told["input_tokens"], completion_tokens=told["output_tokens"], cached_tokens=cached)
