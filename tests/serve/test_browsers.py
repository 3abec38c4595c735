"""What web pages may send: nothing from other sites, unless the server was started with their origin."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from egosrag.errors import SettingsError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.serve.answer import LEFT_OUT
from egosrag.serve.backends import ModelBackend, RoleBackend
from egosrag.serve.browsers import check_origins
from egosrag.serve.guard import Limits
from egosrag.settings import Settings
from tests.apps.browser import browser, missing
from tests.serve.client import chat
from tests.serve.conftest import SAMPLES, Start

TOKEN = "0123456789abcdef-one"
PAGE = "https://page.example"


def server(start: Start, tokens: tuple[str, ...] = (), **options: Any) -> str:
    return start({"m": ModelBackend(ScriptedChatModel(responses=["Hello."] * 50))}, tokens, Limits(), **options)


def post(url: str, **headers: str) -> httpx.Response:
    headers = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    return httpx.post(f"{url}/chat/completions", content=json.dumps(chat("m")), headers=headers)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("localhost", True), ("LOCALHOST:8000", True), ("127.0.0.1", True), ("127.8.9.1:80", True), ("[::1]:80", True),
     ("localhost.", True), ("evil.example", False), ("localhost.evil.example", False),
     ("127.0.0.1.evil.example", False),
     ("192.168.1.7", False), ("0.0.0.0", False), ("[::", False), ("evil@localhost", True), ("localhost@evil", False)],
)  # fmt: skip
def test_without_tokens_only_names_of_this_machine_are_answered(host: str, allowed: bool, start: Start) -> None:
    url = server(start)
    for method, path in (("GET", "/models"), ("POST", "/chat/completions")):
        response = httpx.request(method, url + path, headers={"Host": host, "Content-Type": "application/json"})
        assert (response.status_code == 403) != allowed, response.text
        if not allowed:
            assert response.json()["error"]["code"] == "host"


def test_with_tokens_any_name_is_answered(start: Start) -> None:
    url = server(start, (TOKEN,))
    assert post(url, Host="api.example.org", Authorization=f"Bearer {TOKEN}").status_code == 200
    assert post(url, Host="api.example.org").status_code == 401


@pytest.mark.parametrize("tokens", [(), (TOKEN,)])
def test_pages_of_other_sites_are_refused(tokens: tuple[str, ...], start: Start) -> None:
    url = server(start, tokens)
    place = urlsplit(url).netloc
    for origin in (PAGE, "null", "http://localhost:1", f"http://{place}.evil.example", "http://[", "", "x" * 5000):
        response = post(url, Origin=origin, Authorization=f"Bearer {TOKEN}")
        assert response.status_code == 403, origin
        assert response.json()["error"]["code"] == "origin"
        assert "access-control-allow-origin" not in response.headers
        assert httpx.get(f"{url}/models", headers={"Origin": origin}).status_code == 403
        preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        assert httpx.options(f"{url}/chat/completions", headers=preflight).status_code == 403
    assert post(url, Origin=f"http://{place}", Authorization=f"Bearer {TOKEN}").status_code == 200, "its own page"


def test_allowed_pages_are_answered_and_may_read_the_answer(start: Start) -> None:
    url = server(start, origins=[PAGE])
    asked = "authorization,content-type,x-session,x-stainless-os"
    preflight = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
    response = httpx.options(f"{url}/chat/completions", headers=preflight)
    assert response.status_code in (200, 204)
    assert response.headers["access-control-allow-origin"] == PAGE
    assert set(asked.split(",")) <= set(response.headers["access-control-allow-headers"].replace(" ", "").split(","))
    response = post(url, Origin=PAGE)
    assert response.status_code == 200 and response.headers["access-control-allow-origin"] == PAGE
    assert LEFT_OUT in response.headers["access-control-expose-headers"]
    wrong = httpx.post(f"{url}/chat/completions", json={"model": "none"}, headers={"Origin": PAGE})
    assert wrong.status_code == 400 and wrong.headers["access-control-allow-origin"] == PAGE
    untyped = post(url, Origin=PAGE, Content_Type="text/plain")
    assert untyped.status_code == 415 and untyped.headers["access-control-allow-origin"] == PAGE
    assert post(url, Origin="https://other.example").status_code == 403


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json"]
)
def test_a_body_must_be_declared_as_json(kind: str, start: Start) -> None:
    url = server(start)
    response = post(url, Content_Type=kind)
    assert response.status_code == 415 and response.json()["error"]["code"] == "content_type"
    assert post(url, Content_Type="application/json; charset=utf-8").status_code == 200
    assert httpx.post(f"{url}/chat/completions", content=json.dumps(chat("m"))).status_code == 200, "a program"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("HTTP://Chat.Example", "http://chat.example"),
        ("http://chat.example:80", "http://chat.example"),
        ("https://chat.example:443", "https://chat.example"),
        ("https://chat.example:8443", "https://chat.example:8443"),
    ],
)
def test_an_origin_may_be_written_in_another_way_than_browsers_send_it(given: str, sent: str, start: Start) -> None:
    url = server(start, origins=[given])
    response = post(url, Origin=sent)
    assert response.status_code == 200 and response.headers["access-control-allow-origin"] == sent


def test_the_option_allow_origin_takes_origins() -> None:
    check_origins([PAGE, "http://localhost:3000", "app://obsidian.md"], has_tokens=False)
    check_origins(["*", "null"], has_tokens=True)
    for origin in ("*", "null"):
        with pytest.raises(SettingsError, match="lets every web page in"):
            check_origins([origin], has_tokens=False)
    for wrong in ("page.example", "https://page.example/", "https://", "https://a@b", "https://page.example?x"):
        with pytest.raises(SettingsError, match="is no origin"):
            check_origins([wrong], has_tokens=True)


_SCRIPT = """
const done = arguments[arguments.length - 1];
const [url, kind] = arguments;
const body = JSON.stringify({model: "edda", messages: [{role: "user", content: "Hello?"}]});
const headers = kind === "json" ? {"Content-Type": "application/json", "X-Session": "ann"} : {};
const mode = kind === "json" ? "cors" : "no-cors";
const content = kind === "blob" ? new Blob([body]) : body;
fetch(url + "/chat/completions", {method: "POST", mode, headers, body: content})
  .then((r) => mode === "cors" ? r.json() : {sent: true})
  .then((r) => done(r.choices ? r.choices[0].message.content : JSON.stringify(r)))
  .catch((error) => done("blocked: " + error));
"""


@pytest.fixture
def page() -> Iterator[str]:
    """The address of a web page of another site: another port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>page</title>")

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://localhost:{http.server_port}"
    http.shutdown()
    http.server_close()


@pytest.mark.skipif(bool(missing()), reason=missing() or "a browser is there")
@pytest.mark.timeout(300)
def test_a_page_in_a_real_browser(page: str, start: Start, settings: Settings, tmp_path: Path) -> None:
    model = ScriptedChatModel(responses=['Of thunder."'] * 20)
    role = RoleBackend(settings, SAMPLES / "edda.en.json", model)
    closed, opened = start({"edda": role}), start({"edda": role}, origins=[page])
    with browser(tmp_path) as driver:
        driver.get(page)
        driver.set_script_timeout(60)
        for kind in ("json", "text", "blob"):
            answer = driver.execute_async_script(_SCRIPT, closed, kind)
            assert answer.startswith("blocked") if kind == "json" else answer == '{"sent":true}'
        assert not model.calls, "a page of another site reached the model"
        assert driver.execute_async_script(_SCRIPT, opened, "json") == "Of thunder."
        driver.execute_async_script(_SCRIPT, opened, "text")
    assert len(model.calls) == 1, "also an allowed page has to declare JSON"
