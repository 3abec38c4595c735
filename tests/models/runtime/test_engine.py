"""What makes the local model fast changes no word: shared beginnings, joined passes, guesses from the prompt."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from egosrag.models.local import LocalChatModel
from egosrag.models.runtime.kv_cache import PrefixCache, common
from egosrag.models.runtime.prompt_lookup import Lookup
from tests.models.conftest import Says

CARDS = ["You are Tim, who mends boats in the north and says little.", "你是悟空，花果山的美猴王，一双火眼金睛。"]


def tiny(path: Path, **fields: Any) -> LocalChatModel:
    return LocalChatModel(model=str(path), **{"max_new_tokens": 6, **fields})


@pytest.fixture
def fresh(tiny_qwen: Path) -> Iterator[LocalChatModel]:
    """A model whose engine keeps nothing yet, and nothing afterwards."""
    model = tiny(tiny_qwen)
    model._engine.kept = PrefixCache()
    yield model
    model._engine.kept = PrefixCache()


def reused(message: BaseMessage) -> int:
    return int(message.usage_metadata["input_token_details"]["cache_read"])  # type: ignore[attr-defined]


def turn(card: str, lines: list[str]) -> list[BaseMessage]:
    said = "\n".join(f'Me: "{line}"' for line in lines)
    return [SystemMessage(card), HumanMessage(said), AIMessage('Tim: "')]


def test_a_session_goes_on_where_it_ended_although_others_spoke_between(fresh: LocalChatModel) -> None:
    lines: dict[str, list[str]] = {card: [] for card in CARDS}
    for number in range(4):
        for card in CARDS:
            lines[card].append(f"This is line {number} and nothing else is said in it.")
            prompt = turn(card, lines[card])
            reply = fresh.invoke(prompt)
            if number:
                new = fresh.count_tokens(prompt) - fresh.count_tokens(turn(card, lines[card][:-1]))
                computed = reply.usage_metadata["input_tokens"] - reused(reply)  # type: ignore[index]
                assert computed <= new + 16, "what was not there before, and the head of the reply"


def test_a_card_is_shared_and_the_first_session_keeps_its_own(fresh: LocalChatModel) -> None:
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
def test_no_word_depends_on_what_was_kept(fresh: LocalChatModel, calls: list[tuple[str, list[str]]]) -> None:
    off = fresh.model_copy(update={"kv_cache_mb": 0})
    for card, lines in calls:
        kept = fresh.invoke(turn(card, lines)).text
        fresh._engine.kept, before = PrefixCache(), fresh._engine.kept
        assert off.invoke(turn(card, lines)).text == kept
        assert len(fresh._engine.kept) == 0
        fresh._engine.kept = before


def test_memory_is_bounded_and_the_oldest_goes(fresh: LocalChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [turn(f"Card number {n}, and not another.", ["Hello there."] * 9) for n in range(6)]
    for prompt in prompts:
        fresh.invoke(prompt)
    kept = fresh._engine.kept
    assert len(kept) == 6
    limit = kept.nbytes // 2
    last = kept.take(fresh._engine.start([1, 2], fresh._sampling({}), adapter=None, window=9).prompt, None)
    assert last is None, "nothing begins with these ids"
    newest = kept._kept[-1]
    kept.keep(newest, limit)
    assert 1 <= len(kept) < 6 and kept.nbytes <= limit and kept._kept[-1] is newest
    assert reused(fresh.invoke(prompts[0])) < reused(fresh.invoke(prompts[-1]))


def test_generations_at_once_are_computed_in_one_pass(fresh: LocalChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [turn(CARDS[n % 2], [f"Line number {n}.", "更多的话。"][: n % 3]) for n in range(8)]
    alone = [fresh.invoke(prompt, max_new_tokens=12).text for prompt in prompts]
    fresh._engine.kept = PrefixCache()
    widths: list[int] = []
    forward = fresh._engine._forward
    monkeypatch.setattr(fresh._engine, "_forward", lambda steps: widths.append(len(steps)) or forward(steps))
    monkeypatch.setattr("egosrag.models.runtime.engine._PATIENCE_S", 5.0)  # all that come are waited for
    together = fresh.batch(prompts, max_new_tokens=12, config={"max_concurrency": 8})
    assert [reply.text for reply in together] == alone
    assert max(widths) > 3


def test_a_sampled_reply_is_its_own_in_company(fresh: LocalChatModel) -> None:
    prompts = [turn(CARDS[0], [f"Line {n}."]) for n in range(4)]
    models = [fresh.model_copy(update={"temperature": 1.0, "seed": n}) for n in range(4)]
    alone = [model.invoke(prompt).text for model, prompt in zip(models, prompts, strict=True)]
    together: dict[int, str] = {}

    def work(n: int) -> None:
        together[n] = models[n].invoke(prompts[n]).text

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[n] for n in range(4)] == alone


def test_a_failing_pass_reaches_each_who_waited_and_the_next_works(
    fresh: LocalChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(steps: Any) -> Any:
        raise MemoryError("no memory left")

    with monkeypatch.context() as patch:
        patch.setattr(fresh._engine, "_forward", fail)
        with pytest.raises(MemoryError):
            fresh.invoke(turn(CARDS[0], []))
    assert len(fresh._engine.kept) == 0
    assert fresh.invoke(turn(CARDS[0], [])).text


def test_what_is_copied_needs_fewer_passes_and_says_the_same(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Qz8j6x0w4v1k7p#9y!bU3"
    model = says(text, max_new_tokens=200)
    passes: list[int] = []
    forward = model._engine._forward
    monkeypatch.setattr(model._engine, "_forward", lambda steps: passes.append(len(steps)) or forward(steps))
    assert model.invoke([HumanMessage(f"[1] {text}\nWhat is kept?")]).text == text
    copied = len(passes)
    passes.clear()
    assert model.invoke([HumanMessage("What is kept?")]).text == text
    assert copied < len(passes) / 2


@given(ids=st.lists(st.integers(0, 3), min_size=1, max_size=60), most=st.integers(0, 12))
def test_a_guess_is_what_followed_before(ids: list[int], most: int) -> None:
    lookup = Lookup(ids)
    guess = lookup.guess(most)
    assert len(guess) <= most
    if guess:
        last = ids[-2:]
        assert any(ids[n : n + 2] == last and ids[n + 2 : n + 2 + len(guess)] == guess for n in range(len(ids) - 2))


def test_guesses_that_do_not_come_true_become_rare() -> None:
    lookup = Lookup([1, 2, 3, 4] * 20)
    made = 0
    for _ in range(200):
        lookup._ids[-3:] = [1, 2, 3]
        guess = lookup.guess(8)
        made += bool(guess)
        lookup.said([9], len(guess))
    assert made < 12


def test_common_beginnings() -> None:
    assert [common([], [1]), common([1, 2], [1, 2]), common([1, 2, 3], [1, 2]), common([1, 9], [1, 2])] == [0, 2, 2, 1]
