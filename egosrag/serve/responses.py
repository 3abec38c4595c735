"""Response bodies of OpenAI's chat completions API, and its errors."""

from __future__ import annotations

import json
import time
from typing import Any

from egosrag.errors import (
    EgosRagError,
    ModelError,
    SessionBusy,
    SessionError,
    StoreError,
    StoreUnavailable,
    WindowError,
)
from egosrag.schema import Usage
from egosrag.text.encoding import without_surrogates


class ApiError(Exception):
    """An error response: an HTTP status, and a body in OpenAI's error format.

    Args:
        status: HTTP status.
        message: shown to the client: what is wrong, and what to do.
        code: machine-readable name of the error.
        param: the field of the request that is wrong.
        retry_after: seconds, sent as the ``Retry-After`` header.
        close: close the connection, because the rest of the request is not read.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if close:
            self.headers["Connection"] = "close"
        if status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def session_busy() -> ApiError:
    """The response to a message for a session that is still answering the one before."""
    message = "this session is still answering: wait for its reply, then send the next message"
    return ApiError(409, message, "session_busy", retry_after=1)


def answer_timeout(seconds: float) -> ApiError:
    """The response to a request for which nothing was generated before its time was over."""
    message = f"no answer within {seconds:.0f} seconds: try again later, or send less"
    return ApiError(503, message, "timeout", retry_after=5)


def api_error_from(error: Exception) -> ApiError:
    """The response for an error of the program.

    Messages of the program's errors may contain addresses and paths of the server: those go to the log only.
    """
    if isinstance(error, WindowError):
        message = "the messages do not fit the model's context window: send less, or shorter ones"
        return ApiError(400, message, "context_length_exceeded", param="messages")
    if isinstance(error, StoreUnavailable):
        message = "the session store is not available: try again later; the server's log has the reason"
        return ApiError(503, message, "store_away", retry_after=5)
    if isinstance(error, SessionBusy):
        return session_busy()
    if isinstance(error, SessionError):
        message = "this session cannot be continued here: name another one; the server's log has the reason"
        return ApiError(409, message, "session")
    if isinstance(error, ModelError):
        message = "the model failed: try again later; the server's log has the reason"
        return ApiError(503, message, "model_failed", retry_after=5)
    if isinstance(error, StoreError):
        message = "the manual's index cannot be used now: try again later; the server's log has the reason"
        return ApiError(503, message, "index_away", retry_after=5)
    what = "it is set up wrongly" if isinstance(error, EgosRagError) else "of a fault in the server"
    message = f"the request could not be answered, because {what}: the server's log has the reason"
    return ApiError(503, message, "failed")


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


def json_text(value: Any) -> str:
    """A JSON value as text that can be sent, whatever a model wrote."""
    return without_surrogates(json.dumps(value, ensure_ascii=False))


def server_sent_event(value: Any) -> str:
    """A JSON value as a server-sent event."""
    return f"data: {json_text(value)}\n\n"


def usage_body(usage: Usage) -> dict[str, Any]:
    """Token counts under OpenAI's names."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
