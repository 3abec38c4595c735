"""The middleware: a token for each browser, the password, and the content security policy."""

from __future__ import annotations

import base64
import re
from typing import Any

import anyio
import pytest

from egosrag.errors import SettingsError
from egosrag.host import auth
from egosrag.host.auth import AuthMiddleware, check_address
from egosrag.host.visitors import COOKIE, new_token

PAGE = {"accept": "text/html,application/xhtml+xml"}


def request(password: str = "", headers: dict[str, str] | None = None, **scope: Any) -> tuple[list[Any], bool]:
    """The ASGI messages that a browser gets, and whether the request reached the pages."""
    sent: list[Any] = []
    reached: list[bool] = []

    async def pages(scope: Any, receive: Any, send: Any) -> None:
        reached.append(True)
        if scope["type"] == "http":
            headers = [(b"Referrer-Policy", b"unsafe-url"), (b"content-type", b"text/html")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"page"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    raw = [(key.encode(), value.encode()) for key, value in (headers or {}).items()]
    anyio.run(AuthMiddleware(pages, password), {"type": "http", "headers": raw, **scope}, receive, send)
    return sent, bool(reached)


def header(sent: list[Any], name: str) -> list[str]:
    return [value.decode() for key, value in sent[0]["headers"] if key.decode().lower() == name]


def basic(password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


def test_a_page_may_load_nothing_from_other_hosts() -> None:
    sent, _ = request(headers=PAGE)
    (policy,) = header(sent, "content-security-policy")
    for rule in policy.split("; "):
        assert not re.search(r"\*|https?:|wss?:", rule), rule
    assert "default-src 'self'" in policy
    assert header(sent, "referrer-policy") == ["no-referrer"]


def test_a_browser_without_a_token_gets_one_that_scripts_cannot_read() -> None:
    (one,), (other,) = (header(request(headers=PAGE)[0], "set-cookie") for _ in range(2))
    assert one != other
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(one.split("; "))
    assert "Secure" not in one
    (secure,) = header(request(headers=PAGE, scheme="https")[0], "set-cookie")
    assert secure.endswith("; Secure")


def test_a_valid_token_stays_and_a_forged_one_is_replaced() -> None:
    assert header(request(headers={**PAGE, "cookie": f"a=b; {COOKIE}={new_token()}"})[0], "set-cookie") == []
    assert header(request(headers={**PAGE, "cookie": f"{COOKIE}=../../etc"})[0], "set-cookie")
    assert header(request(headers={**PAGE, "cookie": "\x01;;=;"})[0], "set-cookie")


def test_requests_for_scripts_and_pictures_get_no_token() -> None:
    assert header(request(headers={"accept": "*/*"})[0], "set-cookie") == []


def test_requests_and_websockets_need_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "WRONG_PASSWORD_DELAY_S", 0.0)
    for headers in ({}, basic("wrong"), {"authorization": "Basic ???"}, {"authorization": "Bearer secret"}):
        sent, reached = request("secret", {**PAGE, **headers})
        assert not reached
        assert sent[0]["status"] == 401
        assert header(sent, "www-authenticate") == ['Basic realm="EGOS-RAG", charset="UTF-8"']
        sent, reached = request("secret", headers, type="websocket")
        assert not reached
        assert sent == [{"type": "websocket.close", "code": 1008}]


def test_the_right_password_gives_access() -> None:
    for password in ("secret", "密码:1"):
        sent, reached = request(password, {**PAGE, **basic(password)})
        assert reached and sent[0]["status"] == 200
        assert request(password, basic(password), type="websocket")[1]


def test_lifespan_events_need_no_password() -> None:
    assert request("secret", type="lifespan")[1]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_a_loopback_address_needs_no_password(address: str) -> None:
    check_address(address, "")


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "192.168.1.4", "box.local"])
def test_a_network_address_needs_a_password_of_twelve_characters(address: str | None) -> None:
    for password in ("", "short"):
        with pytest.raises(SettingsError, match="set EGOSRAG_APP_PASSWORD first"):
            check_address(address, password)
    check_address(address, "long enough to keep out")
