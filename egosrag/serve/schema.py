"""The body of a chat completion request: what this server supports of OpenAI's, as front ends send it.

A null counts as absent, an unknown field is ignored. Of the messages, what cannot be read (images, calls and results of
tools, empty ones) is left out and named in a header of the response. A field that would change the answer's shape, such
as ``n``, is refused by its name.
"""

from __future__ import annotations

import gc
import json
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from egosrag.limits import REQUEST_MESSAGES, REQUEST_PARTS, STOP_CHARACTERS, STOP_STRINGS
from egosrag.serve.responses import ApiError
from egosrag.text.encoding import without_surrogates

LONG_BODY = 100_000
"""Bytes from which a body takes more than a moment to parse."""

_INT32 = 2**31 - 1
_READ_ROLES = ("system", "developer", "user", "assistant")
_TEXT_PARTS = ("text", "input_text", "output_text")
# Fields of OpenAI's that this server does not follow; named in the response where a request sets one.
_NOT_SUPPORTED = (
    "tools", "tool_choice", "functions", "function_call", "response_format", "logit_bias", "presence_penalty",
    "frequency_penalty", "modalities", "audio", "prediction", "web_search_options",
)  # fmt: skip
_REFUSED = ("n", "logprobs", "top_logprobs")  # where they ask for more than this server gives
_COMPOUND = ("messages", "stop", "stream_options")  # the other fields have a single value
_READING = threading.Lock()
_NAMED = 40  # of what is left out
_NAME = re.compile(r"[\w.-]{1,32}", re.ASCII)


class Message(BaseModel):
    """A message of the request, of which only the text is read."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str
    prefix: bool = Field(default=False, description="DeepSeek's flag to continue this last assistant message")
    place: int = Field(default=0, exclude=True, description="its index in the request")


class StreamOptions(BaseModel):
    """Options of a streamed response: OpenAI's, and whether a manual sends the pages found before its answer."""

    include_usage: bool = False
    include_sources: bool = False


class ChatRequest(BaseModel):
    """A chat completion request; :meth:`parse` makes it of a body."""

    model_config = ConfigDict(hide_input_in_errors=True)

    model: str
    messages: list[Message] = Field(max_length=REQUEST_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: list[str] = Field([], max_length=STOP_STRINGS, description="OpenAI's; a single string is a list of one")
    max_tokens: int | None = Field(None, ge=1, le=_INT32)
    max_completion_tokens: int | None = Field(None, ge=1, le=_INT32)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=_INT32, description="not OpenAI's: as vLLM and llama.cpp; 0 for all")
    min_p: float | None = Field(None, ge=0, le=1, description="as top_k")
    repetition_penalty: float | None = Field(None, ge=0.01, le=100, description="as top_k")
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    user: str = Field("", description="names a session only on a server that was started so")
    continue_final_message: bool = Field(False, description="vLLM's flag to continue the last message")
    sent: int = Field(0, exclude=True, description="the number of messages in the body, those left out too")
    unread: list[str] = Field([], exclude=True, description="what of the body was left out, by its place")

    @classmethod
    def parse(cls, body: bytes) -> ChatRequest:
        """Parse and validate a request body.

        A long one is read without the garbage collector, which would look at millions of small objects while they are
        made, and once more afterwards: for seconds, in which no other thread runs.

        Raises:
            ApiError: it is not JSON, or not a chat completion request.
        """
        if len(body) < LONG_BODY:
            return cls._parse(body)
        with _READING:
            was_enabled = gc.isenabled()
            gc.disable()
            try:
                return cls._parse(body)
            finally:
                if was_enabled:
                    gc.enable()

    @classmethod
    def _parse(cls, body: bytes) -> ChatRequest:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            raise ApiError(400, "the body is not JSON: send a chat completion request", "invalid_json") from None
        if not isinstance(value, dict):
            raise ApiError(400, "the body is not a JSON object: send a chat completion request", "invalid_request")
        read = (*cls.model_fields, *_NOT_SUPPORTED, *_REFUSED)
        fields = {name: value[name] for name in read if value.get(name) is not None}
        unread = [name for name in _NOT_SUPPORTED if fields.get(name) and fields[name] not in ("auto", "none", "text")]
        unread = [name for name in unread if fields[name] != {"type": "text"}]  # the default of response_format
        _refuse_unsupported(fields)
        messages = _messages(fields.get("messages"), unread)
        known = {name: fields[name] for name in cls.model_fields if name in fields}
        known |= {
            "sent": len(fields["messages"]),
            "messages": messages,
            "stop": _stops(fields.get("stop")),
            "unread": unread,
        }
        for name in ("max_tokens", "max_completion_tokens", "top_k", "seed"):
            if known.get(name) == -1:  # as llama.cpp and vLLM: no limit, or any seed
                del known[name]
        if not isinstance(known.get("stream_options", {}), dict):
            raise _invalid("stream_options", 'give an object such as {"include_usage": true}')
        if not isinstance(known.get("user", ""), str):
            del known["user"]
        for name in known.keys() - {*_COMPOUND, "sent", "unread"}:
            if isinstance(known[name], dict | list):
                raise _invalid(name, "give one value, and no list or object")
        try:
            request = cls.model_validate({name: _well_formed(field) for name, field in known.items()})
        except (ValidationError, RecursionError) as error:
            if isinstance(error, RecursionError):
                raise _invalid("the request", "it is nested too deeply") from None
            first = error.errors(include_url=False, include_input=False)[0]
            raise _invalid(".".join(map(str, first["loc"])), first["msg"]) from None
        if not request.messages:
            raise request.nothing_to_answer()
        return request

    def question(self) -> tuple[str, list[Message]]:
        """The last message of the user, and the messages before it.

        Raises:
            ApiError: the user has said nothing.
        """
        for at in range(len(self.messages) - 1, -1, -1):
            if self.messages[at].role == "user":
                return self.messages[at].content, self.messages[:at]
        raise self.nothing_to_answer()

    def answered(self) -> list[Message]:
        """The messages up to the one that a model answers, or continues.

        A last message that was left out (an empty line, the result of a tool) leaves the assistant's before it at the
        end: then, as for a role, the last message of the user is answered.
        """
        messages = self.messages
        if messages[-1].role == "assistant" and messages[-1].place + 1 < self.sent:
            while messages and messages[-1].role == "assistant":
                messages = messages[:-1]
        return messages or self.messages

    def left_out(self, kind: str) -> list[str]:
        """What of the request is not part of what is answered, by its place in the body.

        Args:
            kind: of the backend. A role or a manual reads neither system messages nor what follows the user's last one.
        """
        if kind == "model":
            return [*self.unread, *(f"messages.{m.place} (assistant)" for m in self.messages[len(self.answered()) :])]
        last = max((m.place for m in self.messages if m.role == "user"), default=0)
        unused = [m for m in self.messages if m.role in ("system", "developer") or m.place > last]
        return [*self.unread, *(f"messages.{m.place} ({m.role})" for m in unused)]

    def nothing_to_answer(self) -> ApiError:
        """The error for a request without a message that can be answered."""
        left_out = f" (left out: {', '.join(self.unread[:5])})" if self.unread else ""
        return _invalid("messages", f"there is no user message with text{left_out}; only text parts are read")

    @property
    def sampling(self) -> dict[str, Any]:
        """The sampling options that the request sets, by our names; the server's settings decide the others."""
        options = {
            "max_new_tokens": self.max_completion_tokens or self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "seed": self.seed,
        }
        return {name: value for name, value in options.items() if value is not None}


def _invalid(field: str, problem: str) -> ApiError:
    return ApiError(400, f"{field}: {problem}", "invalid_request", param=field)


def _refuse_unsupported(fields: Mapping[str, Any]) -> None:
    if fields.get("n", 1) not in (1, "1"):
        raise _invalid("n", "this server gives one answer a request: leave n out, or send the request again")
    for name in ("logprobs", "top_logprobs"):
        if fields.get(name):
            raise _invalid(name, f"this server states no log probabilities: leave {name} out")


def _stops(value: Any) -> list[str]:
    """The stop strings, without empty ones. Checked one by one: a list of wrong ones is refused at its first."""
    stops = value if isinstance(value, list) else [] if value is None else [value]
    if len(stops) > STOP_STRINGS:
        raise _invalid("stop", f"there are {len(stops)} stop strings: send at most {STOP_STRINGS}")
    for number, stop in enumerate(stops):
        if not isinstance(stop, str) or len(stop) > STOP_CHARACTERS:
            raise _invalid(f"stop.{number}", f"a stop string has at most {STOP_CHARACTERS} characters")
    return [stop for stop in stops if stop]


def _messages(value: Any, unread: list[str]) -> list[Message]:
    """The messages that have text; what is left out is added to ``unread``."""
    if not isinstance(value, list):
        raise _invalid("messages", "a list of messages is required")
    if len(value) > REQUEST_MESSAGES:
        raise _invalid("messages", f"there are {len(value)} messages: send at most {REQUEST_MESSAGES}")
    contents = [item.get("content") for item in value if isinstance(item, dict)]
    parts = sum(len(content) for content in contents if isinstance(content, list))
    if parts > REQUEST_PARTS:
        raise _invalid("messages", f"their contents have {parts} parts: send at most {REQUEST_PARTS}")
    return [message for place, item in enumerate(value) for message in _message(place, item, unread)]


def _message(place: int, item: Any, unread: list[str]) -> Iterator[Message]:
    where = f"messages.{place}"
    if not isinstance(item, dict):
        _note(unread, f"{where} (not an object)")
        return
    role = item.get("role")
    if role not in _READ_ROLES:
        _note(unread, f"{where} ({_name(role)})" if role in ("tool", "function") else f"{where}.role ({_name(role)})")
        return
    for name in ("tool_calls", "function_call", "refusal", "audio"):
        if item.get(name):
            _note(unread, f"{where}.{name}")
    text = "".join(_texts(where, item.get("content"), unread))
    if not text.strip():
        _note(unread, f"{where} (empty)")
        return
    yield Message(role=role, content=without_surrogates(text), prefix=item.get("prefix") is True, place=place)


def _texts(where: str, content: Any, unread: list[str]) -> Iterator[str]:
    """The texts of a message's content: a string, or a list of parts of which some are texts."""
    if isinstance(content, str):
        yield content
        return
    parts = content if isinstance(content, list) else [] if content is None else [content]
    for number, part in enumerate(parts):
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict) and part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str):
            yield part["text"]
        else:
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            _note(unread, f"{where}.content.{number} ({_name(kind)})")


def _note(unread: list[str], what: str) -> None:
    """Adds to what is left out; of very many only the first are named."""
    if len(unread) < _NAMED:
        unread.append(what)


def _name(value: Any) -> str:
    """A short name of the client's, fit for a header."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else "unknown"


def _well_formed(value: Any) -> Any:
    """A JSON value whose strings can be written as UTF-8."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, list):
        return [_well_formed(item) for item in value]
    return value
