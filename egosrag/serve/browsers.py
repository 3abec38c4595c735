"""Which requests of web pages are answered.

A page of any site can make the browser send requests to this machine. Those of pages on other sites carry an ``Origin``
and are refused, unless the server was started with ``--allow-origin``. A page whose own name was pointed at this
machine (DNS rebinding) sends that name as ``Host``: without tokens, only names of this machine are answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from egosrag.errors import SettingsError
from egosrag.serve.responses import ApiError


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def check_origins(origins: Iterable[str], *, has_tokens: bool) -> None:
    """Check what ``--allow-origin`` was given.

    Raises:
        SettingsError: one is not an origin, or every page would be allowed without a token.
    """
    for origin in origins:
        scheme, _, place = origin.partition("://")
        if origin in ("*", "null") and not has_tokens:  # a page of any site can have the origin null, in a frame
            raise SettingsError(f"--allow-origin '{origin}' lets every web page in: give tokens first, or name origins")
        if origin not in ("*", "null") and (not scheme or not place or set(place) & set("/?#@")):
            raise SettingsError(f"{origin!r} is no origin: write it as http://localhost:3000, without a path")


class BrowserRules:
    """An ASGI application that answers only what a web page, if it is one, may send.

    Args:
        app: what answers the rest.
        origins: those whose pages may send requests and read the answers; ``*`` for all.
        own_hosts_only: refuse requests whose ``Host`` is no name of this machine.
        exposed: response headers that those pages may read.
    """

    def __init__(self, app: ASGIApp, *, origins: Iterable[str], own_hosts_only: bool, exposed: Iterable[str]) -> None:
        self._origins = frozenset(map(_as_sent, origins))
        self._own_hosts_only = own_hosts_only
        self._exposed = list(exposed)
        self._app = self._cors(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                self._check(scope["method"], headers)
            except ApiError as error:
                refused = JSONResponse(error.body, error.status, error.headers)
                # Inside the rules for browsers: an allowed page may read why its request was refused.
                app = self._cors(refused) if error.code == "content_type" else refused
                await app(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _cors(self, app: ASGIApp) -> ASGIApp:
        return CORSMiddleware(
            app,
            allow_origins=sorted(self._origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=self._exposed,
        )

    def _check(self, method: str, headers: Headers) -> None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._own_hosts_only and host and not is_loopback(_name_of(host)):
            message = f"{host[:80]!r} is no name of this machine: use localhost, or start the server with tokens"
            raise ApiError(403, message, "host", close=True)
        if origin is not None and not self._origins & {origin, "*"} and not _is_same(origin, host):
            message = f"pages of {origin[:80]!r} may not use this server: start it with --allow-origin for them"
            raise ApiError(403, message, "origin", close=True)
        if method == "POST":
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            # A page can leave the type out, but not the origin; a program may have left it out by mistake.
            if not (kind == "application/json" or kind.endswith("+json") or (not kind and origin is None)):
                message = f"the body is declared as {kind[:80]!r}: send it with Content-Type: application/json"
                raise ApiError(415, message, "content_type", close=True)


def _as_sent(origin: str) -> str:
    """An origin as browsers send it: in small letters, without the port that its scheme has anyway."""
    scheme, separator, place = origin.lower().partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme)
    return scheme + separator + (place.removesuffix(default) if default else place)


def _is_same(origin: str, host: str) -> bool:
    """Whether a page has the host and port that its request is sent to."""
    return bool(host) and origin.partition("://")[2].lower() == host.lower()


def _name_of(host: str) -> str:
    """The host of a ``Host`` header, without port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
