"""The ASGI middleware in front of the pages: visitor cookie, optional password, and security headers.

Every request passes through it. The content security policy makes the browser load nothing from other hosts, also when
a page shows untrusted text.
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
MIN_PASSWORD_LENGTH = 12  # characters, where the pages can be reached from other machines
WRONG_PASSWORD_DELAY_S = 1.0
_YEAR_S = 365 * 24 * 3600
# Some of Streamlit's own scripts and styles are inline, and its fonts, pictures and workers are data: and blob: URLs.
_CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; frame-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)
_HEADERS = (
    (b"content-security-policy", _CONTENT_SECURITY_POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


def check_address(address: str | None, password: str) -> None:
    """Refuse to listen on a network address without a password.

    Args:
        address: address to listen on; None: all addresses of this machine.
        password: password that visitors must enter.

    Raises:
        SettingsError: other machines can reach the address, and the password is missing or short.
    """
    try:
        loopback = address == "localhost" or ip_address(address or "0.0.0.0").is_loopback
    except ValueError:
        loopback = False
    if not loopback and len(password) < MIN_PASSWORD_LENGTH:
        raise SettingsError(
            f"{address or 'the address'} can be reached from other machines: "
            f"set {PASSWORD} first, to {MIN_PASSWORD_LENGTH} characters or more"
        )


class AuthMiddleware:
    """An ASGI middleware that checks the password and gives each browser a visitor token.

    Args:
        app: the wrapped ASGI application.
        password: password for HTTP basic authentication, under any user name; empty: none is required.
    """

    def __init__(self, app: App, password: str = "") -> None:
        self._app, self._password = app, password.encode()
        self._delaying = asyncio.Lock()  # wrong guesses are delayed one after another, also when sent in parallel

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {key.lower(): value for key, value in scope["headers"]}
        if self._password and not self._authorized(headers.get(b"authorization", b"")):
            if b"authorization" in headers:
                async with self._delaying:
                    await asyncio.sleep(WRONG_PASSWORD_DELAY_S)
            await self._reject(scope, receive, send)
            return
        await self._app(scope, receive, self._adding_headers(scope, headers, send) if scope["type"] == "http" else send)

    def _authorized(self, authorization: bytes) -> bool:
        kind, _, value = authorization.partition(b" ")
        try:
            password = base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return False
        return kind.lower() == b"basic" and hmac.compare_digest(password, self._password)

    async def _reject(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = [*_HEADERS, (b"www-authenticate", b'Basic realm="EGOS-RAG", charset="UTF-8"')]
        headers.append((b"content-type", b"text/plain; charset=utf-8"))
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"a password is required: reload the page and enter it\n"})

    def _adding_headers(self, scope: Message, headers: dict[bytes, bytes], send: Send) -> Send:
        """``send`` with the security headers, and a cookie for a browser that opens a page without a token."""
        added = list(_HEADERS)
        # Only for a page: its scripts and pictures are requested in parallel, and each would get a token of its own.
        if b"text/html" in headers.get(b"accept", b"") and not is_token(_token_cookie(headers.get(b"cookie", b""))):
            secure = "; Secure" if scope.get("scheme") == "https" else ""
            cookie = f"{COOKIE}={new_token()}; Path=/; Max-Age={_YEAR_S}; HttpOnly; SameSite=Strict{secure}"
            added.append((b"set-cookie", cookie.encode()))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = {key for key, _ in _HEADERS}
                others = [(key, value) for key, value in message.get("headers", []) if key.lower() not in ours]
                message = {**message, "headers": [*others, *added]}
            await send(message)

        return send_with_headers


def _token_cookie(header: bytes) -> str:
    try:
        cookie = SimpleCookie(header.decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""
