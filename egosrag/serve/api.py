"""The HTTP API: ``/v1/models``, ``/v1/chat/completions``, ``/healthz`` and ``/metrics``."""

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
from egosrag.serve.guard import Guard
from egosrag.serve.models import Done, Served
from egosrag.serve.schema import Asked, Refused, completion, data, event, head_of, refusal_of, usage_of

log = logging.getLogger("egosrag.serve")


def create_app(served: Mapping[str, Served], guard: Guard) -> FastAPI:
    """The application.

    Args:
        served: what answers, by the name that clients give as ``model``.
        guard: who may ask, how much, and what is counted.
    """
    # The interactive documentation would load scripts from elsewhere; the schema stays at /openapi.json.
    app = FastAPI(title="EGOS-RAG", docs_url=None, redoc_url=None)
    schema = {"content": {"application/json": {"schema": Asked.model_json_schema()}}, "required": True}

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return JSONResponse(error.body, error.status, error.headers)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        guard.who(request.headers.get("authorization"))
        return Response(guard.metrics, media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        guard.who(request.headers.get("authorization"))
        made = [{"id": name, "object": "model", "created": 0, "owned_by": one.kind} for name, one in served.items()]
        return {"object": "list", "data": made}

    @app.post("/v1/chat/completions", openapi_extra={"requestBody": schema})
    async def chat(request: Request) -> Response:
        token = guard.who(request.headers.get("authorization"))
        asked = Asked.read(await _body(request, guard.limits.body_bytes))
        if asked.model not in served:
            raise Refused(404, f"there is no model {asked.model[:80]!r}: GET /v1/models names those", "model_not_found")
        session = request.headers.get("x-session") or asked.user
        # A session belongs to who shows the token: the same name under another token is another session.
        work = _Work(served[asked.model], asked, f"{token}\0{session}" if session else "", guard)
        if not asked.stream:
            return JSONResponse(await run_in_threadpool(work.whole))
        first = await run_in_threadpool(work.begin)
        return StreamingResponse(work.events(first), media_type="text/event-stream")

    return app


async def _body(request: Request, most: int) -> bytes:
    read = bytearray()
    async for piece in request.stream():
        read += piece
        if len(read) > most:
            raise Refused(413, f"the request is longer than {most} bytes: send less", "too_large")
    return bytes(read)


class _Work:
    """One answer: its pieces, counted and within the time that it may take."""

    def __init__(self, served: Served, asked: Asked, session: str, guard: Guard) -> None:
        self._asked, self._guard = asked, guard
        self._head = head_of(uuid.uuid4().hex, asked.model)
        self._open = ExitStack()
        self._pieces = served.answer(asked, session)
        self._started = time.monotonic()

    def whole(self) -> dict[str, Any]:
        """The answer in one."""
        text, done = "", Done("stop", Usage(), {})
        first = self.begin()
        for piece in self._rest(first):
            if isinstance(piece, Done):
                done = piece
            else:
                text += piece
        return completion(self._head, text, *done)

    def begin(self) -> str | Done:
        """The first piece: what is refused is refused before the answer's head is sent."""
        self._open.enter_context(self._guard.working())
        try:
            return next(iter(self._pieces), Done("stop", Usage(), {}))
        except BaseException as error:
            self._end("refused" if isinstance(error, Refused) else "failed")
            if isinstance(error, EgosRagError):
                log.warning("%s: %s", self._asked.model, error)
                raise refusal_of(error) from error
            raise

    def _rest(self, first: str | Done) -> Iterator[str | Done]:
        outcome, usage, piece = "closed", None, first
        try:
            while True:
                if isinstance(piece, Done):
                    outcome, usage = "done", piece.usage
                    yield piece
                    return
                yield piece
                if time.monotonic() - self._started > self._guard.limits.seconds:
                    outcome = "late"
                    yield Done("length", Usage(), {"stop_reason": "interrupted"})
                    return
                piece = next(iter(self._pieces), Done("stop", Usage(), {}))
        except EgosRagError as error:
            outcome = "failed"
            log.warning("%s: %s", self._asked.model, error)
            raise refusal_of(error) from error
        finally:
            self._end(outcome, usage)

    def _end(self, outcome: str, usage: Usage | None = None) -> None:
        close = getattr(self._pieces, "close", None)
        if close:
            close()  # what was said of a broken-off reply stays in its session, as interrupted
        self._open.close()
        self._guard.count(self._asked.model, outcome, time.monotonic() - self._started, usage)

    async def events(self, first: str | Done) -> AsyncIterator[str]:
        """The answer as server-sent events."""
        rest = self._rest(first)
        try:
            yield event(self._head, {"role": "assistant", "content": ""})
            async for piece in iterate_in_threadpool(rest):
                if isinstance(piece, Done):
                    yield event(self._head, {}, piece.reason, egosrag=piece.extra)
                    if self._asked.stream_options and self._asked.stream_options.include_usage:
                        whole = {"object": "chat.completion.chunk", "choices": [], "usage": usage_of(piece.usage)}
                        yield data({**self._head, **whole})
                else:
                    yield event(self._head, {"content": piece})
            yield "data: [DONE]\n\n"
        except Refused as error:
            yield data(error.body)
        finally:
            # The client may have left in mid-stream: the work is closed all the same, and not in the event loop.
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(rest.close)  # type: ignore[attr-defined]
