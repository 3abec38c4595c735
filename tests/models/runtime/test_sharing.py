"""One base model in memory for many users: adapters, threads, async tasks, and streams that are abandoned."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from egosrag.models.local import LocalChatModel
from egosrag.prompts.encode import encode
from tests.models.conftest import FixedReply
from tests.tiny import make_tiny_adapter

ASK: list[BaseMessage] = [SystemMessage("You are Tim."), HumanMessage('Me: "Who are you?"'), AIMessage('Tim: "')]
FRAGE: list[BaseMessage] = [SystemMessage("你是悟空。"), HumanMessage("我：“你是谁？”"), AIMessage("悟空：“")]


def tiny(path: Path, **settings: Any) -> LocalChatModel:
    return LocalChatModel(model=str(path), **{"max_new_tokens": 12, **settings})


def test_an_adapter_changes_the_reply_and_the_shared_base_stays(tiny_qwen: Path, adapter: str) -> None:
    base = tiny(tiny_qwen)
    before = base.invoke(ASK).text
    tuned = tiny(tiny_qwen, adapter=adapter)
    assert tuned.engine is base.engine
    changed = tuned.invoke(ASK)
    assert changed.text != before
    assert changed.usage_metadata["input_token_details"]["cache_read"] == 0, (
        "keys and values of the base model are not reused"
    )
    assert base.invoke(ASK).text == before


def test_replies_with_adapters_are_those_of_peft_with_each_alone(tiny_qwen: Path, adapter: str, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    make_tiny_adapter(tiny_qwen, tmp_path / "b", seed=5)
    for path in (adapter, str(tmp_path / "b"), adapter):
        model = tiny(tiny_qwen, adapter=path)
        reference = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(tiny_qwen, dtype=torch.float32), path
        ).eval()
        ids = torch.tensor([encode(model.tokenizer, ASK)])
        out = reference.generate(input_ids=ids, do_sample=False, max_new_tokens=12, repetition_penalty=1.0)
        expected = model.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        assert model.invoke(ASK).text == expected.rstrip("\ufffd"), "half a character at the end is not shown"


def test_threads_do_not_disturb_each_other(tiny_qwen: Path, adapter: str) -> None:
    models = [tiny(tiny_qwen), tiny(tiny_qwen, adapter=adapter), tiny(tiny_qwen, temperature=1.0, seed=3)]
    jobs = [(model, messages) for model in models for messages in (ASK, FRAGE)] * 2
    alone = [model.invoke(messages, max_new_tokens=6).text for model, messages in jobs]
    concurrent: list[Any] = [None] * len(jobs)

    def work(n: int) -> None:
        concurrent[n] = jobs[n][0].invoke(jobs[n][1], max_new_tokens=6).text

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert concurrent == alone


def test_batch_answers_in_order(fixed_reply: FixedReply) -> None:
    replies = fixed_reply('I am Tim."').batch([ASK, FRAGE, ASK], stop=['"'])
    assert [reply.text for reply in replies] == ["I am Tim."] * 3


def test_an_abandoned_stream_blocks_no_other(tiny_qwen: Path) -> None:
    model = tiny(tiny_qwen, max_new_tokens=200)
    stream = model.stream(ASK)
    next(stream)
    assert model.invoke(FRAGE, max_new_tokens=1).response_metadata["finish_reason"] == "length"
    stream.close()
    assert model.engine.lock.acquire(timeout=30)
    model.engine.lock.release()


def test_closing_the_stream_stops_the_work(tiny_qwen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(tiny_qwen, max_new_tokens=200)
    passes: list[int] = []
    forward = model.engine._forward
    monkeypatch.setattr(model.engine, "_forward", lambda *a: passes.append(1) or forward(*a))
    stream = model.stream(ASK)
    next(stream)
    stream.close()
    assert 1 <= len(passes) < 10


def test_async_streams_the_same_text(fixed_reply: FixedReply) -> None:
    model = fixed_reply('I am Tim."')

    async def collect() -> tuple[str, str]:
        streamed = "".join([str(chunk.text) async for chunk in model.astream(ASK, stop=['"'])])
        return streamed, str((await model.ainvoke(ASK, stop=['"'])).text)

    assert asyncio.run(collect()) == ("I am Tim.", "I am Tim.")


def test_a_cancelled_task_stops_the_work(tiny_qwen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(tiny_qwen, max_new_tokens=900)
    passes: list[int] = []
    forward = model.engine._forward
    monkeypatch.setattr(model.engine, "_forward", lambda *a: passes.append(1) or forward(*a))

    async def cancel() -> int:
        task = asyncio.create_task(model.ainvoke(ASK))
        while len(passes) < 3:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)  # the pass that was under way may end
        return len(passes)

    stopped_at = asyncio.run(cancel())
    gc.collect()
    assert stopped_at == len(passes) < 900
