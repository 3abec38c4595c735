"""The API model against an OpenAI-compatible server on this machine: payloads, streams, usage and errors."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from pydantic import SecretStr

from egosrag.errors import ModelError, WindowError
from egosrag.models import load_chat_model
from egosrag.models.api import ApiChatModel
from egosrag.models.sampling import talk_sampling
from egosrag.models.tokens import context_window, count_tokens
from egosrag.models.usage import usage_of

ASK = [SystemMessage("You are Tim."), HumanMessage('Me: "Who are you?"'), AIMessage('Tim: "')]
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "prompt_tokens_details": {"cached_tokens": 5}}


class Server(ThreadingHTTPServer):
    """Streams ``chunks`` and ends with ``reason``, or answers with ``status`` and an error; records the requests."""

    daemon_threads = True
    chunks: list[str]
    reason: str
    stop_reason: str | None
    status: int
    error: str
    drop: bool
    body: Any
    refuses: str
    barrier: threading.Barrier | None  # requests to be refused wait here for each other
    events: list[dict[str, Any]]
    respond: Callable[[dict[str, Any]], list[dict[str, Any]]] | None  # a request to the events of its answer
    requests: list[dict[str, Any]]
    keys: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(body)
        self.server.keys.append(self.headers["authorization"])
        if self.server.status != 200:
            own = self.server.body
            text = own if isinstance(own, str) else json.dumps(own or {"error": {"message": self.server.error}})
            self._send(text.encode(), "text/html" if isinstance(own, str) else "application/json")
            return
        if self.server.refuses and self.server.refuses in body:
            if self.server.barrier:
                self.server.barrier.wait(timeout=30)
            refusal = {"error": {"message": f"Unrecognized request argument supplied: {self.server.refuses}"}}
            self._send(json.dumps(refusal).encode(), "application/json", status=400)
            return
        if own_events := self.server.respond(body) if self.server.respond else self.server.events:
            events = "".join(f"data: {json.dumps(event)}\n\n" for event in own_events)
            self._send(f"{events}data: [DONE]\n\n".encode(), "text/event-stream")
            return
        lines = [self._event({"index": 0, "delta": {"content": chunk}}) for chunk in self.server.chunks]
        end = {"index": 0, "delta": {}, "finish_reason": self.server.reason, "stop_reason": self.server.stop_reason}
        lines += [self._event(end), self._event(None), "data: [DONE]\n\n"]
        data = "".join(lines).encode()
        self._send(data, "text/event-stream", missing=10_000 if self.server.drop else 0)

    def _event(self, choice: dict[str, Any] | None) -> str:
        base = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        event = {**base, "choices": [choice] if choice else [], **({} if choice else {"usage": USAGE})}
        return f"data: {json.dumps(event)}\n\n"

    def _send(self, data: bytes, kind: str, missing: int = 0, status: int = 0) -> None:
        self.send_response(status or self.server.status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data) + missing))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if missing else data)

    def log_message(self, *args: Any) -> None:
        """Keep the test output clean."""


@contextmanager
def serve() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.chunks, server.reason, server.stop_reason = ["I am", " Tim", "."], "stop", None
    server.status, server.error, server.drop = 200, "", False
    server.body, server.refuses, server.barrier, server.events = None, "", None, []
    server.requests, server.keys, server.respond = [], [], None
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as server:
        yield server


Make = Callable[..., ApiChatModel]


@pytest.fixture
def api(server: Server) -> Make:
    def make(**settings: Any) -> ApiChatModel:
        given = {"max_retries": 0, "timeout": 5, "prefix_style": "none", **settings}
        url = f"http://127.0.0.1:{server.server_port}/v1"
        return ApiChatModel(model="m", base_url=url, api_key=SecretStr("sk-secret-123"), **given)

    return make


def test_deepseek_marks_the_last_message_as_a_prefix(api: Make, server: Server) -> None:
    reply = api(prefix_style="deepseek").invoke(ASK, stop=['"'])
    sent = server.requests[0]
    assert reply.text == "I am Tim."
    assert sent["messages"][-1] == {"role": "assistant", "content": 'Tim: "', "prefix": True}
    assert sent["stop"] == ['"']
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant"]


def test_vllm_is_sent_the_request_to_continue_the_last_message(api: Make, server: Server) -> None:
    api(prefix_style="vllm").invoke(ASK, extra_body={"top_k": 1})
    sent = server.requests[0]
    assert (sent["continue_final_message"], sent["add_generation_prompt"], sent["top_k"]) == (True, False, 1)
    assert "prefix" not in sent["messages"][-1]


def test_other_servers_are_asked_for_the_prefix_in_the_prompt(api: Make, server: Server) -> None:
    server.chunks = ["Ti", 'm: "I am', ' Tim." And', " more"]
    reply = api().invoke(ASK, stop=['"', "\nMe:"])
    sent = server.requests[0]
    assert (reply.text, reply.response_metadata["finish_reason"]) == ("I am Tim.", "stop")
    assert sent["messages"][-1]["role"] == "user"
    assert sent["messages"][-1]["content"].endswith('Tim: "')
    assert sent["stop"] == ["\nMe:"], 'a stop of " would end the reply inside its echo'


def test_without_a_prefix_nothing_is_added(api: Make, server: Server) -> None:
    for style in ("deepseek", "vllm", "none"):
        api(prefix_style=style).invoke(ASK[:2])
    for sent in server.requests:
        assert sent["messages"] == [
            {"role": "system", "content": "You are Tim."},
            {"role": "user", "content": 'Me: "Who are you?"'},
        ]
        assert not {"continue_final_message", "add_generation_prompt"} & sent.keys()


def test_usage_and_reason_come_with_the_last_chunk(api: Make, server: Server) -> None:
    chunks = list(api(prefix_style="deepseek").stream(ASK))
    assert [str(p.text) for p in chunks] == ["I am", " Tim", ".", ""]
    usage = chunks[-1].usage_metadata
    assert usage and (usage["input_tokens"], usage["output_tokens"]) == (9, 4)
    assert usage["input_token_details"]["cache_read"] == 5
    assert chunks[-1].response_metadata["finish_reason"] == "eos"
    assert server.requests[0]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("reason", "stop_reason", "stop", "expected"),
    [
        ("stop", None, None, "eos"),
        ("stop", None, ["x"], "stop"),
        ("stop", '"', None, "stop"),
        ("length", None, ["x"], "length"),
    ],
)
def test_the_reason_why_a_reply_ended(
    api: Make, server: Server, reason: str, stop_reason: str | None, stop: list[str] | None, expected: str
) -> None:
    server.reason, server.stop_reason = reason, stop_reason
    assert api().invoke(ASK[:2], stop=stop).response_metadata["finish_reason"] == expected


def test_a_withheld_reply_is_an_error(api: Make, server: Server) -> None:
    server.reason = "content_filter"
    with pytest.raises(ModelError, match="withheld the reply"):
        api().invoke(ASK)


def test_async_is_the_same(api: Make, server: Server) -> None:
    server.chunks = ['Tim: "I am', ' Tim." No']

    async def ask() -> tuple[str, str]:
        model = api()
        streamed = "".join([str(p.text) async for p in model.astream(ASK, stop=['"'])])
        return streamed, str((await model.ainvoke(ASK, stop=['"'])).text)

    assert asyncio.run(ask()) == ("I am Tim.", "I am Tim.")


def test_the_token_limit_is_sent_by_the_name_that_servers_know(api: Make, server: Server) -> None:
    model = api(max_tokens=7)
    model.invoke(ASK)
    model.invoke(ASK, max_new_tokens=3)
    assert [r["max_tokens"] for r in server.requests] == [7, 3]
    assert "max_completion_tokens" not in server.requests[0]


@pytest.mark.parametrize(
    ("status", "error", "kind", "message"),
    [
        (401, "Incorrect API key provided: sk-secret-123", ModelError, "refused the key: check OPENAI_API_KEY"),
        (403, "no", ModelError, "refused the key"),
        (404, "The model `m` does not exist", ModelError, "has no model m"),
        (400, "bad key sk-secret-123 in field", ModelError, r"refused the request: bad key \*\*\* in field"),
        (400, "This model's maximum context length is 9 tokens", WindowError, "does not fit the window of m"),
        (429, "slow down", ModelError, "asks for fewer requests"),
        (500, "boom", ModelError, "failed: boom"),
    ],
)
def test_a_refusal_is_one_line_without_the_key(
    api: Make, server: Server, status: int, error: str, kind: type[Exception], message: str
) -> None:
    server.status, server.error = status, error
    for call in (lambda m: m.invoke(ASK), lambda m: list(m.stream(ASK)), lambda m: asyncio.run(m.ainvoke(ASK))):
        with pytest.raises(kind, match=message) as caught:
            call(api())
        assert "\n" not in str(caught.value)
        assert "sk-secret" not in str(caught.value)


def test_a_server_that_does_not_accept_the_prefix_style_is_an_error(api: Make, server: Server) -> None:
    server.status, server.error = 422, "Unexpected fields"
    with pytest.raises(ModelError, match='does not accept prefix_style "vllm": use "none"'):
        api(prefix_style="vllm").invoke([*ASK, AIMessage("I am")])
    with pytest.raises(ModelError, match="refused the request: Unexpected fields"):
        api(prefix_style="none").invoke(ASK)


def test_an_unreachable_server_is_named(server: Server, api: Make) -> None:
    model = api()
    server.shutdown()
    server.server_close()
    with pytest.raises(ModelError, match=f"no connection to 127.0.0.1:{server.server_port}"):
        model.invoke(ASK)


def test_a_connection_lost_in_the_middle_is_an_error(server: Server, api: Make) -> None:
    server.drop = True
    with pytest.raises(ModelError, match="no connection to 127.0.0.1"):
        api().invoke(ASK)


def test_a_busy_server_is_retried(server: Server, api: Make) -> None:
    server.status = 503
    with pytest.raises(ModelError, match="failed"):
        api(max_retries=1).invoke(ASK)
    assert len(server.requests) == 2


def test_openai_names_use_any_compatible_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    model = load_chat_model("openai:qwen", prefix_style="vllm", temperature=0.3, max_new_tokens=5, seed=1)
    assert model.invoke(ASK).text == "I am Tim."
    sent = server.requests[0]
    assert (sent["model"], sent["temperature"], sent["max_tokens"], sent["seed"]) == ("qwen", 0.3, 5, 1)
    assert sent["continue_final_message"] is True


def test_a_conversation_leaves_the_temperature_to_the_server_unless_it_is_set(api: Make, server: Server) -> None:
    greedy = api()
    greedy.invoke(ASK)
    greedy.invoke(ASK, **talk_sampling(greedy))
    warm = greedy.model_copy(update={"temperature": 0.4})
    warm.invoke(ASK, **talk_sampling(warm))
    assert [request.get("temperature", "not sent") for request in server.requests] == [0.0, "not sent", 0.4]


def test_parameters_beside_the_protocol_are_sent_only_where_they_are_set(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    ours = {"top_k", "min_p", "repetition_penalty", "repeat_penalty"}
    load_chat_model("openai:qwen").invoke(ASK)
    assert not ours & server.requests[0].keys()
    model = load_chat_model("openai:qwen", top_k=20, min_p=0.05, repetition_penalty=1.1, prefix_style="vllm")
    model.invoke(ASK)
    sent = {name: server.requests[1].get(name) for name in ours}
    assert sent == {"top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1, "repeat_penalty": 1.1}
    assert server.requests[1]["continue_final_message"] is True
    server.refuses = "top_k"
    with pytest.raises(ModelError, match="refused the setting top_k: leave it out"):
        model.invoke(ASK)


def test_deepseek_is_called_at_its_beta_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-1")
    model = load_chat_model("deepseek:deepseek-chat")
    assert isinstance(model, ApiChatModel)
    assert str(model.root_client.base_url) == "https://api.deepseek.com/beta/"
    assert (model.prefix_style, model.temperature, model.max_tokens) == ("deepseek", 0.0, 256)
    assert "sk-1" not in repr(model)
    assert context_window(model) == 65_536 - 256


def test_counting_needs_no_download(api: Make) -> None:
    assert count_tokens(api(), "打开前机舱盖") == 6
    assert context_window(api(context_window=1000, max_tokens=100)) == 900


# --- what servers do beside the protocol ----------------------------------------------------------------------------


OVERFLOWS = [
    "the request exceeds the available context size, try increasing it",
    "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length"
    " of only 4096 tokens, which is not enough.",
    "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
    "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
    "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
    "Prompt 超长，请缩短后重试",
    "输入长度超过模型最大限制",
]


@pytest.mark.parametrize("message", OVERFLOWS)
@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_prompt_that_is_too_long_is_known_in_every_servers_words(
    api: Make, server: Server, status: int, message: str
) -> None:
    server.status, server.error = status, message
    with pytest.raises(WindowError, match="does not fit the window of m"):
        api().invoke(ASK)


def test_status_413_is_a_prompt_that_is_too_long(api: Make, server: Server) -> None:
    server.status, server.error = 413, "Request Entity Too Large"
    with pytest.raises(WindowError):
        api().invoke(ASK)


@pytest.mark.parametrize(
    ("status", "message", "told"),
    [
        (401, "context length is a paid feature", "refused the key"),
        (429, "tokens exceed your quota: context window of the day", "fewer requests"),
        (400, "temperature must be positive", "refused the request: temperature must be positive"),
    ],
)
def test_other_errors_are_not_taken_for_it(api: Make, server: Server, status: int, message: str, told: str) -> None:
    server.status, server.error = status, message
    with pytest.raises(ModelError, match=told) as error:
        api().invoke(ASK)
    assert not isinstance(error.value, WindowError)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"error": "no such role"}, "no such role"),
        ({"error": {"code": "1210", "message": "参数有误"}}, "参数有误"),
        ({"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, "field required"),
        ({"message": "bad request", "type": "invalid"}, "bad request"),
        ({"error": {"error": {"msg": "deeply nested"}}}, "deeply nested"),
        ("<html><body><h1>Bad\nGateway</h1></body></html>", "Bad Gateway"),
        ("plain text", "plain text"),
    ],
)
def test_an_error_body_of_any_shape_is_reported_in_its_own_words(
    api: Make, server: Server, body: Any, told: str
) -> None:
    server.status, server.body = 400, body
    with pytest.raises(ModelError, match=told) as error:
        api().invoke(ASK)
    assert "\n" not in str(error.value)


def test_a_server_that_refuses_stream_options_is_asked_again_without(api: Make, server: Server) -> None:
    server.refuses = "stream_options"
    model = api()
    assert model.invoke(ASK[:2]).text == "I am Tim."
    assert ["stream_options" in sent for sent in server.requests] == [True, False]
    assert "".join(str(part.text) for part in model.stream(ASK[:2])) == "I am Tim."
    assert asyncio.run(api().ainvoke(ASK[:2])).text == "I am Tim."
    assert ["stream_options" in sent for sent in server.requests] == [True, False, False, True, False]


def test_calls_at_the_same_time_are_each_asked_again_without_stream_options(api: Make, server: Server) -> None:
    server.refuses, server.barrier = "stream_options", threading.Barrier(2)
    model = api()
    with ThreadPoolExecutor(2) as pool:
        assert [reply.text for reply in pool.map(model.invoke, [ASK[:2]] * 2)] == ["I am Tim."] * 2


@pytest.mark.parametrize(
    ("event", "error", "told"),
    [
        ({"error": {"message": "out of memory"}}, ModelError, "failed: out of memory"),
        ({"code": "InvalidParameter", "message": "wrong model"}, ModelError, "failed: wrong model"),
        ({"error": "the request exceeds the available context size"}, WindowError, "does not fit"),
    ],
)
def test_an_error_inside_a_200_is_an_error(
    api: Make, server: Server, event: dict[str, Any], error: type[Exception], told: str
) -> None:
    server.events = [event]
    with pytest.raises(error, match=told):
        api().invoke(ASK)


def test_a_refusal_is_an_error_in_the_models_words(api: Make, server: Server) -> None:
    server.events = [delta({"refusal": "I can't help "}), delta({"refusal": "with that."}), delta({}, "stop")]
    with pytest.raises(ModelError, match=r"m refused to answer: I can't help with that\."):
        api().invoke(ASK)


def test_thoughts_are_not_speech_and_nothing_but_thoughts_is_an_error(api: Make, server: Server) -> None:
    thought = delta({"reasoning_content": "Who am I? I am Tim."})
    server.events = [thought, delta({"content": "I am Tim."}), delta({}, "stop")]
    assert api().invoke(ASK[:2]).text == "I am Tim."
    server.events, server.chunks = [], ["<think>Who am", " I?</think>\n\n", "I am Tim."]
    assert api().invoke(ASK[:2]).text == "I am Tim."
    server.chunks = ["<think>Who am", " I? And so on"]
    server.reason = "length"
    with pytest.raises(ModelError, match="spent all of its tokens thinking"):
        api().invoke(ASK[:2])
    server.events = [thought, delta({}, "length")]
    with pytest.raises(ModelError, match="spent all of its tokens thinking and said nothing: raise max_new_tokens"):
        api().invoke(ASK[:2])


def delta(fields: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    """An event of a stream with these fields of the delta."""
    base = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**base, "choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


def test_deepseeks_count_of_cached_tokens_is_read(api: Make, server: Server) -> None:
    counts = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    own = {"prompt_cache_hit_tokens": 7, "prompt_cache_miss_tokens": 2}
    said = [delta({"content": "Yes."}), delta({}, "stop")]
    for usage, cached in ((counts | own, 7), (USAGE | own, 5), (counts | {"prompt_cache_hit_tokens": None}, 0)):
        server.events = [*said, {**delta({}), "choices": [], "usage": usage}]
        found = usage_of(api().invoke(ASK[:2]))
        assert (found.prompt_tokens, found.cached_tokens) == (9, cached)
