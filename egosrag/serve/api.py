"""The HTTP routes: ``/v1/models``, ``/v1/chat/completions`` (whole or streamed), ``/healthz`` and ``/metrics``."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import anyio
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from egosrag.errors import EgosRagError
from egosrag.schema import Usage
from egosrag.serve.backends import Backend, Finish
from egosrag.serve.guard import Guard
from egosrag.serve.schema import (
    ApiError,
    ChatRequest,
    api_error_from,
    chunk,
    completion,
    response_head,
    server_sent_event,
    usage_chunk,
)

log = logging.getLogger("egosrag.serve")


def create_app(backends: Mapping[str, Backend], guard: Guard) -> FastAPI:
    """Create the ASGI application.

    Args:
        backends: what answers, by the name that clients send as ``model``.
        guard: authentication, limits and metrics.
    """
    # The interactive documentation would load scripts from a CDN; the schema is at /openapi.json.
    app = FastAPI(title="EGOS-RAG", docs_url=None, redoc_url=None)
    schema = {"content": {"application/json": {"schema": ChatRequest.model_json_schema()}}, "required": True}

    @app.exception_handler(ApiError)
    async def send_error(_: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status, error.headers)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        guard.authenticate(request.headers.get("authorization"))
        return Response(guard.metrics, media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        guard.authenticate(request.headers.get("authorization"))
        rows = [
            {"id": name, "object": "model", "created": 0, "owned_by": backend.kind}
            for name, backend in backends.items()
        ]
        return {"object": "list", "data": rows}

    @app.post("/v1/chat/completions", openapi_extra={"requestBody": schema})
    async def chat(request: Request) -> Response:
        token = guard.authenticate(request.headers.get("authorization"))
        body = ChatRequest.parse(await _read_body(request, guard.limits.body_bytes))
        if body.model not in backends:
            message = f"there is no model {body.model[:80]!r}: GET /v1/models lists the names"
            raise ApiError(404, message, "model_not_found")
        session = request.headers.get("x-session") or body.user
        # A session belongs to the token: the same session name under another token is another session.
        answer = _Answer(backends[body.model], body, f"{token}\0{session}" if session else "", guard)
        if not body.stream:
            return JSONResponse(await run_in_threadpool(answer.completion))
        first = await run_in_threadpool(answer.start)
        return StreamingResponse(answer.events(first), media_type="text/event-stream")

    return app


async def _read_body(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > max_bytes:
            raise ApiError(413, f"the request is longer than {max_bytes} bytes: send less", "too_large")
    return bytes(body)


class _Answer:
    """One answer on its way to the client: within its time limit, and recorded in the metrics at its end."""

    def __init__(self, backend: Backend, request: ChatRequest, session: str, guard: Guard) -> None:
        self._request, self._guard = request, guard
        self._head = response_head(uuid.uuid4().hex, request.model)
        self._admitted = ExitStack()
        self._items = backend.answer(request, session)
        self._started = time.monotonic()

    def completion(self) -> dict[str, Any]:
        """The response body of a request that is not streamed."""
        text, finish = "", Finish("stop", Usage(), {})
        for item in self._run(self.start()):
            if isinstance(item, Finish):
                finish = item
            else:
                text += item
        return completion(self._head, text, *finish)

    def start(self) -> str | Finish:
        """Generate the first chunk, so that an error still becomes the HTTP status of the response.

        Raises:
            ApiError: the request is refused, or the answer failed.
        """
        self._admitted.enter_context(self._guard.admit())
        try:
            return next(iter(self._items), Finish("stop", Usage(), {}))
        except BaseException as error:
            self._end("refused" if isinstance(error, ApiError) else "failed")
            if isinstance(error, EgosRagError):
                log.warning("%s: %s", self._request.model, error)
                raise api_error_from(error) from error
            raise

    def _run(self, first: str | Finish) -> Iterator[str | Finish]:
        """``first`` and what the backend generates after it, until its end, the time limit or the client's leaving."""
        outcome, usage, item = "closed", None, first
        try:
            while True:
                if isinstance(item, Finish):
                    outcome, usage = "done", item.usage
                    yield item
                    return
                yield item
                if time.monotonic() - self._started > self._guard.limits.seconds:
                    outcome = "late"
                    yield Finish("length", Usage(), {"stop_reason": "interrupted"})
                    return
                item = next(iter(self._items), Finish("stop", Usage(), {}))
        except EgosRagError as error:
            outcome = "failed"
            log.warning("%s: %s", self._request.model, error)
            raise api_error_from(error) from error
        finally:
            self._end(outcome, usage)

    def _end(self, outcome: str, usage: Usage | None = None) -> None:
        close = getattr(self._items, "close", None)
        if close:
            close()  # a role's session keeps the text of an aborted reply, marked as interrupted
        self._admitted.close()
        self._guard.record(self._request.model, outcome, time.monotonic() - self._started, usage)

    async def events(self, first: str | Finish) -> AsyncIterator[str]:
        """The streamed response as server-sent events, from the ``first`` item that :meth:`start` returned."""
        items = self._run(first)
        try:
            yield chunk(self._head, {"role": "assistant", "content": ""})
            async for item in iterate_in_threadpool(items):
                if isinstance(item, Finish):
                    yield chunk(self._head, {}, item.reason, egosrag=item.extra)
                    if self._request.stream_options and self._request.stream_options.include_usage:
                        yield usage_chunk(self._head, item.usage)
                else:
                    yield chunk(self._head, {"content": item})
            yield "data: [DONE]\n\n"
        except ApiError as error:
            yield server_sent_event(error.body)
        finally:
            # Also when the client disconnects in mid-stream; closing may block, so it runs outside the event loop.
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(items.close)  # type: ignore[attr-defined]
