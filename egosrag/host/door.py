"""The door of the pages: everything between a browser and them passes here.

It gives every visitor a token of his own, keeps those out who do not know the password (where there is one), and tells
the browser that a page may load nothing from elsewhere, whatever text it shows.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any

from egosrag.errors import SettingsError
from egosrag.host.visitors import COOKIE, is_token, new_token

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PASSWORD = "EGOSRAG_APP_PASSWORD"
_SHORTEST = 12  # characters of a password that keeps other machines out
_WRONG_COSTS_S = 1.0  # a guess takes this long
_YEAR = 365 * 24 * 3600
# Streamlit's own scripts and styles are inline in part, and it makes fonts, pictures and workers out of data.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; frame-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


def check_address(address: str | None, password: str) -> None:
    """Refuses to open the door to other machines without a password.

    Args:
        address: what the server listens at; None: at every address of this machine.
        password: what visitors have to give.

    Raises:
        SettingsError: others could come in, and there is no password, or one that is soon guessed.
    """
    try:
        at_home = address == "localhost" or ip_address(address or "0.0.0.0").is_loopback
    except ValueError:
        at_home = False
    if not at_home and len(password) < _SHORTEST:
        raise SettingsError(
            f"{address or 'every address'} lets other machines in: set {PASSWORD} first, {_SHORTEST} characters or more"
        )


class Door:
    """An ASGI middleware.

    Args:
        app: what stands behind the door.
        password: what a browser has to show, under any user name; empty: it stands open.
    """

    def __init__(self, app: App, password: str = "") -> None:
        self._app, self._password = app, password.encode()
        self._wrong = asyncio.Lock()  # guesses wait for each other, however many are made at once

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Lets a request in, or answers it itself."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {key.lower(): value for key, value in scope["headers"]}
        if self._password and not self._knows(headers.get(b"authorization", b"")):
            if b"authorization" in headers:
                async with self._wrong:
                    await asyncio.sleep(_WRONG_COSTS_S)
            await self._refuse(scope, receive, send)
            return
        await self._app(scope, receive, self._marked(scope, headers, send) if scope["type"] == "http" else send)

    def _knows(self, shown: bytes) -> bool:
        kind, _, value = shown.partition(b" ")
        try:
            given = base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return False
        return kind.lower() == b"basic" and hmac.compare_digest(given, self._password)

    async def _refuse(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = [*_HEADERS, (b"www-authenticate", b'Basic realm="EGOS-RAG", charset="UTF-8"')]
        headers.append((b"content-type", b"text/plain; charset=utf-8"))
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"the password is needed: reload the page and give it\n"})

    def _marked(self, scope: Message, headers: dict[bytes, bytes], send: Send) -> Send:
        """``send`` with the rules for the browser, and a token for a browser that opens a page without one."""
        added = list(_HEADERS)
        # A page's scripts and pictures are asked for at once: each would get a token of its own.
        if b"text/html" in headers.get(b"accept", b"") and not is_token(_cookie(headers.get(b"cookie", b""))):
            secure = "; Secure" if scope.get("scheme") == "https" else ""
            given = f"{COOKIE}={new_token()}; Path=/; Max-Age={_YEAR}; HttpOnly; SameSite=Strict{secure}"
            added.append((b"set-cookie", given.encode()))

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {key for key, _ in _HEADERS}
                kept = [(key, value) for key, value in message.get("headers", []) if key.lower() not in own]
                message = {**message, "headers": [*kept, *added]}
            await send(message)

        return marked


def _cookie(header: bytes) -> str:
    try:
        found = SimpleCookie(header.decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
