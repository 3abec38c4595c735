"""The parts of OpenAI's chat completions that are read and written here.

What a request has beside these fields is ignored, as such servers do; a field of a wrong kind is refused.
"""

from __future__ import annotations

import json
import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from egosrag.errors import EgosRagError, ModelError, SessionBusy, SessionError, StoreUnavailable, WindowError
from egosrag.limits import REQUEST_BYTES, REQUEST_MESSAGES
from egosrag.schema import Usage


class Refused(Exception):  # noqa: N818 - it is an answer to the client, no error of the program
    """A request that is not answered: its HTTP status, and the error as OpenAI shapes it."""

    def __init__(self, status: int, message: str, code: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": None, "code": self.code}}


def refusal_of(error: EgosRagError) -> Refused:
    """What a client is told of an error of ours; the place that a message names is the server's own to know."""
    if isinstance(error, WindowError):
        return Refused(400, str(error), "context_length_exceeded")
    if isinstance(error, StoreUnavailable):
        return Refused(503, "the sessions cannot be kept now: the server's log tells why", "store_away", retry_after=5)
    if isinstance(error, SessionBusy):
        return Refused(409, "this session is still answering: wait for its reply", "session_busy", retry_after=1)
    if isinstance(error, SessionError):
        return Refused(409, str(error), "session")
    if isinstance(error, ModelError):
        return Refused(503, "the model failed: the server's log tells why", "model_failed", retry_after=5)
    return Refused(500, "it could not be answered: the server's log tells why", "failed")


class Message(BaseModel):
    """A message of the request; of a list of parts the texts are read."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str = ""
    prefix: bool = Field(default=False, description="DeepSeek's way to have this last assistant message continued")

    @field_validator("content", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value or ""
        kinds = {part.get("type") for part in value if isinstance(part, dict)}
        if kinds - {"text"} or not all(isinstance(part, dict) for part in value):
            raise ValueError("only text parts can be read")
        return "".join(str(part.get("text", "")) for part in value)


class StreamOptions(BaseModel):
    """What a stream has beside its pieces."""

    include_usage: bool = False


class Asked(BaseModel):
    """A request for a completion of a chat."""

    model_config = ConfigDict(str_max_length=REQUEST_BYTES)

    model: str
    messages: list[Message] = Field(min_length=1, max_length=REQUEST_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = None
    n: Literal[1] = 1
    user: str = Field("", max_length=256)
    continue_final_message: bool = Field(False, description="vLLM's way to have the last message continued")

    @classmethod
    def read(cls, body: bytes) -> Asked:
        """The request in ``body``.

        Raises:
            Refused: it is not JSON, or not such a request.
        """
        try:
            return cls.model_validate(json.loads(body))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the request"
            raise Refused(400, f"{where}: {first['msg']}", "invalid_request") from None
        except (ValueError, RecursionError):
            raise Refused(400, "the body is not JSON: send a chat completion request", "invalid_json") from None

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [stop for stop in given if stop]

    @property
    def sampling(self) -> dict[str, Any]:
        """The sampling that the request asks for; what it leaves open is the server's to choose."""
        most = self.max_completion_tokens or self.max_tokens
        given = {"max_new_tokens": most, "temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}
        return {key: value for key, value in given.items() if value is not None}


def completion(head: dict[str, Any], text: str, reason: str, usage: Usage, extra: dict[str, Any]) -> dict[str, Any]:
    """The whole answer, with what is ours under ``egosrag``."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": usage_of(usage), "egosrag": extra}


def event(head: dict[str, Any], delta: dict[str, Any], reason: str | None = None, **more: Any) -> str:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
    return data({**head, "object": "chat.completion.chunk", "choices": [choice], **more})


def data(value: Any) -> str:
    """A value as a server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def usage_of(usage: Usage) -> dict[str, Any]:
    """The tokens as OpenAI names them."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def head_of(request: str, model: str) -> dict[str, Any]:
    """What every part of an answer has."""
    return {"id": f"chatcmpl-{request}", "created": int(time.time()), "model": model}
