"""How much of each prompt was cached, and why not more; kept with the session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag import Conversation, load_chat_model
from egosrag.cli.main import app
from egosrag.egos.cache_use import CacheUse, cache_use, in_blocks
from egosrag.schema import Ledger, Lorebook, LoreEntry, Persona, Reply, Timing
from egosrag.sessions.catalog import cache_uses_of
from egosrag.sessions.store import open_store
from tests.roles.cards import TIM

HEAD = [("template", 1, 40), ("card", 2, 60)]
ONE, TWO, THREE, FOUR = (("history", n, 10) for n in (11, 12, 13, 14))
END = ("prefix", 9, 3)
SCENES, LORE, NOTE, RECALLED = ("scenes", 21, 30), ("lore", 22, 15), ("note", 23, 8), ("recalled", 24, 12)


def use(before: list[Any], now: list[Any], cached: int, *, same_model: bool = True) -> CacheUse:
    ledger = Ledger(card=sum(tokens for *_, tokens in now), cached=cached)
    reply = Reply(speaker="Tim", text="", stop_reason="quote", ledger=ledger, timing=Timing(first_token_s=1.5))
    return cache_use("t", reply, now, in_blocks(before), same_model=same_model)


def test_a_prompt_that_goes_on_loses_nothing() -> None:
    found = use([*HEAD, ONE, END], [*HEAD, ONE, TWO, THREE, END], cached=110)
    assert (found.cause, found.shared, found.lost, found.first_token_s) == ("continued", 110, 0, 1.5)
    assert found.share == pytest.approx(110 / 133)


def test_what_was_retrieved_for_the_line_alone_is_no_loss() -> None:
    found = use([*HEAD, ONE, TWO, LORE, RECALLED, THREE, END], [*HEAD, ONE, TWO, THREE, FOUR, END], cached=118)
    assert (found.cause, found.lost) == ("continued", 0)


@pytest.mark.parametrize(
    ("before", "now", "cause", "lost"),
    [
        ([*HEAD, ONE, TWO, THREE, END], [*HEAD, SCENES, THREE, FOUR, END], "summary", 33),
        ([*HEAD, SCENES, ONE, END], [*HEAD, ("scenes", 5, 31), ONE, TWO, THREE, END], "summary", 43),
        ([*HEAD, ONE, TWO, THREE, END], [HEAD[0], ("card", 3, 60), ONE, TWO, THREE, FOUR, END], "card", 93),
        ([*HEAD, ONE, TWO, THREE, END], [*HEAD, ONE, LORE, TWO, THREE, FOUR, END], "lore", 23),
        ([*HEAD, ONE, NOTE, TWO, THREE, END], [*HEAD, ONE, TWO, THREE, FOUR, END], "note", 31),
        ([*HEAD, ONE, TWO, THREE, END], [*HEAD, ("history", 99, 10), TWO, THREE, FOUR, END], "turns", 33),
        ([*HEAD, ONE, TWO, THREE, END], [*HEAD, TWO, THREE, FOUR, END], "turns", 33),
    ],
)
def test_the_first_part_that_changed_is_the_cause(before: Any, now: Any, cause: str, lost: int) -> None:
    same = next(n for n, (a, b) in enumerate(zip(before, now, strict=False)) if a != b)
    found = use(before, now, cached=sum(tokens for *_, tokens in now[:same]))
    assert (found.cause, found.lost) == (cause, lost)


def test_a_beginning_that_is_the_same_and_was_not_cached() -> None:
    found = use([*HEAD, ONE, END], [*HEAD, ONE, TWO, THREE, END], cached=0)
    assert (found.cause, found.lost) == ("cache", 110)
    assert use([], [*HEAD, ONE, END], cached=0).cause == "first"
    assert use([*HEAD, ONE, END], [*HEAD, ONE, TWO, THREE, END], cached=0, same_model=False).cause == "model"


def test_what_is_stored_of_a_long_prompt_stays_small_and_finds_the_same() -> None:
    turns = [("history", n, 10) for n in range(300)]
    before = [*HEAD, *turns, END]
    assert len(in_blocks(before)) < 75 and sum(count for *_, count in in_blocks(before)) == len(before)
    more = [("history", 1000, 10), ("history", 1001, 10)]
    assert use(before, [*HEAD, *turns, *more, END], cached=3100).cause == "continued"
    edited = [*turns[:7], ("history", 999, 10), *turns[8:]]
    found = use(before, [*HEAD, *edited, *more, END], cached=170)
    assert (found.cause, found.lost) == ("turns", 3103 - 170)


BOOK = Lorebook(
    entries=(
        LoreEntry(keys=("rain",), content="It has rained for a week.", extensions={"position": 4, "depth": 6}),
        LoreEntry(keys=("hat",), content="The hat is red."),
    )
)


def test_a_conversation_keeps_what_each_reply_took_from_the_cache(tiny_qwen: Path, tmp_path: Path) -> None:
    model = load_chat_model(str(tiny_qwen), max_new_tokens=4)
    card = TIM.model_copy(update={"lorebook": BOOK})
    url = tmp_path / "s.sqlite"
    with open_store(url) as store:
        talk = Conversation(model, card, checkpointer=store, session="a", memory="none")
        for line in ("Who are you?", "And where is your hat?", "Does your shop open today?"):
            talk.say(line)
    with open_store(url) as store:  # the next process
        talk = Conversation(model, card, checkpointer=store, session="a", memory="none")
        talk.say("Here comes the rain.")
        talk.set_persona(Persona(name="Ann", description="a sailor"))
        talk.say("What do you sell?")
        talk.edit(talk.turns()[0].id, "Who might you be?")
        talk.say("Thank you.")
        other = load_chat_model(str(tiny_qwen), max_new_tokens=4, kv_cache_mb=1)
        other.model = "another"
        Conversation(other, card, checkpointer=store, session="a", memory="none").say("Bye.")
        uses = cache_uses_of(store, "a")
        assert [found.cause for found in uses] == [
            "first", "continued", "continued", "lore", "card", "turns", "model",
        ]  # fmt: skip
        assert uses[1].cached > 50 and uses[1].lost == uses[2].lost == 0
        assert all(found.prompt > 100 for found in uses) and uses[4].lost > 50
        talk.delete(talk.turns()[-1].id)
        assert len(cache_uses_of(store, "a")) == 6, "a reply that is deleted is not counted"
    settings = ["--store", str(url)]
    done = CliRunner().invoke(app, ["doctor", "--session", "a", *settings, "--json"])
    assert [row["cause"] for row in json.loads(done.stdout)] == [found.cause for found in uses[:6]]
    done = CliRunner().invoke(app, ["doctor", "--session", "a", *settings])
    assert "a lorebook entry" in done.stdout and "again" in done.stdout
    done = CliRunner().invoke(app, ["doctor", "--session", "b", *settings])
    assert done.exit_code == 1 and "no conversation in session 'b'" in str(done.exception)
