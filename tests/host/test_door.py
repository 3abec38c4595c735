"""The door: a token for each browser, the password, and nothing from elsewhere."""

from __future__ import annotations

import base64
import re
from typing import Any

import anyio
import pytest

from egosrag.errors import SettingsError
from egosrag.host import door
from egosrag.host.door import Door, check_address
from egosrag.host.visitors import COOKIE, new_token

PAGE = {"accept": "text/html,application/xhtml+xml"}


def asked(password: str = "", headers: dict[str, str] | None = None, **scope: Any) -> tuple[list[Any], bool]:
    """The messages that a browser gets, and whether the request came in."""
    sent: list[Any] = []
    inside: list[bool] = []

    async def pages(scope: Any, receive: Any, send: Any) -> None:
        inside.append(True)
        if scope["type"] == "http":
            own = [(b"Referrer-Policy", b"unsafe-url"), (b"content-type", b"text/html")]
            await send({"type": "http.response.start", "status": 200, "headers": own})
            await send({"type": "http.response.body", "body": b"page"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    raw = [(key.encode(), value.encode()) for key, value in (headers or {}).items()]
    anyio.run(Door(pages, password), {"type": "http", "headers": raw, **scope}, receive, send)
    return sent, bool(inside)


def header(sent: list[Any], name: str) -> list[str]:
    return [value.decode() for key, value in sent[0]["headers"] if key.decode().lower() == name]


def basic(password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


def test_a_page_may_load_nothing_from_elsewhere() -> None:
    sent, _ = asked(headers=PAGE)
    (policy,) = header(sent, "content-security-policy")
    for rule in policy.split("; "):
        assert not re.search(r"\*|https?:|wss?:", rule), rule
    assert "default-src 'self'" in policy
    assert header(sent, "referrer-policy") == ["no-referrer"]


def test_a_browser_without_a_token_gets_one_that_scripts_cannot_read() -> None:
    (one,), (other,) = (header(asked(headers=PAGE)[0], "set-cookie") for _ in range(2))
    assert one != other
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(one.split("; "))
    assert "Secure" not in one
    (secure,) = header(asked(headers=PAGE, scheme="https")[0], "set-cookie")
    assert secure.endswith("; Secure")


def test_a_token_is_kept_and_a_made_up_one_replaced() -> None:
    assert header(asked(headers={**PAGE, "cookie": f"a=b; {COOKIE}={new_token()}"})[0], "set-cookie") == []
    assert header(asked(headers={**PAGE, "cookie": f"{COOKIE}=../../etc"})[0], "set-cookie")
    assert header(asked(headers={**PAGE, "cookie": "\x01;;=;"})[0], "set-cookie")


def test_scripts_and_pictures_of_a_page_get_no_token() -> None:
    assert header(asked(headers={"accept": "*/*"})[0], "set-cookie") == []


def test_the_password_is_asked_for_at_every_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_WRONG_COSTS_S", 0.0)
    for headers in ({}, basic("wrong"), {"authorization": "Basic ???"}, {"authorization": "Bearer secret"}):
        sent, inside = asked("secret", {**PAGE, **headers})
        assert not inside
        assert sent[0]["status"] == 401
        assert header(sent, "www-authenticate") == ['Basic realm="EGOS-RAG", charset="UTF-8"']
        sent, inside = asked("secret", headers, type="websocket")
        assert not inside
        assert sent == [{"type": "websocket.close", "code": 1008}]


def test_the_right_password_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    for password in ("secret", "密码:1"):
        sent, inside = asked(password, {**PAGE, **basic(password)})
        assert inside and sent[0]["status"] == 200
        assert asked(password, basic(password), type="websocket")[1]


def test_the_server_itself_is_let_through() -> None:
    assert asked("secret", type="lifespan")[1]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_alone_needs_no_password(address: str) -> None:
    check_address(address, "")


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "192.168.1.4", "box.local"])
def test_others_come_in_with_a_password_alone(address: str | None) -> None:
    for password in ("", "short"):
        with pytest.raises(SettingsError, match="EGOSRAG_APP_PASSWORD"):
            check_address(address, password)
    check_address(address, "long enough to keep out")
