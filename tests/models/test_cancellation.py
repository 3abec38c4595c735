"""Work for a caller who may leave: it is the same work, in parts, and ends at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.messages import HumanMessage
from pydantic import SecretStr

from egosrag.caller import Caller, Cancelled, cache_key, calling, check_cancelled, current_caller
from egosrag.models import load_chat_model
from egosrag.models.api import ApiChatModel
from egosrag.models.background import iterate_cancellable
from egosrag.models.runtime.batching import ForwardRequest
from egosrag.models.runtime.engine import Engine

LONG = [HumanMessage("It is raining in the long street. " * 30)]


def test_without_a_caller_nothing_is_cancelled() -> None:
    assert current_caller() is None and cache_key() == ""
    check_cancelled()
    caller = Caller(cache_key="a")
    with calling(caller):
        assert current_caller() is caller and cache_key() == "a"
        check_cancelled()
        caller.cancel()
        with pytest.raises(Cancelled):
            check_cancelled()
    check_cancelled()


def test_a_caller_whose_time_is_over_is_late_and_not_cancelled() -> None:
    caller = Caller(0.01)
    caller.check()
    time.sleep(0.02)
    assert caller.late and not caller.cancelled
    with pytest.raises(Cancelled):
        caller.check()


def test_a_prompt_that_is_read_in_parts_gives_the_same_reply(tiny_qwen: Path) -> None:
    for name in (str(tiny_qwen), "pocket"):
        model = load_chat_model(name, max_new_tokens=12, kv_cache_mb=0)
        whole = model.invoke(LONG)
        with calling(Caller()):
            parts = model.invoke(LONG)
        assert parts.text == whole.text
        for count in ("input_tokens", "output_tokens"):  # an earlier test may have cached the prompt
            assert parts.usage_metadata[count] == whole.usage_metadata[count]
        with calling(Caller()):
            likelihoods = model.log_likelihoods(LONG, " Yes.")
        assert likelihoods == pytest.approx(model.log_likelihoods(LONG, " Yes."), abs=1e-3)


class Slow:
    """Passes of an engine that take a tenth of a second, and the numbers of ids in each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[list[int]] = []
        forward = Engine._forward

        def slow(engine: Engine, batch: list[ForwardRequest]) -> Any:
            self.sizes.append([len(request.ids) for request in batch])
            time.sleep(0.1)
            return forward(engine, batch)

        monkeypatch.setattr(Engine, "_forward", slow)


def test_others_get_their_tokens_between_the_parts_of_a_long_prompt(
    tiny_qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_chat_model(str(tiny_qwen), max_new_tokens=3, kv_cache_mb=0)
    slow = Slow(monkeypatch)
    finished: list[str] = []

    def invoke(name: str, messages: Any) -> None:
        with calling(Caller()):
            model.invoke(messages)
        finished.append(name)

    long = threading.Thread(target=invoke, args=("long", LONG))
    long.start()
    while not slow.sizes:
        time.sleep(0.01)
    short = threading.Thread(target=invoke, args=("short", [HumanMessage("Hi")]))
    short.start()
    for thread in (long, short):
        thread.join()
    assert finished == ["short", "long"], slow.sizes
    assert max(size for sizes in slow.sizes for size in sizes) <= 512


def test_a_cancelled_call_leaves_nothing_behind(tiny_qwen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_chat_model(str(tiny_qwen), max_new_tokens=50)
    Slow(monkeypatch)
    caller = Caller()
    threading.Timer(0.25, caller.cancel).start()
    before = len(model.engine.kv_pool)
    started = time.monotonic()
    with calling(caller), pytest.raises(Cancelled):
        model.invoke(LONG)
    assert time.monotonic() - started < 5
    scheduler = model.engine.scheduler
    assert not scheduler._queue and not scheduler._running
    assert len(model.engine.kv_pool) == before, "a pass may still write to the cache"


def test_caches_belong_to_the_key_of_their_caller(tiny_qwen: Path) -> None:
    model = load_chat_model(str(tiny_qwen), max_new_tokens=1)

    def cached(key: str) -> int:
        with calling(Caller(cache_key=key)):
            usage = model.invoke([HumanMessage("The secret is 1234, and nobody else knows it.")]).usage_metadata
        return int(usage["input_token_details"]["cache_read"])

    assert cached("ann") == cached("bob") == 0
    assert cached("ann") > 10 and cached("bob") > 10
    assert cached("") == 0


def test_a_stream_in_the_background_is_closed_when_its_reader_leaves() -> None:
    closed = threading.Event()

    async def forever() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(600)
        finally:
            closed.set()

    stream = iterate_cancellable(forever)
    assert next(stream) == 1
    stream.close()  # type: ignore[attr-defined]
    assert closed.wait(5)

    async def wrong() -> AsyncIterator[int]:
        yield 1
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(iterate_cancellable(wrong))

    closed.clear()
    caller = Caller(0.2)
    with calling(caller), pytest.raises(Cancelled):
        list(iterate_cancellable(forever))
    assert closed.wait(5)


class Endless(httpx.AsyncByteStream):
    """A reply that never ends. With its third chunk the task that reads it is cancelled, as if its reader left then."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number in range(600):
            if number == 2:
                (reader,) = [task for task in asyncio.all_tasks() if "pump" in repr(task)]
                reader.cancel()
            yield b'data: {"choices": [{"index": 0, "delta": {"content": "word "}}]}\n\n'
            await asyncio.sleep(0 if number < 3 else 0.05)

    async def aclose(self) -> None:
        self.closed.set()


def test_a_cancellation_that_comes_together_with_a_chunk_is_not_lost() -> None:
    reply = Endless()
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=reply)
    )
    model = ApiChatModel(
        model="far",
        base_url="http://127.0.0.1:1/v1",
        api_key=SecretStr("none"),
        http_async_client=httpx.AsyncClient(transport=transport),
    )
    with calling(Caller(60)):
        for _ in model.stream([HumanMessage("Hello?")]):
            pass
    assert reply.closed.wait(5)
