"""One answer on its way to the client: generated in a thread of its own until it ends, is late, or the client leaves.

The thread is one piece ahead of the client: of a reply that a client left, a role's session keeps about what was read.
A client that stops reading is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from egosrag.caller import POLL_S, Cancelled, calling
from egosrag.errors import EgosRagError
from egosrag.schema import AnswerProgress, Usage
from egosrag.serve.backends import Backend, Finish
from egosrag.serve.guard import Guard
from egosrag.serve.protocol import abort_connection
from egosrag.serve.responses import (
    ApiError,
    answer_timeout,
    api_error_from,
    chunk,
    completion,
    json_text,
    response_head,
    server_sent_event,
    usage_chunk,
)
from egosrag.serve.schema import ChatRequest

LEFT_OUT = "X-Left-Out"
"""The response header that names what of a request was not read."""

_log = logging.getLogger("egosrag.serve")
_END = object()


class Answer:
    """An answer that is generated in a thread; its items are read in the event loop.

    Args:
        backend: generates it.
        request: what it answers.
        token: the client's token.
        session: key of the stored conversation, or empty; see ``Backend.answer``.
        guard: admits the request, and records it.

    Raises:
        ApiError: too many requests are worked on already.
    """

    def __init__(self, backend: Backend, request: ChatRequest, token: str, session: str, guard: Guard) -> None:
        self.request = request
        self._backend, self._session, self._guard = backend, session, guard
        self._caller = guard.caller(token)
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Any] = asyncio.Queue()
        self._sent = threading.Semaphore(1)
        self._admitted = ExitStack()
        self._admitted.enter_context(guard.admit())
        threading.Thread(target=self._generate, name="answer", daemon=True).start()

    def cancel(self) -> None:
        """Stops the generation; a role's session keeps the text so far, marked as interrupted."""
        self._caller.cancel()

    async def items(self) -> AsyncIterator[AnswerProgress | str | Finish]:
        """The pages found if the request wants them, the pieces of text and the end.

        They end without a ``Finish`` where the answer was cancelled.

        Raises:
            ApiError: the request is refused, or the answer failed.
        """
        while (item := await self._items.get()) is not _END:
            if isinstance(item, ApiError):
                raise item
            yield item
            self._sent.release()

    def _generate(self) -> None:
        """The work of the thread."""
        started, outcome, usage, spoke = time.monotonic(), "failed", None, False
        try:
            with calling(self._caller), ExitStack() as closing:
                items = self._backend.answer(self.request, self._session)
                if close := getattr(items, "close", None):
                    closing.callback(close)
                for item in items:
                    while not self._sent.acquire(timeout=POLL_S):
                        self._caller.check()
                    self._caller.check()
                    if isinstance(item, Finish):
                        outcome, usage = "done", item.usage
                        closing.close()  # the answer is stored before its end is sent
                        self._put(item)
                        break
                    spoke = spoke or isinstance(item, str)
                    self._put(item)
        except Cancelled:
            outcome = "closed" if self._caller.cancelled else "late"
            if outcome == "late":
                late = Finish("length", Usage(), {"stop_reason": "interrupted"})
                self._put(late if spoke else answer_timeout(self._guard.limits.seconds))
        except ApiError as error:
            outcome = "refused"
            self._put(error)
        except Exception as error:
            if isinstance(error, EgosRagError):
                _log.warning("%s: %s", self.request.model, error)
            else:
                _log.exception("%s: a fault", self.request.model)
            self._put(api_error_from(error))
        finally:
            self._admitted.close()
            self._guard.record(self.request.model, outcome, time.monotonic() - started, usage)
            self._put(_END)

    def _put(self, item: Any) -> None:
        with suppress(RuntimeError):  # the event loop is closed: the server was stopped
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)


class AnswerResponse(Response):
    """Sends an answer, whole or as server-sent events; stops it when the client leaves, or stops reading.

    Args:
        answer: the answer.
        left_out: what of the request was not read.
        stall_s: seconds for which the client may stop reading.
    """

    def __init__(self, answer: Answer, left_out: list[str], stall_s: float) -> None:
        super().__init__()
        self._answer, self._stall_s = answer, stall_s
        self._extra_headers = {LEFT_OUT: ", ".join(left_out)} if left_out else {}
        self._head = response_head(uuid.uuid4().hex, answer.request.model)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        watching = asyncio.create_task(self._watch(receive))

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._stall_s):
                    await send(message)
            except TimeoutError:
                self._answer.cancel()
                abort_connection(scope)
                raise

        try:
            await self._respond(scope, receive, send_in_time)
        except TimeoutError:
            _log.warning("%s: the client stopped reading", self._answer.request.model)
        finally:
            watching.cancel()
            self._answer.cancel()

    async def _watch(self, receive: Receive) -> None:
        """Cancels the answer when the client leaves."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._answer.cancel()

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        items = self._answer.items()
        response: Response
        try:
            if self._answer.request.stream:
                # An error before the first piece still becomes the status of the response.
                first = await anext(items, None)
                if first is None:
                    return  # the client has left
                await self._stream(first, items, send)
                return
            text, finish = "", None
            async for item in items:
                if isinstance(item, Finish):
                    finish = item
                elif isinstance(item, str):
                    text += item
            if finish is None:
                return
            whole = json_text(completion(self._head, text, *finish))
            response = Response(whole, headers=self._extra_headers, media_type="application/json")
        except ApiError as error:
            response = JSONResponse(error.body, error.status, {**error.headers, **self._extra_headers})
        await response(scope, receive, send)

    async def _stream(
        self, first: AnswerProgress | str | Finish, items: AsyncIterator[AnswerProgress | str | Finish], send: Send
    ) -> None:
        headers = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-store",
            **self._extra_headers,
        }
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})

        async def event(text: str, *, last: bool = False) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": not last})

        async def piece(item: AnswerProgress | str | Finish) -> None:
            if isinstance(item, AnswerProgress):
                found = [passage.model_dump(include={"source", "page", "section"}) for passage in item.passages]
                await event(chunk(self._head, {}, egosrag={"sources": found}))
                return
            if not isinstance(item, Finish):
                await event(chunk(self._head, {"content": item}))
                return
            await event(chunk(self._head, {}, item.reason, egosrag=item.extra))
            options = self._answer.request.stream_options
            if options and options.include_usage:
                await event(usage_chunk(self._head, item.usage))

        await event(chunk(self._head, {"role": "assistant", "content": ""}))
        try:
            await piece(first)
            async for item in items:
                await piece(item)
        except ApiError as error:
            await event(server_sent_event(error.body))
        await event("data: [DONE]\n\n", last=True)
