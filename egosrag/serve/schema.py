"""Request and response bodies of OpenAI's chat completions API, as far as this server supports them.

Unknown fields of a request are ignored, as other OpenAI-compatible servers do; a field of the wrong type is an error.
"""

from __future__ import annotations

import json
import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from egosrag.errors import EgosRagError, ModelError, SessionBusy, SessionError, StoreUnavailable, WindowError
from egosrag.limits import REQUEST_BYTES, REQUEST_MESSAGES
from egosrag.schema import Usage


class ApiError(Exception):
    """An error response: an HTTP status, and a body in OpenAI's error format.

    Args:
        status: HTTP status.
        message: shown to the client: what is wrong, and what to do.
        code: machine-readable name of the error.
        retry_after: seconds, sent as the ``Retry-After`` header.
    """

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


def session_busy() -> ApiError:
    """The response to a message for a session that is still answering the one before."""
    message = "this session is still answering: wait for its reply, then send the next message"
    return ApiError(409, message, "session_busy", retry_after=1)


def api_error_from(error: EgosRagError) -> ApiError:
    """The response for an error of the program.

    Messages of model and store errors may contain addresses and paths of the server: those go to the log only.
    """
    if isinstance(error, WindowError):
        return ApiError(400, str(error), "context_length_exceeded")
    if isinstance(error, StoreUnavailable):
        message = "the session store is not available: try again later; the server's log has the reason"
        return ApiError(503, message, "store_away", retry_after=5)
    if isinstance(error, SessionBusy):
        return session_busy()
    if isinstance(error, SessionError):
        return ApiError(409, str(error), "session")
    if isinstance(error, ModelError):
        message = "the model failed: try again later; the server's log has the reason"
        return ApiError(503, message, "model_failed", retry_after=5)
    return ApiError(500, "the request could not be answered: the server's log has the reason", "failed")


class Message(BaseModel):
    """A message of the request; of a list of content parts the texts are joined."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str = ""
    prefix: bool = Field(default=False, description="DeepSeek's flag to continue this last assistant message")

    @field_validator("content", mode="before")
    @classmethod
    def _join_text_parts(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value or ""
        kinds = {part.get("type") for part in value if isinstance(part, dict)}
        if kinds - {"text"} or not all(isinstance(part, dict) for part in value):
            raise ValueError("only text parts are supported")
        return "".join(str(part.get("text", "")) for part in value)


class StreamOptions(BaseModel):
    """Options of a streamed response."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A chat completion request."""

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
    top_k: int | None = Field(None, ge=0, description="not OpenAI's: as vLLM and llama.cpp know it; 0 for all")
    min_p: float | None = Field(None, ge=0, le=1, description="as top_k")
    repetition_penalty: float | None = Field(None, gt=0, description="as top_k")
    seed: int | None = None
    n: Literal[1] = 1
    user: str = Field("", max_length=256)
    continue_final_message: bool = Field(False, description="vLLM's flag to continue the last message")

    @classmethod
    def parse(cls, body: bytes) -> ChatRequest:
        """Parse and validate a request body.

        Raises:
            ApiError: it is not JSON, or not a chat completion request.
        """
        try:
            return cls.model_validate(json.loads(body))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"])) or "the request"
            raise ApiError(400, f"{field}: {first['msg']}", "invalid_request") from None
        except (ValueError, RecursionError):
            raise ApiError(400, "the body is not JSON: send a chat completion request", "invalid_json") from None

    @property
    def stop_strings(self) -> list[str]:
        """The stop strings as a list, without empty ones."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [stop for stop in stops if stop]

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


def response_head(request_id: str, model: str) -> dict[str, Any]:
    """The fields that a whole response and every chunk of a stream share."""
    return {"id": f"chatcmpl-{request_id}", "created": int(time.time()), "model": model}


def completion(head: dict[str, Any], text: str, reason: str, usage: Usage, extra: dict[str, Any]) -> dict[str, Any]:
    """A whole response; ``extra`` is sent under the key ``egosrag``."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": usage_body(usage), "egosrag": extra}


def chunk(head: dict[str, Any], delta: dict[str, Any], reason: str | None = None, **more: Any) -> str:
    """One chunk of a streamed response, as a server-sent event."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
    return server_sent_event({**head, "object": "chat.completion.chunk", "choices": [choice], **more})


def usage_chunk(head: dict[str, Any], usage: Usage) -> str:
    """The chunk after the last one that holds the usage, where the request sets ``stream_options.include_usage``."""
    body = {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage_body(usage)}
    return server_sent_event(body)


def server_sent_event(value: Any) -> str:
    """A JSON value as a server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def usage_body(usage: Usage) -> dict[str, Any]:
    """Token counts under OpenAI's names."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
