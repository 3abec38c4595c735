"""The backends, one for each model name that is served: the chat model itself, a role, a manual.

Each answers a request as an iterator of text chunks that ends with a :class:`Finish`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from langchain_core.messages import AIMessageChunk, BaseMessage, convert_to_messages

from egosrag import assemble
from egosrag.caller import check_cancelled
from egosrag.limits import LINE_CHARACTERS, TOKEN_SESSIONS
from egosrag.models.continuation import continue_prefix
from egosrag.models.sampling import call_sampling
from egosrag.models.streaming import StopFilter
from egosrag.models.tokens import count_tokens
from egosrag.models.usage import usage_of
from egosrag.presets import Style
from egosrag.prompts.render import USER
from egosrag.schema import Answer, AnswerProgress, Reply, Turn, Usage
from egosrag.serve.responses import ApiError, session_busy
from egosrag.serve.schema import ChatRequest, Message
from egosrag.sessions.store import head_of, open_store, session_count
from egosrag.settings import Settings
from egosrag.text.language import language_of

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


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

    def answer(self, request: ChatRequest, session: str) -> Iterator[AnswerProgress | str | Finish]:
        """The pages found where they are wanted, the text of the answer in chunks, then its end.

        Closing the iterator stops the generation.

        Args:
            request: the request.
            session: key of the stored conversation that the request continues, the client's token and its name with a
                null character between; empty where the messages are the whole history.

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
        last = request.answered()[-1]
        if last.role == "assistant" and not (last.prefix or request.continue_final_message):
            message = (
                "the last message is the assistant's: to have it continued, set prefix on it or continue_final_message"
            )
            raise ApiError(400, message, "prefix", param="messages")
        sampling: dict[str, Any] = {**call_sampling(self._model, self._style, request.sampling)}
        whole = AIMessageChunk(content="")
        *messages, final = _messages(request)
        prefix = str(final.text) if last.role == "assistant" else ""
        messages = messages if prefix else [*messages, final]
        for chunk in continue_prefix(self._model, messages, prefix, stop=request.stop, **sampling):
            whole = whole + chunk
            if text := str(chunk.text):
                yield text
        reason = str(whole.response_metadata.get("finish_reason", "stop"))
        yield Finish(_FINISH_REASONS.get(reason, "stop"), usage_of(whole), {"stop_reason": reason})


class RoleBackend:
    """A role. With a session only the user's last message is new; without, the messages are the whole conversation."""

    kind = "role"

    def __init__(self, settings: Settings, role: Path, model: BaseChatModel) -> None:
        self._settings, self._role, self._model = settings, role, model
        self._names: dict[str, str] = {}  # of stored sessions that were looked up already
        self._busy_sessions: set[str] = set()
        self._lock = threading.Lock()

    def answer(self, request: ChatRequest, session: str) -> Iterator[str | Finish]:
        """See :class:`Backend`."""
        line, earlier = request.question()
        _check_length(request.messages)
        settings = self._settings.model_copy(update={} if session else {"store": ":memory:"})
        setup = assemble.ConversationSetup(
            earlier=() if session else self._earlier_turns(line, earlier),
            sampling={**request.sampling, "stop": request.stop} if request.stop else request.sampling,
        )
        with self._one_at_a_time(session):
            name = self._stored_name(settings, session) if session else None
            with (
                assemble.conversation(settings, self._role, name, self._model, setup=setup) as conversation,
                closing(conversation.stream(line)) as stream,  # type: ignore[type-var]
            ):
                check_cancelled()  # the line of a client that has left already would follow its next one
                for item in stream:
                    yield _role_finish(item) if isinstance(item, Reply) else item

    def _stored_name(self, settings: Settings, session: str) -> str:
        """The name under which a session is stored, which begins with a hash of its token.

        Raises:
            ApiError: the session would be a new one, and the token has as many as it may have.
        """
        if session in self._names:
            return self._names[session]
        owner = sha256(session.partition("\0")[0].encode()).hexdigest()[:16]
        name = sha256(f"{session}\0{self._role.name}".encode()).hexdigest()[:32]
        with open_store(settings.session_store) as store:
            if not head_of(store, name):  # else one of a version that did not count the sessions of a token
                name = f"{owner}-{name}"
            if not head_of(store, name) and session_count(store, f"{owner}-") >= TOKEN_SESSIONS:
                message = f"there are {TOKEN_SESSIONS} sessions already: continue one of them"
                raise ApiError(403, message, "too_many_sessions")
        while len(self._names) >= TOKEN_SESSIONS:
            self._names.pop(next(iter(self._names)), None)
        self._names[session] = name
        return name

    def _earlier_turns(self, line: str, messages: Sequence[Message]) -> tuple[Turn, ...]:
        """The messages before the last as turns. System messages are ignored: the card defines the role."""
        from egosrag.roles.files import load_role

        spoken = [m for m in messages if m.role in ("user", "assistant")]
        user = USER[language_of("\n".join([*(m.content for m in spoken if m.role == "user"), line]))]
        role = load_role(self._role).name
        return tuple(Turn(speaker=user if m.role == "user" else role, text=m.content.strip()) for m in spoken)

    @contextmanager
    def _one_at_a_time(self, session: str) -> Iterator[None]:
        """Refuse a second request for a session that is still answering."""
        if not session:
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
    """Indexed documents: the user's last message is the question, the earlier messages its history.

    A stream whose options have ``include_sources`` begins with the pages found.
    """

    kind = "manual"

    def __init__(self, settings: Settings, index: str, model: BaseChatModel) -> None:
        self._manual = assemble.CurrentManual(settings, index, model)
        self._model = model

    def answer(self, request: ChatRequest, session: str) -> Iterator[AnswerProgress | str | Finish]:
        """See :class:`Backend`."""
        question, earlier = request.question()
        _check_length(request.messages)
        engine, tokens = self._manual.engine, request.sampling.get("max_new_tokens")
        limited = _LimitedText(self._model, request.stop, tokens)
        sources = request.stream and request.stream_options and request.stream_options.include_sources
        with closing(engine.stream(question, _question_history(earlier), max_new_tokens=tokens)) as stream:  # type: ignore[type-var]
            for item in stream:
                if isinstance(item, Answer):
                    fields = {"refused", "citations", "mode", "queries", "evidence", "sentences"}
                    if rest := limited.finish():
                        yield rest
                    yield Finish(limited.reason, item.usage, item.model_dump(include=fields))
                elif isinstance(item, AnswerProgress):
                    if sources and item.step == "found":
                        yield item
                elif text := limited.feed(item):
                    yield text


class _LimitedText:
    """A text that ends before the first stop string, and after so many tokens.

    Args:
        model: its tokenizer counts.
        stops: the stop strings.
        tokens: the limit; None for none.

    Attributes:
        reason: OpenAI's finish reason, "stop" or "length".
    """

    def __init__(self, model: BaseChatModel, stops: Sequence[str], tokens: int | None) -> None:
        self.reason = "stop"
        self._model, self._tokens = model, tokens
        self._stop = StopFilter(stops)
        self._text = ""

    def feed(self, text: str) -> str:
        """The part of the next piece that is within the limits."""
        return self._within(self._stop.feed(text))

    def finish(self) -> str:
        """At the end: what was held back because it might have become a stop string."""
        return self._within(self._stop.finish())

    def _within(self, text: str) -> str:
        if self.reason == "length":
            return ""
        while self._tokens and text and (used := count_tokens(self._model, self._text + text)) > self._tokens:
            self.reason = "length"
            text = text[: min(len(text) * self._tokens // used, len(text) - 1)]
        self._text += text
        return text


def _check_length(messages: Sequence[Message]) -> None:
    """Refuse a message that is far longer than any context window, before anything is counted."""
    for message in messages:
        if len(message.content) > LINE_CHARACTERS:
            where = f"messages.{message.place}"
            raise ApiError(
                400,
                f"{where}: the message has {len(message.content):,} characters: send at most {LINE_CHARACTERS:,}",
                "context_length_exceeded",
                param=where,
            )


def _role_finish(reply: Reply) -> Finish:
    extra = {
        "speaker": reply.speaker,
        "stop_reason": reply.stop_reason,
        "ledger": reply.ledger.model_dump(),
        "evidence": [evidence.model_dump() for evidence in reply.evidence],
    }
    return Finish(_FINISH_REASONS.get(reply.stop_reason, "stop"), reply.usage, extra)


def _question_history(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """The earlier messages as (question, answer) pairs."""
    pairs: list[tuple[str, str]] = []
    question = ""
    for message in messages:
        if message.role == "user":
            question = message.content
        elif message.role == "assistant" and question:
            pairs.append((question, message.content))
            question = ""
    return pairs


def _messages(request: ChatRequest) -> Sequence[BaseMessage]:
    roles = {"developer": "system"}
    return convert_to_messages([(roles.get(m.role, m.role), m.content) for m in request.answered()])
