"""The HTTP routes: ``/v1/models``, ``/v1/chat/completions`` (whole or streamed), ``/healthz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from egosrag.serve.answer import LEFT_OUT, Answer, AnswerResponse
from egosrag.serve.backends import Backend
from egosrag.serve.browsers import BrowserRules
from egosrag.serve.guard import Guard, Limits
from egosrag.serve.responses import ApiError, api_error_from
from egosrag.serve.schema import LONG_BODY, ChatRequest

_DISCARDED = 4  # times the limit of a body: so much of a longer one is read, so that the client can read the error
_log = logging.getLogger("egosrag.serve")


def create_app(
    backends: Mapping[str, Backend],
    guard: Guard,
    *,
    origins: Sequence[str] = (),
    user_is_session: bool = False,
) -> FastAPI:
    """Create the ASGI application.

    Args:
        backends: what answers, by the name that clients send as ``model``.
        guard: authentication, limits and metrics.
        origins: the origins of web pages that may use the server, see :mod:`egosrag.serve.browsers`.
        user_is_session: the field ``user`` of a request names a stored conversation, as the header ``X-Session`` does.
            Front ends send the name of an account there, with every request of all of its chats.
    """
    # The interactive documentation would load scripts from a CDN; the schema is at /openapi.json.
    app = FastAPI(title="EGOS-RAG", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(
        BrowserRules, origins=origins, own_hosts_only=not guard.has_tokens, exposed=(LEFT_OUT, "Retry-After")
    )
    parsing = asyncio.Lock()
    schema = {"content": {"application/json": {"schema": ChatRequest.model_json_schema()}}, "required": True}

    @app.exception_handler(ApiError)
    async def send_error(_: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status, error.headers)

    @app.exception_handler(HTTPException)
    async def send_http_error(request: Request, error: HTTPException) -> JSONResponse:
        words = {404: "there is nothing here", 405: "this method is not allowed here"}
        message = f"{words.get(error.status_code, error.detail)}: {request.method} {request.url.path[:80]}"
        body = ApiError(error.status_code, message, "not_found" if error.status_code == 404 else "invalid_request").body
        return JSONResponse(body, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def send_fault(_: Request, error: Exception) -> JSONResponse:
        _log.error("a fault", exc_info=error)
        failed = api_error_from(error)
        return JSONResponse(failed.body, failed.status, failed.headers)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        guard.check_operator(guard.authenticate(request.headers.get("authorization")))
        return Response(guard.metrics, media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        guard.authenticate(request.headers.get("authorization"))
        return {"object": "list", "data": [_model(name, backend) for name, backend in backends.items()]}

    @app.get("/v1/models/{name:path}")
    async def model(request: Request, name: str) -> dict[str, Any]:
        guard.authenticate(request.headers.get("authorization"))
        return _model(name, _backend(backends, name))

    @app.post("/v1/chat/completions", openapi_extra={"requestBody": schema})
    async def chat(request: Request) -> Response:
        token = guard.authenticate(request.headers.get("authorization"))
        try:
            content = await _read_body(request, guard.limits)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        if len(content) < LONG_BODY:
            body = ChatRequest.parse(content)
        else:  # one after the other: others that wait would take all threads of the pool
            async with parsing:
                body = await run_in_threadpool(ChatRequest.parse, content)
        backend = _backend(backends, body.model)
        session = request.headers.get("x-session") or (body.user if user_is_session else "")
        if len(session) > 256:
            raise ApiError(400, "the session's name is longer than 256 characters: shorten it", "invalid_request")
        if backend.kind != "model":
            body.question()
        # A session belongs to the token: the same session name under another token is another session.
        left_out = body.left_out(backend.kind)
        answer = Answer(backend, body, token, f"{token}\0{session}" if session else "", guard)
        return AnswerResponse(answer, left_out, guard.limits.stall_seconds)

    return app


def _backend(backends: Mapping[str, Backend], name: str) -> Backend:
    if name not in backends:
        message = f"there is no model {name[:80]!r}: GET /v1/models lists the names"
        raise ApiError(404, message, "model_not_found", param="model")
    return backends[name]


def _model(name: str, backend: Backend) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": backend.kind}


async def _read_body(request: Request, limits: Limits) -> bytes:
    """The whole body, within its limits of bytes and time."""
    body, length = bytearray(), 0
    too_long = ApiError(
        413, f"the request is longer than {limits.body_bytes} bytes: send less", "too_large", close=True
    )
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > _DISCARDED * limits.body_bytes:
        raise too_long
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for part in request.stream():
                length += len(part)
                if length <= limits.body_bytes:
                    body += part
                elif length > _DISCARDED * limits.body_bytes:
                    break
    except TimeoutError:
        message = f"the request was not complete after {limits.body_seconds:.0f} seconds: send it faster"
        raise ApiError(408, message, "request_timeout", close=True) from None
    if length > limits.body_bytes:
        raise too_long
    return bytes(body)
