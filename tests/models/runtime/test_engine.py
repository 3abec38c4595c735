"""What makes the local model fast changes no reply: KV caches, batched passes, drafts from the prompt."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from transformers import DynamicCache

from egosrag.models.local import LocalChatModel
from egosrag.models.runtime import batching
from egosrag.models.runtime.batching import ForwardRequest
from egosrag.models.runtime.kv_cache import KVCache, KVCachePool, common_prefix_length
from egosrag.models.runtime.prompt_lookup import PromptLookup
from egosrag.prompts.encode import encode
from tests.models.conftest import FixedReply

CARDS = ["You are Tim, who mends boats in the north and says little.", "你是悟空，花果山的美猴王，一双火眼金睛。"]


def tiny(path: Path, **fields: Any) -> LocalChatModel:
    return LocalChatModel(model=str(path), **{"max_new_tokens": 6, **fields})


@pytest.fixture
def fresh(tiny_qwen: Path) -> Iterator[LocalChatModel]:
    """A model whose engine has no KV caches of other calls, and leaves none."""
    model = tiny(tiny_qwen)
    model.engine.kv_pool = KVCachePool()
    yield model
    model.engine.kv_pool = KVCachePool()


def reused(message: BaseMessage) -> int:
    return int(message.usage_metadata["input_token_details"]["cache_read"])  # type: ignore[attr-defined]


def turn(card: str, lines: list[str]) -> list[BaseMessage]:
    said = "\n".join(f'Me: "{line}"' for line in lines)
    return [SystemMessage(card), HumanMessage(said), AIMessage('Tim: "')]


def test_a_session_reuses_its_kv_cache_although_other_sessions_spoke_in_between(fresh: LocalChatModel) -> None:
    lines: dict[str, list[str]] = {card: [] for card in CARDS}
    for number in range(4):
        for card in CARDS:
            lines[card].append(f"This is line {number} and nothing else is said in it.")
            prompt = turn(card, lines[card])
            reply = fresh.invoke(prompt)
            if number:
                new = fresh.count_tokens(prompt) - fresh.count_tokens(turn(card, lines[card][:-1]))
                computed = reply.usage_metadata["input_tokens"] - reused(reply)  # type: ignore[index]
                assert computed <= new + 16, "the new tokens, and the prefix of the reply"


def test_sessions_share_the_cached_system_prompt_and_the_first_keeps_its_cache(fresh: LocalChatModel) -> None:
    long = [*turn(CARDS[0], [f"Line {n} of a conversation that has its own words." for n in range(12)])]
    first = fresh.invoke(long)
    other = fresh.invoke(turn(CARDS[0], ["Another person speaks."]))
    assert reused(first) == 0
    assert reused(other) >= fresh.count_tokens([SystemMessage(CARDS[0])]) - 1
    again = fresh.invoke(long)
    assert reused(again) == again.usage_metadata["input_tokens"] - 1 and again.text == first.text


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(
        st.tuples(st.sampled_from(CARDS), st.lists(st.sampled_from(["Yes.", "你好。", "Who are you?"]), max_size=3)),
        min_size=2,
        max_size=6,
    )
)
def test_no_reply_depends_on_the_cached_tokens(fresh: LocalChatModel, calls: list[tuple[str, list[str]]]) -> None:
    off = fresh.model_copy(update={"kv_cache_mb": 0})
    for card, lines in calls:
        cached = fresh.invoke(turn(card, lines)).text
        fresh.engine.kv_pool, before = KVCachePool(), fresh.engine.kv_pool
        assert off.invoke(turn(card, lines)).text == cached
        assert len(fresh.engine.kv_pool) == 0
        fresh.engine.kv_pool = before


def test_in_16_bits_a_seed_repeats_a_reply_without_caches_and_a_cached_prefix_only_rounds_differently(
    tiny_qwen: Path, tmp_path: Path
) -> None:
    """What a cached prefix changes is of the size of bfloat16's rounding, which may turn a reply: none is promised."""
    shutil.copytree(tiny_qwen, tmp_path / "m")
    options: dict[str, Any] = {"dtype": "bfloat16", "temperature": 1.0, "seed": 7, "max_new_tokens": 12}
    model = LocalChatModel(model=str(tmp_path / "m"), kv_cache_mb=0, **options)
    prompt = turn(CARDS[0], ["Who are you?", "你是谁？"])
    assert model.invoke(prompt).text == model.invoke(prompt).text
    ids = encode(model.tokenizer, prompt)
    whole = forward(model, [ids])
    for cached in (1, len(ids) // 2, len(ids) - 1):
        torch.testing.assert_close(forward(model, [ids[:cached], ids[cached:]]), whole, rtol=2**-5, atol=2**-5)


def forward(model: LocalChatModel, spans: list[list[int]]) -> torch.Tensor:
    """The logits of the last id, computed in one pass a span, shape (1, vocabulary)."""
    cache = KVCache(None, [], DynamicCache(config=model.engine.model.config))
    for ids in spans:
        logits = model.engine.scheduler.logits(ForwardRequest(cache, ids), model.engine._locked_forward)
    return logits


def test_memory_is_limited_and_the_least_recently_used_is_evicted(fresh: LocalChatModel) -> None:
    prompts = [turn(f"Card number {n}, and not another.", ["Hello there."] * 9) for n in range(6)]
    for prompt in prompts:
        fresh.invoke(prompt)
    pool = fresh.engine.kv_pool
    assert len(pool) == 6
    limit = pool.nbytes // 2
    assert pool.take([1, 2], None) is None, "no cached prompt begins with these ids"
    newest = pool.take(encode(fresh.tokenizer, prompts[-1]), None)
    assert newest is not None and len(pool) == 5
    pool.put(newest, limit)
    assert 1 <= len(pool) < 6 and pool.nbytes <= limit
    assert reused(fresh.invoke(prompts[0])) < reused(fresh.invoke(prompts[-1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_attention_of_a_single_position_is_that_of_its_heads_one_by_one(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    query, keys, values = (
        torch.randn(1, h, t, 8, generator=generator).to(dtype) for h, t in ((6, 1), (2, 90), (2, 90))
    )
    attended = batching._attend_alone(query, keys, values, None)
    for head in range(6):
        scores = (query[0, head].float() @ keys[0, head // 3].float().T) / 8**0.5
        expected = scores.softmax(-1) @ values[0, head // 3].float()
        tolerance = 1e-5 if dtype == torch.float32 else 2**-7
        torch.testing.assert_close(attended[0, :, head].float(), expected, rtol=tolerance, atol=tolerance)


def test_concurrent_generations_are_computed_in_one_pass(
    fresh: LocalChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [turn(CARDS[n % 2], [f"Line number {n}.", "更多的话。"][: n % 3]) for n in range(8)]
    alone = [fresh.invoke(prompt, max_new_tokens=12).text for prompt in prompts]
    fresh.engine.kv_pool = KVCachePool()
    widths: list[int] = []
    forward = fresh.engine._forward
    monkeypatch.setattr(fresh.engine, "_forward", lambda batch: widths.append(len(batch)) or forward(batch))
    monkeypatch.setattr(fresh.engine.scheduler, "min_wait_s", 5.0)  # a pass waits for all that are running
    batched = fresh.batch(prompts, max_new_tokens=12, config={"max_concurrency": 8})
    assert [reply.text for reply in batched] == alone
    assert max(widths) > 3


def test_a_sampled_reply_is_the_same_in_a_batch(fresh: LocalChatModel) -> None:
    prompts = [turn(CARDS[0], [f"Line {n}."]) for n in range(4)]
    models = [fresh.model_copy(update={"temperature": 1.0, "seed": n}) for n in range(4)]
    alone = [model.invoke(prompt).text for model, prompt in zip(models, prompts, strict=True)]
    concurrent: dict[int, str] = {}

    def work(n: int) -> None:
        concurrent[n] = models[n].invoke(prompts[n]).text

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [concurrent[n] for n in range(4)] == alone


def test_a_failed_pass_is_an_error_of_each_generation_in_it_and_the_next_works(
    fresh: LocalChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(batch: Any) -> Any:
        raise MemoryError("no memory left")

    with monkeypatch.context() as patch:
        patch.setattr(fresh.engine, "_forward", fail)
        with pytest.raises(MemoryError):
            fresh.invoke(turn(CARDS[0], []))
    assert len(fresh.engine.kv_pool) == 0
    assert fresh.invoke(turn(CARDS[0], [])).text


@pytest.mark.parametrize("kind", ["local"], indirect=True, scope="session")
def test_a_reply_that_copies_the_prompt_needs_fewer_passes_and_is_the_same(
    fixed_reply: FixedReply, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Qz8j6x0w4v1k7p#9y!bU3"
    model = fixed_reply(text, max_new_tokens=200)
    passes: list[int] = []
    forward = model.engine._forward
    monkeypatch.setattr(model.engine, "_forward", lambda batch: passes.append(len(batch)) or forward(batch))
    assert model.invoke([HumanMessage(f"[1] {text}\nWhat is kept?")]).text == text
    copied = len(passes)
    passes.clear()
    assert model.invoke([HumanMessage("What is kept?")]).text == text
    assert copied < len(passes) / 2


@given(ids=st.lists(st.integers(0, 3), min_size=1, max_size=60), limit=st.integers(0, 12))
def test_a_draft_is_what_followed_the_same_ids_before(ids: list[int], limit: int) -> None:
    draft = PromptLookup(ids).draft(limit)
    assert len(draft) <= limit
    if draft:
        last = ids[-2:]
        assert any(ids[n : n + 2] == last and ids[n + 2 : n + 2 + len(draft)] == draft for n in range(len(ids) - 2))


def test_rejected_drafts_become_rare() -> None:
    lookup = PromptLookup([1, 2, 3, 4] * 20)
    drafts = 0
    for n in range(50):  # 200 tokens
        draft = lookup.draft(8)
        drafts += bool(draft)
        lookup.update([100 + n], len(draft))  # another id than any before: the draft is rejected whole
        lookup.update([2, 3, 4], 0)  # ids that have a continuation again
    assert drafts < 12


@pytest.mark.parametrize(
    ("a", "b", "length"), [([], [1], 0), ([1, 2], [1, 2], 2), ([1, 2, 3], [1, 2], 2), ([1, 9], [1, 2], 1)]
)
def test_the_length_of_a_common_prefix(a: list[int], b: list[int], length: int) -> None:
    assert common_prefix_length(a, b) == length
