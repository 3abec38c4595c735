"""Clients that leave, stop reading or send slowly: the model stops, and the session and the place are free again."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import PrivateAttr, SecretStr

from egosrag.models import load_chat_model
from egosrag.models.api import ApiChatModel
from egosrag.models.runtime.batching import ForwardRequest
from egosrag.models.runtime.engine import Engine
from egosrag.models.scripted import ScriptedChatModel
from egosrag.serve.backends import ModelBackend, RoleBackend
from egosrag.serve.guard import Limits
from egosrag.serve.protocol import LimitedProtocol
from egosrag.sessions.catalog import list_sessions
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.store import open_store
from egosrag.settings import Settings
from tests.models.conftest import gguf_of
from tests.serve.client import chat, send, wait_until, working
from tests.serve.conftest import SAMPLES, Start

SOON = 5.0  # seconds; a second on a machine that does nothing else
EDDA = SAMPLES / "edda.en.json"


class Counted:
    """Replaces the engine's forward pass by one that takes a fifth of a second, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes = 0
        forward = Engine._forward

        def slow(engine: Engine, batch: list[ForwardRequest]) -> Any:
            self.passes += 1
            time.sleep(0.2)
            return forward(engine, batch)

        monkeypatch.setattr(Engine, "_forward", slow)


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_while_the_prompt_is_read(
    stream: bool, start: Start, tiny_qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = start({"m": ModelBackend(load_chat_model(str(tiny_qwen)))})
    counted = Counted(monkeypatch)
    connection = send(url, chat("m", "rain " * 200, stream=stream))
    wait_until(lambda: counted.passes > 1)
    connection.close()
    assert wait_until(lambda: working(url) == 0) < SOON
    passes = counted.passes
    time.sleep(0.6)
    assert counted.passes <= passes + 1, "the model went on"


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_between_two_tokens(
    stream: bool, start: Start, tiny_qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = start({"m": ModelBackend(load_chat_model(str(tiny_qwen), max_new_tokens=200, repetition_penalty=3.0))})
    counted = Counted(monkeypatch)
    connection = send(url, chat("m", stream=stream))
    wait_until(lambda: counted.passes > 6)
    connection.close()
    assert wait_until(lambda: working(url) == 0) < SOON
    passes = counted.passes
    time.sleep(0.6)
    assert counted.passes <= passes + 1, "the model went on"


def test_leaving_a_gguf_model(start: Start, tiny_qwen: Path) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp is in the extra gguf")
    model = load_chat_model(str(gguf_of(tiny_qwen)), max_new_tokens=400, temperature=2.0)
    url = start({"m": ModelBackend(model)})
    for stream in (True, False):
        connection = send(url, chat("m", "rain " * 60, stream=stream))
        time.sleep(0.05)
        connection.close()
        assert wait_until(lambda: working(url) == 0) < SOON


class SlowModel(ScriptedChatModel):
    """Writes its reply, or a summary, a piece in a tenth of a second; what it waits for can be stopped."""

    responses: list[str] = []
    summary: str = "It rained. "
    delays: dict[str, float] = {}

    _written: list[str] = PrivateAttr(default_factory=list)

    def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        kind = "reply" if messages[-1].type == "ai" else "summary"
        self._written.append(kind)
        return 'Yes, that is what I said. "' if kind == "reply" else self.summary * 300

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        delay = self.delays.get("reply" if messages[-1].type == "ai" else "summary", 0)
        for chunk in super()._stream(messages, *args, **kwargs):
            time.sleep(delay)
            yield chunk


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_a_role_frees_its_session(stream: bool, start: Start, settings: Settings) -> None:
    model = SlowModel(delays={"reply": 0.1})
    url = start({"edda": RoleBackend(settings, EDDA, model)})
    connection = send(url, chat("edda", stream=stream), {"X-Session": "ann"})
    wait_until(lambda: "reply" in model._written)
    connection.close()
    assert wait_until(lambda: working(url) == 0) < SOON
    model.delays.clear()
    response = httpx.post(f"{url}/chat/completions", json=chat("edda"), headers={"X-Session": "ann"})
    assert response.status_code == 200, response.text


def test_leaving_before_the_first_piece_frees_the_session(start: Start, settings: Settings) -> None:
    """The server would have to be asked for a first piece; the client is gone before there is one."""
    model = SlowModel(delays={"reply": 0.5})
    url = start({"edda": RoleBackend(settings, EDDA, model)})
    for _ in range(3):
        connection = send(url, chat("edda", stream=True), {"X-Session": "ann"})
        wait_until(lambda: working(url) == 1)
        connection.close()
        assert wait_until(lambda: working(url) == 0) < SOON


def test_the_line_of_a_client_that_left_never_follows_its_next_one(
    start: Start, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_name, begun, go = RoleBackend._stored_name, threading.Event(), threading.Event()

    def slow(backend: RoleBackend, settings: Settings, session: str) -> str:
        if not begun.is_set():
            begun.set()
            go.wait(30)
        return stored_name(backend, settings, session)

    monkeypatch.setattr(RoleBackend, "_stored_name", slow)
    model = SlowModel()
    url, headers = start({"edda": RoleBackend(settings, EDDA, model)}), {"X-Session": "ann"}
    connection = send(url, chat("edda", "One."), headers)
    assert begun.wait(10)
    connection.close()

    def say() -> int:
        return httpx.post(f"{url}/chat/completions", json=chat("edda", "Two."), headers=headers).status_code

    assert say() == 409, "the session is still in use"
    go.set()
    wait_until(lambda: say() == 200)
    with open_store(settings.session_store) as store:
        (info,) = list_sessions(store)
        talk = Conversation(model, "Edda", checkpointer=store, session=info.session)
        assert [turn.text for turn in talk.turns() if turn.speaker == "Me"] == ["Two."]


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_while_old_turns_are_summarized(stream: bool, start: Start, settings: Settings) -> None:
    settings = settings.model_copy(update={"prompt_tokens": 500, "memory": "static"})
    model = SlowModel(context_window=4096)
    url = start({"edda": RoleBackend(settings, EDDA, model)})
    model.delays["summary"] = 0.1
    headers = {"X-Session": "ann"}
    lines = 0
    while "summary" not in model._written:
        text = f"It is raining in the long street again, and nobody came today, number {lines}."
        connection = send(url, chat("edda", text, stream=stream), headers)
        wait_until(lambda: working(url) == 0 or "summary" in model._written)
        lines += 1
        assert lines < 60
    connection.close()
    assert wait_until(lambda: working(url) == 0) < SOON
    model.delays.clear()
    response = httpx.post(f"{url}/chat/completions", json=chat("edda", "And now?"), headers=headers)
    assert response.status_code == 200, response.text
    with open_store(settings.session_store) as store:
        (info,) = list_sessions(store)
        talk = Conversation(model, "Edda", checkpointer=store, session=info.session)
        spoken = [turn.text for turn in talk.turns() if turn.speaker == "Me"]
    assert len(spoken) == lines + 1 and spoken[-1] == "And now?", "every line is in the record"


def test_thirty_two_who_leave_shut_nobody_out(start: Start, settings: Settings) -> None:
    model = SlowModel(delays={"reply": 0.2})
    url = start({"edda": RoleBackend(settings, EDDA, model)})
    connections = [send(url, chat("edda", stream=n % 2 == 0)) for n in range(32)]
    wait_until(lambda: working(url) == 32)
    assert httpx.post(f"{url}/chat/completions", json=chat("edda")).status_code == 429
    for connection in connections:
        connection.close()
    assert wait_until(lambda: working(url) == 0) < SOON
    model.delays.clear()
    assert httpx.post(f"{url}/chat/completions", json=chat("edda")).status_code == 200


class Upstream(BaseHTTPRequestHandler):
    """A server of a model that reads a prompt for ever, or for ever says a word; it notes who has left."""

    silent: bool
    left: threading.Event
    bodies: list[dict[str, Any]]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(json.loads(content))
        try:
            if not self.silent:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
            for n in range(600):
                if self.silent:
                    self.connection.settimeout(0.05)
                    try:
                        if not self.connection.recv(1):
                            raise BrokenPipeError
                    except TimeoutError:
                        pass
                else:
                    piece = {"choices": [{"index": 0, "delta": {"content": f"word{n} "}}]}
                    self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
                    self.wfile.flush()
                    time.sleep(0.05)
        except OSError:
            self.left.set()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_leaving_closes_the_connection_to_a_models_server(silent: bool, stream: bool, start: Start) -> None:
    handler = type("Handler", (Upstream,), {"silent": silent, "left": threading.Event(), "bodies": []})
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=upstream.serve_forever, args=(0.02,), daemon=True).start()
    try:
        address = f"http://127.0.0.1:{upstream.server_port}/v1"
        model = ApiChatModel(model="far", base_url=address, api_key=SecretStr("none"), max_retries=0)
        url = start({"m": ModelBackend(model)})
        connection = send(url, chat("m", stream=stream))
        wait_until(lambda: bool(handler.bodies))
        time.sleep(0.2)
        connection.close()
        assert wait_until(lambda: working(url) == 0) < SOON
        assert handler.left.wait(SOON), "the model's server was left to go on"
    finally:
        upstream.shutdown()
        upstream.server_close()


@pytest.mark.parametrize("part", ["reply", "summary"])
def test_the_time_limit_includes_every_step(part: str, start: Start, settings: Settings) -> None:
    settings = settings.model_copy(update={"prompt_tokens": 500, "memory": "static"})
    model = SlowModel(context_window=4096)
    url = start({"edda": RoleBackend(settings, EDDA, model)}, (), Limits(seconds=1.0))
    history = [
        {"role": role, "content": f"It is raining in the long street again, and nobody came, number {n}."}
        for n in range(20)
        for role in ("user", "assistant")
    ]
    body = {"model": "edda", "messages": [*history, {"role": "user", "content": "And now?"}]}
    model.delays = {part: 0.3}
    started = time.monotonic()
    response = httpx.post(f"{url}/chat/completions", json=body if part == "summary" else chat("edda"), timeout=30)
    assert time.monotonic() - started < 1 + SOON
    if part == "summary":
        assert response.status_code == 503 and response.json()["error"]["code"] == "timeout", response.text
    else:
        assert response.json()["choices"][0]["finish_reason"] == "length"
        assert response.json()["choices"][0]["message"]["content"]
    assert wait_until(lambda: working(url) == 0) < SOON


def test_the_time_limit_includes_reading_the_prompt(
    start: Start, tiny_qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = start({"m": ModelBackend(load_chat_model(str(tiny_qwen)))}, (), Limits(seconds=0.5))
    Counted(monkeypatch)
    response = httpx.post(f"{url}/chat/completions", json=chat("m", "rain " * 200), timeout=30)
    assert response.status_code == 503 and response.json()["error"]["code"] == "timeout"


def test_a_reader_that_stops_reading_gives_its_place_back(start: Start) -> None:
    class Endless:
        kind = "model"

        def answer(self, *_: Any) -> Iterator[Any]:
            while True:
                time.sleep(0.001)
                yield "x" * 10_000

    url = start({"m": Endless()}, (), Limits(stall_seconds=0.5))
    connection = send(url, chat("m", stream=True))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wait_until(lambda: working(url) == 1)
    assert wait_until(lambda: working(url) == 0) < 30
    connection.close()


def test_unfinished_requests_are_ended(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedProtocol, "request_s", 1.0)
    url = start({"m": ModelBackend(ScriptedChatModel(responses=["Hello."]))}, (), Limits(body_seconds=0.5))
    host, port = "127.0.0.1", int(url.split(":")[2].split("/")[0])
    whole = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{"
    wrong = b"POST /v1/other HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{"
    begun = {}
    for start_of_request in (b"", b"POST /v1/chat", whole, wrong):
        for _ in range(25):
            connection = socket.create_connection((host, port), timeout=20)
            connection.sendall(start_of_request)
            begun[connection] = start_of_request
    for connection, start_of_request in begun.items():
        answer = b""
        try:
            while part := connection.recv(4096):
                answer += part
        except ConnectionResetError:
            pass
        connection.close()
        if start_of_request == whole:
            assert answer.startswith(b"HTTP/1.1 408"), answer
    assert httpx.post(f"{url}/chat/completions", json=chat("m")).status_code == 200


def test_a_slow_client_may_use_its_connection_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit is of one request, not of a connection, nor of an answer."""
    monkeypatch.setattr(LimitedProtocol, "request_s", 0.6)
    slow = SlowModel(delays={"reply": 0.2})
    url = start({"m": ModelBackend(slow)})
    with httpx.Client() as client:
        for _ in range(3):
            body = {"model": "m", "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "A"}]}
            response = client.post(f"{url}/chat/completions", json={**body, "continue_final_message": True}, timeout=30)
            assert response.status_code == 200 and response.elapsed.total_seconds() > 0.6
            time.sleep(0.3)
