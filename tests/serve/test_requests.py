"""Wrong and expensive requests, and what they cost: each ends in a status that is meant."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from egosrag import ManualIndex, load_chat_model
from egosrag.errors import SettingsError, StoreError
from egosrag.limits import QUESTION_CHARACTERS, REQUEST_MESSAGES, STOP_STRINGS
from egosrag.models.scripted import ScriptedChatModel
from egosrag.serve.answer import LEFT_OUT
from egosrag.serve.backends import ManualBackend, ModelBackend, RoleBackend
from egosrag.serve.guard import Limits
from egosrag.serve.schema import LONG_BODY, ChatRequest
from egosrag.settings import Settings
from tests.serve.client import chat, post, text_of
from tests.serve.conftest import SAMPLES, Start
from tests.serve.front_ends import LINE
from tests.serve.upstream import Upstream

EDDA = SAMPLES / "edda.en.json"
TOKENS = ("0123456789abcdef-one", "0123456789abcdef-two")
ASK = [{"role": "user", "content": "?"}]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"n": 2}, "n:"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 2**70}, "seed"),
        ({"stop": ["x"] * (STOP_STRINGS + 1)}, "stop"),
        ({"stop": ["x"] * 300_000}, "stop"),
        ({"stop": [7]}, "stop.0"),
        ({"stop": {"a": 1}}, "stop.0"),
        ({"stop": "x" * 2000}, "stop.0"),
        ({"messages": ASK * (REQUEST_MESSAGES + 1)}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "text parts"),
        ({"messages": [{"role": "tool", "content": "?"}]}, "messages.0"),
        ({"messages": [7, None, [], {"role": ["user"]}, {"role": "user", "content": 7}]}, "messages.0"),
        ({"model": 7}, "model"),
        ({"model": None}, "model"),
        ({"model": ["m"]}, "model: give one value"),
        ({"temperature": [{}] * 900_000}, "temperature: give one value"),
        ({"seed": {"a": 1}}, "seed: give one value"),
        ({"messages": [{"role": "user", "content": [1] * 1_300_000}]}, "messages: their contents have 1300000 parts"),
        ({"messages": [{"role": "user", "content": ["a"] * 6_000}] * 2}, "messages: their contents have 12000 parts"),
        ({"stream": "perhaps"}, "stream"),
        ({"stream_options": "yes"}, "stream_options"),
        ({"top_k": 2**40}, "top_k"),
        ({"repetition_penalty": 1e-45}, "repetition_penalty"),
    ],
)
def test_a_wrong_field_is_400_with_its_name(more: dict[str, Any], word: str, start: Start) -> None:
    url = start({"m": ModelBackend(ScriptedChatModel(responses=[]))})
    response = post(url, {"model": "m", "messages": ASK, **more})
    assert response.status_code == 400, response.text
    assert word in response.json()["error"]["message"] and len(response.text) < 1000


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 1e-45},
        {"temperature": 2, "top_p": 1e-300},
        {"temperature": 1, "repetition_penalty": 100},
        {"temperature": 1, "repetition_penalty": 0.01},
        {"temperature": 1, "min_p": 1, "top_k": 2**31 - 1},
        {"seed": -(2**63), "temperature": 1},
        {"seed": 2**63 - 1, "temperature": 1},
        {"max_tokens": -1, "top_k": -1, "seed": -1},
        {"messages": [{"role": "user", "content": "half \ud83d of a pair"}]},
        {"messages": [{"role": "user", "content": "\x00\u202e<|im_end|>"}]},
        {"stop": "\udc00"},
        {"user": "\ud800", "metadata": {"a": "\udfff"}},
    ],
)
@pytest.mark.parametrize("kind", ["local", "gguf"])
def test_odd_values_are_answered(more: dict[str, Any], kind: str, start: Start, tiny_qwen: Path) -> None:
    if kind == "gguf":
        pytest.importorskip("xllamacpp", reason="llama.cpp is in the extra gguf")
        from tests.models.conftest import gguf_of

        model = load_chat_model(str(gguf_of(tiny_qwen)), max_new_tokens=3)
    else:
        model = load_chat_model(str(tiny_qwen), max_new_tokens=3)
    url = start({"m": ModelBackend(model)})
    text_of(post(url, {"model": "m", "messages": ASK, **more}))


def test_a_name_with_half_a_character_is_an_error_that_can_be_sent(start: Start) -> None:
    url = start({"m": ModelBackend(ScriptedChatModel(responses=[]))})
    assert post(url, chat("\ud800")).json()["error"]["code"] == "model_not_found"


def test_half_characters_of_a_model_can_be_sent(start: Start, upstream: Upstream) -> None:
    from egosrag.text.encoding import without_surrogates

    assert without_surrogates("a\ud83d\ude00b") == "a😀b" and without_surrogates("a\ud83db") == "a\ufffdb"
    scripted = ScriptedChatModel(responses=["a\ud83db"] * 2, chunk_size=1)
    url = start({"m": ModelBackend(scripted)})
    for stream in (True, False):
        assert text_of(post(url, chat("m", stream=stream))) == "a\ufffdb"


def test_no_error_shows_a_folder_of_the_server(
    start: Start, settings: Settings, tiny_qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ManualIndex.build([SAMPLES / "manual.en.md"], tmp_path / "index")
    local = load_chat_model(str(tiny_qwen))
    broken = settings.model_copy(update={"store": str(tmp_path)})  # a folder, and no file
    manual = ManualBackend(settings, str(tmp_path / "index"), local)

    class Wrong:
        kind = "model"

        def __init__(self, error: Exception) -> None:
            self.error = error

        def answer(self, *_: Any) -> Iterator[Any]:
            raise self.error
            yield

    errors = [
        SettingsError(str(tmp_path)),
        StoreError(str(tmp_path)),
        RuntimeError(str(tmp_path)),
        OSError(2, "x", "y"),
    ]
    url = start(
        {
            "m": ModelBackend(local),
            "edda": RoleBackend(broken, EDDA, local),
            "car": manual,
            **{f"wrong{n}": Wrong(error) for n, error in enumerate(errors)},
        }
    )
    cases = [
        ({**chat("m", "rain " * 3000)}, {}, 400),
        ({**chat("m", "rain " * 300_000)}, {}, 400),
        ({**chat("car", "rain " * 300_000)}, {}, 400),
        ({**chat("edda", "rain " * 3000)}, {}, 400),
        ({**chat("edda", "rain " * 300_000)}, {}, 400),
        (chat("edda"), {"X_Session": "ann"}, 503),
        *((chat(f"wrong{n}"), {}, 503) for n in range(len(errors))),
    ]
    for body, headers, status in cases:
        for stream in (True, False):
            response = post(url, {**body, "stream": stream}, **headers)
            assert response.status_code == status, response.text
            assert str(tmp_path.parent.parent) not in response.text and "/" not in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": [{"role": "user", "content": "rain " * 750_000}]},
        {"model": "m", "messages": [{"role": "user", "content": "rain " * 900}] * 800},
        {"model": "edda", "messages": [{"role": "user", "content": "雨" * 1_200_000}]},
        {"model": "m", "messages": ASK, "stop": ["x"] * 300_000},
        {"model": "m", "messages": ASK, "stop": [1] * 1_000_000},
        {"model": "m", "messages": [{"role": "user", "content": [1] * 1_500_000}]},
        {"model": "m", "messages": ASK, "x": [[[]]] * 500_000},
        {"model": "m", "messages": ASK, "temperature": 10**4000},
    ],
)
def test_an_expensive_request_is_refused_and_delays_nobody(
    body: dict[str, Any], start: Start, settings: Settings
) -> None:
    """The neighbours' requests take the time that they take alone, and at most as much again (and a moment)."""
    pocket = load_chat_model("pocket", max_new_tokens=24)
    url = start({"m": ModelBackend(pocket), "edda": RoleBackend(settings, EDDA, pocket)})

    def seconds() -> float:
        started = time.monotonic()
        text_of(post(url, chat("m", "Tell me of the sea.")))
        return time.monotonic() - started

    seconds()
    alone = max(seconds() for _ in range(3))
    statuses: list[int] = []
    content = json.dumps(body).encode()[:4_000_000]
    others = [threading.Thread(target=lambda: statuses.append(post(url, content).status_code)) for _ in range(2)]
    for other in others:
        other.start()
    together = [seconds() for _ in range(3)]
    for other in others:
        other.join()
    assert statuses in ([400] * 2, [200] * 2), statuses
    print(f"\nalone {alone:.2f} s, beside it {max(together):.2f} s")
    assert max(together) < 2 * alone + 2


def test_long_bodies_that_wait_to_be_parsed_delay_no_short_one(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are forty threads for what would block the event loop, and one body that is parsed takes one of them."""
    go_on, parse = threading.Event(), ChatRequest._parse.__func__  # type: ignore[attr-defined]

    def slowly(cls: type[ChatRequest], body: bytes) -> ChatRequest:
        assert len(body) < LONG_BODY or go_on.wait(60)
        result: ChatRequest = parse(cls, body)
        return result

    monkeypatch.setattr(ChatRequest, "_parse", classmethod(slowly))
    url = start({"m": ModelBackend(ScriptedChatModel(responses=["Hello."] * 60))})
    long = {**chat("m"), "x": "y" * LONG_BODY}
    statuses: list[int] = []
    others = [threading.Thread(target=lambda: statuses.append(post(url, long).status_code)) for _ in range(45)]
    try:
        for other in others:
            other.start()
        time.sleep(0.5)  # or some have not sent theirs yet, and the test proves less
        assert text_of(post(url, chat("m"))) == "Hello."
        assert not statuses
    finally:
        go_on.set()
        for other in others:
            other.join()
    assert set(statuses) <= {200, 429} and 200 in statuses


def test_a_question_to_a_manual_is_short_enough_to_be_searched_for(
    start: Start, settings: Settings, tmp_path: Path
) -> None:
    ManualIndex.build([SAMPLES / "manual.en.md"], tmp_path / "index")
    url = start({"car": ManualBackend(settings, str(tmp_path / "index"), ScriptedChatModel(responses=[]))})
    for text in ("rain " * 5000, "雨" * (QUESTION_CHARACTERS + 1)):
        response = post(url, chat("car", text))
        assert response.status_code == 400, response.text
        assert response.json()["error"]["code"] == "context_length_exceeded"


def test_the_default_of_a_field_that_is_not_supported_is_not_left_out(start: Start) -> None:
    url = start({"m": ModelBackend(ScriptedChatModel(responses=["Hello."] * 2))})
    assert LEFT_OUT not in post(url, chat("m", response_format={"type": "text"})).headers
    assert post(url, chat("m", response_format={"type": "json_object"})).headers[LEFT_OUT] == "response_format"


def test_errors_of_the_protocol_have_openais_shape(start: Start) -> None:
    url = start({"m": ModelBackend(ScriptedChatModel(responses=[]))})
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("POST", "/v1/completions", 404),
        ("GET", "/v1/models/none", 404),
    ):
        response = httpx.request(method, url.removesuffix("/v1") + path)
        assert response.status_code == status
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_what_is_no_http_request_is_400_in_the_same_shape(start: Start) -> None:
    place = urlsplit(start({"m": ModelBackend(ScriptedChatModel(responses=[]))}))
    for sent in (b"hello\r\n\r\n", b"GET / HTTP/9\r\n\r\n"):
        with socket.create_connection((str(place.hostname), place.port or 80), timeout=20) as connection:
            connection.sendall(sent)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400") and json.loads(body)["error"]["code"] == "invalid_http"


def test_a_body_that_stalls_is_408_and_its_connection_is_closed(start: Start) -> None:
    url = start({"m": ModelBackend(ScriptedChatModel(responses=[]))}, (), Limits(body_seconds=0.3))

    def slow() -> Iterator[bytes]:
        yield b'{"model": "m", '
        time.sleep(1)
        yield b'"messages": []}'

    headers = {"Content-Type": "application/json"}
    response = httpx.post(f"{url}/chat/completions", content=slow(), headers=headers)
    assert response.status_code == 408 and response.json()["error"]["code"] == "request_timeout"
    assert response.headers["connection"] == "close"


def test_a_token_of_other_characters_is_401(start: Start) -> None:
    url = start({"m": ModelBackend(ScriptedChatModel(responses=[]))}, TOKENS)
    for sent in ("Bearer \xe9\xff", "Bearer", "\xff"):
        response = httpx.get(f"{url}/models", headers={"Authorization": sent.encode("latin-1")})
        assert response.status_code == 401 and not re.search(TOKENS[0], response.text)


def test_an_address_in_a_request_is_not_fetched(upstream: Upstream, start: Start, settings: Settings) -> None:
    """Images are left out by their place; nobody asks for them."""
    address = str(upstream.model.openai_api_base)
    parts = [
        {"type": "text", "text": LINE},
        {"type": "image_url", "image_url": {"url": f"{address}/a.png"}},
        {"type": "file", "file": {"file_data": f"{address}/b.pdf"}},
        {"type": "input_audio", "input_audio": {"data": f"{address}/c.wav"}},
    ]
    model = ScriptedChatModel(responses=["Of thunder."] * 2)
    url = start({"m": ModelBackend(model), "edda": RoleBackend(settings, EDDA, model)})
    for name in ("m", "edda"):
        response = post(url, {"model": name, "messages": [{"role": "user", "content": parts}]})
        assert response.headers[LEFT_OUT].count("messages.0.content.") == 3
    assert not upstream.requests
    assert address not in str(model.calls)
