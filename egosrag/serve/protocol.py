"""uvicorn's HTTP protocol with what it lacks: a time limit for requests, and a way to drop a connection."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from egosrag.limits import REQUEST_TIMEOUT_S
from egosrag.serve.responses import ApiError

_ABORT = "egosrag.abort"  # the key of the scope that holds the function
_GRACE_S = 2.0  # beyond the limit of the application, which can still send a status


def abort_connection(scope: Scope) -> None:
    """Drops the connection of a request without sending what is buffered, where the server can."""
    if abort := scope.get(_ABORT):
        abort()


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 in which a request that is not whole after ``request_s`` seconds ends its connection.

    That includes the time before its first byte, its headers, and the body of a request that was refused already.
    """

    request_s = REQUEST_TIMEOUT_S + _GRACE_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        inner: ASGIApp = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope[_ABORT] = self.transport.abort
            await inner(scope, receive, send)

        self.app = app

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for a request."""
        super().connection_made(transport)
        self._restart_timer()

    def data_received(self, data: bytes) -> None:
        """Reads more of a request; the time counts from its first byte to its last."""
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_timer()
        elif self._timer is None:
            self._restart_timer()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP request, in the shape of OpenAI's errors; then closes the connection."""
        body = json.dumps(ApiError(400, f"{msg.rstrip('.')}: send HTTP/1.1", "invalid_http").body).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops waiting."""
        self._stop_timer()
        super().connection_lost(exc)

    def _restart_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self.request_s, self._end)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        self.transport.abort()


def server_config(app: ASGIApp, **options: Any) -> uvicorn.Config:
    """The configuration of uvicorn for the application of ``create_app``.

    Args:
        app: the application.
        **options: of ``uvicorn.Config``.
    """
    return uvicorn.Config(app, http=LimitedProtocol, ws="none", log_level="warning", access_log=False, **options)
