"""Requests as front ends send them, wrong ones, and what they cost: each ends in a status that is meant."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from pydantic import SecretStr

from egosrag import ManualIndex, load_chat_model
from egosrag.errors import SettingsError, StoreError
from egosrag.limits import REQUEST_MESSAGES, STOP_STRINGS
from egosrag.models.api import ApiChatModel
from egosrag.models.scripted import ScriptedChatModel
from egosrag.serve import backends
from egosrag.serve.answer import LEFT_OUT
from egosrag.serve.backends import ManualBackend, ModelBackend, RoleBackend
from egosrag.serve.guard import Limits
from egosrag.sessions.catalog import list_sessions
from egosrag.sessions.store import open_store
from egosrag.settings import Settings
from tests.serve.client import chat
from tests.serve.conftest import SAMPLES, Start
from tests.serve.front_ends import BODIES, LINE, READ_BY_A_ROLE

EDDA = SAMPLES / "edda.en.json"
TOKENS = ("0123456789abcdef-one", "0123456789abcdef-two")


def post(url: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    return httpx.post(f"{url}/chat/completions", content=content, headers=headers, timeout=60)


def text_of(response: httpx.Response) -> str:
    """The answer, whole or streamed."""
    assert response.status_code == 200, response.text
    if response.headers["content-type"].startswith("application/json"):
        return str(response.json()["choices"][0]["message"]["content"])
    assert response.text.endswith("data: [DONE]\n\n")
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    return "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])


# --- front ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BODIES)
def test_a_front_ends_request_is_answered_by_a_role(name: str, start: Start, settings: Settings) -> None:
    model = ScriptedChatModel(responses=['Of thunder."'])
    url = start({"edda.en": RoleBackend(settings, EDDA, model)})
    response = post(url, BODIES[name])
    assert text_of(response) == "Of thunder."
    assert response.headers.get(LEFT_OUT, "") == ", ".join(READ_BY_A_ROLE[name])
    prompt = "\n".join(str(message.content) for message in model.calls[0].messages)
    assert LINE in prompt
    assert ("Write the next reply only" in prompt, "Noon" in prompt) == (False, name == "LibreChat, after a tool")
    assert not (settings.data_dir / "sessions.sqlite").exists(), "nothing is stored without a session"


@pytest.mark.parametrize("name", BODIES)
def test_a_front_ends_request_is_answered_by_a_model_and_a_manual(
    name: str, start: Start, settings: Settings, tmp_path: Path
) -> None:
    ManualIndex.build([SAMPLES / "manual.en.md"], tmp_path / "index")
    pocket = load_chat_model("pocket", max_new_tokens=4)
    url = start({"car": ManualBackend(settings, str(tmp_path / "index"), pocket), "m": ModelBackend(pocket)})
    for model in ("car", "m"):
        text_of(post(url, {**BODIES[name], "model": model}))


def test_the_field_user_is_an_account_and_no_conversation(start: Start, settings: Settings) -> None:
    model = ScriptedChatModel(responses=[f'Reply {n}."' for n in range(9)])
    role = RoleBackend(settings, EDDA, model)
    url = start({"edda": role})
    post(url, chat("edda", "My name is Ann.", user="account"))
    history = [{"role": "user", "content": "My cat is Tom."}, {"role": "assistant", "content": "I see."}]
    body = {"model": "edda", "user": "account", "messages": [*history, {"role": "user", "content": "Who am I?"}]}
    post(url, body)
    prompt = str(model.calls[-1].messages)
    assert "Ann" not in prompt and "Tom" in prompt
    url = start({"edda": role}, user_is_session=True)
    post(url, chat("edda", "My name is Ann.", user="account"))
    post(url, chat("edda", "Who am I?", user="account"))
    assert "Ann" in str(model.calls[-1].messages)


def test_two_user_turns_a_greeting_and_empty_lines(start: Start, settings: Settings) -> None:
    model = ScriptedChatModel(responses=['Yes."'] * 9)
    url = start({"edda": RoleBackend(settings, EDDA, model)})
    messages = [
        {"role": "assistant", "content": "Welcome aboard."},
        {"role": "user", "content": "I am Ann."},
        {"role": "user", "content": "And I am cold."},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Do you hear me?"},
        {"role": "user", "content": "   "},
    ]
    response = post(url, {"model": "edda", "messages": messages})
    assert text_of(response) == "Yes."
    assert response.headers[LEFT_OUT] == "messages.3 (empty), messages.5 (empty)"
    prompt = str(model.calls[0].messages[-2].content)
    assert 'Edda: "Welcome aboard."\nMe: "I am Ann."\nMe: "And I am cold."\nMe: "Do you hear me?"' in prompt


def test_openais_python_client_reads_everything(start: Start, settings: Settings) -> None:
    url = start({"edda/v1": RoleBackend(settings, EDDA, ScriptedChatModel(responses=['Of thunder."'] * 9))})
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    assert client.models.retrieve("edda/v1").owned_by == "role"
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("nobody")
    assert missing.value.code == "model_not_found" and missing.value.param == "model"
    with pytest.raises(openai.NotFoundError) as nowhere:
        client.embeddings.create(model="edda/v1", input="x")
    assert nowhere.value.code == "not_found" and nowhere.value.type == "invalid_request_error"
    messages: Any = [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": LINE}]
    raw = client.chat.completions.with_raw_response.create(model="edda/v1", messages=messages)
    assert raw.parse().choices[0].message.content == "Of thunder."
    assert raw.headers[LEFT_OUT] == "messages.0 (developer)"
    with client.chat.completions.stream(model="edda/v1", messages=messages) as stream:
        assert stream.get_final_completion().choices[0].message.content == "Of thunder."


_JAVASCRIPT = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "What are you afraid of?" }];
const whole = await client.chat.completions.create({ model: "edda", messages });
const stream = await client.chat.completions.create({ model: "edda", messages, stream: true });
let text = "";
for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
const names = (await client.models.list()).data.map((model) => model.id);
const missing = await client.models.retrieve("nobody").catch((error) => [error.status, error.code]);
console.log(JSON.stringify({ whole: whole.choices[0].message.content, text, names, missing }));
"""


def test_openais_javascript_client(start: Start, settings: Settings, tmp_path: Path) -> None:
    """Where node and a folder with the package are: EGOSRAG_TEST_NODE_MODULES=.../node_modules."""
    modules = NODE_MODULES
    if shutil.which("node") is None or not (modules / "openai").is_dir():
        pytest.skip("node, or the folder with its package openai (EGOSRAG_TEST_NODE_MODULES), is missing")
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "client.mjs").write_text(_JAVASCRIPT)
    url = start({"edda": RoleBackend(settings, EDDA, ScriptedChatModel(responses=['Of thunder."'] * 2))})
    done = subprocess.run(
        ["node", str(tmp_path / "client.mjs"), url], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    expected = {"whole": "Of thunder.", "text": "Of thunder.", "names": ["edda"], "missing": [404, "model_not_found"]}
    assert json.loads(done.stdout) == expected


NODE_MODULES = Path(os.environ.get("EGOSRAG_TEST_NODE_MODULES", "missing"))


# --- limits of a reply -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_and_stop_strings_apply_to_every_kind_of_model(
    field: str, start: Start, settings: Settings, tmp_path: Path
) -> None:
    ManualIndex.build([SAMPLES / "manual.en.md"], tmp_path / "index")
    words = "one two three four five six seven eight nine ten."
    scripted = ScriptedChatModel(responses=[f'{words}"'] * 9)
    pocket = load_chat_model("pocket")
    url = start(
        {
            "edda": RoleBackend(settings, EDDA, scripted),
            "gu": RoleBackend(settings, SAMPLES / "gu.zh.json", pocket),
            "car": ManualBackend(settings, str(tmp_path / "index"), pocket),
            "m": ModelBackend(scripted),
        }
    )
    for model in ("edda", "m"):
        response = post(url, chat(model, **{field: 3}))
        assert text_of(response).strip() == "one two three"
        assert response.json()["choices"][0]["finish_reason"] == "length"
        response = post(url, chat(model, stop=["five"]))
        assert text_of(response).strip() == "one two three four"
        assert response.json()["choices"][0]["finish_reason"] == "stop"
    for model, line in (("car", "How many airbags does the car have?"), ("gu", "你害怕什么？")):
        whole = text_of(post(url, chat(model, line)))
        response = post(url, chat(model, line, **{field: 3}))
        assert whole.startswith(text_of(response)) and 0 < pocket.get_num_tokens(text_of(response)) <= 3
        assert response.json()["choices"][0]["finish_reason"] == "length"
        stop = whole[4:7]
        assert text_of(post(url, chat(model, line, stop=stop))) == whole[: whole.index(stop)]
        streamed = post(url, chat(model, line, stop=stop, stream=True))
        assert text_of(streamed) == whole[: whole.index(stop)]


class _Upstream:
    """A server of a model that notes what it is sent."""

    def __init__(self, text: str) -> None:
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        self.bodies: list[dict[str, Any]] = []
        self.requests: list[str] = []
        bodies, requests = self.bodies, self.requests

        class Handler(BaseHTTPRequestHandler):
            def parse_request(self) -> bool:
                requests.append(str(self.raw_requestline))
                return super().parse_request()

            def do_POST(self) -> None:
                bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                usage = {"prompt_tokens": 2000, "completion_tokens": 3, "total_tokens": 2003}
                for piece in (
                    {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]},
                    {"choices": [], "usage": {**usage, "prompt_tokens_details": {"cached_tokens": 1900}}},
                ):
                    self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
                self.wfile.write(b"data: [DONE]\n\n")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{self._server.server_port}/v1"
        self.model = ApiChatModel(model="far", base_url=address, api_key=SecretStr("none"), max_retries=0)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def upstream() -> Iterator[_Upstream]:
    server = _Upstream("The car has seven airbags.")
    yield server
    server.close()


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_limits_reach_a_models_server(
    field: str, upstream: _Upstream, start: Start, settings: Settings, tmp_path: Path
) -> None:
    ManualIndex.build([SAMPLES / "manual.en.md"], tmp_path / "index")
    far = upstream.model
    url = start(
        {
            "edda": RoleBackend(settings, EDDA, far),
            "car": ManualBackend(settings, str(tmp_path / "index"), far),
            "m": ModelBackend(far),
        }
    )
    for model in ("edda", "car", "m"):
        upstream.bodies.clear()
        text_of(post(url, chat(model, "How many airbags does the car have?", stop=["zz"], seed=5, **{field: 7})))
        assert [body["max_tokens"] for body in upstream.bodies] == [7] * len(upstream.bodies), model
        if model != "car":
            assert upstream.bodies[-1]["stop"] == ["zz"] and upstream.bodies[-1]["seed"] == 5


# --- the caches of others --------------------------------------------------------------------------------------------


def cached(url: str, text: str, token: str) -> int:
    response = post(url, chat("m", text, max_tokens=1), Authorization=f"Bearer {token}")
    return int(response.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


@pytest.mark.parametrize("kind", ["local", "gguf"])
def test_cached_tokens_say_nothing_about_prompts_of_others(kind: str, start: Start, tiny_qwen: Path) -> None:
    if kind == "gguf":
        pytest.importorskip("xllamacpp", reason="llama.cpp is in the extra gguf")
        from tests.models.conftest import gguf_of

        model = load_chat_model(str(gguf_of(tiny_qwen)))
    else:
        model = load_chat_model(str(tiny_qwen))
    url = start({"m": ModelBackend(model)}, TOKENS)
    secret = f"My name is Ann and my key is 12345, said the {kind} cat."
    assert cached(url, secret, TOKENS[0]) == cached(url, secret, TOKENS[1]) == 0
    assert cached(url, secret, TOKENS[0]) > 10, "a tenant's own prefix is cached"
    assert cached(url, secret.replace("12345", "12346"), TOKENS[1]) > 10
    assert cached(url, secret + " Good night.", TOKENS[0]) > 10


def test_a_servers_cached_tokens_are_not_passed_on_to_several_tenants(upstream: _Upstream, start: Start) -> None:
    assert cached(start({"m": ModelBackend(upstream.model)}, TOKENS), "Hello", TOKENS[0]) == 0
    assert cached(start({"m": ModelBackend(upstream.model)}, TOKENS[:1]), "Hello", TOKENS[0]) == 1900


def test_a_token_has_a_limited_number_of_sessions(
    start: Start, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "TOKEN_SESSIONS", 2)
    model = ScriptedChatModel(responses=['Yes."'] * 20)
    url = start({"edda": RoleBackend(settings, EDDA, model)}, TOKENS)
    first, second = ({"Authorization": f"Bearer {token}"} for token in TOKENS)
    for name in ("a", "b", "a"):
        text_of(post(url, chat("edda"), X_Session=name, **first))
    response = post(url, chat("edda"), X_Session="c", **first)
    assert response.status_code == 403 and response.json()["error"]["code"] == "too_many_sessions"
    text_of(post(url, chat("edda"), X_Session="c", **second))
    text_of(post(url, chat("edda"), X_Session="b", **first))
    with open_store(settings.session_store) as store:
        assert len(list_sessions(store)) == 3


# --- wrong and expensive requests ------------------------------------------------------------------------------------

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


def test_half_characters_of_a_model_can_be_sent(start: Start, upstream: _Upstream) -> None:
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


def test_an_address_in_a_request_is_not_fetched(upstream: _Upstream, start: Start, settings: Settings) -> None:
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
