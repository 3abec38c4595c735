"""Our share of a turn: every store and peer is measured around the stated turns, and the replies are the model's."""

from __future__ import annotations

import pytest

from egosrag.errors import SettingsError
from egosrag.sessions.conversation import Conversation
from evals.speed.turn import measure_turns, ratios
from evals.speed.turn_sessions import archive, measure_sessions
from evals.speed.turn_setup import instant_model, opened, place, sample_role

FIGURES = {"wall_ms", "processor_ms", "tokenizer_ms", "store_wait_ms", "reference_ms"}


def test_turns_are_measured_beside_both_peers() -> None:
    found = measure_turns(["memory", "sqlite"], ["both"], [2], ["LangGraph", "RunnableWithMessageHistory"])
    sides = [*found["ours"].values(), *found["peers"].values()]
    for figures in (next(iter(side.values()))["turn 2"] for side in found["ours"].values()):
        assert set(figures) == FIGURES
        assert figures["processor_ms"] > figures["tokenizer_ms"] > 0 and figures["reference_ms"] > 0
    assert len(sides) == 4
    assert set(ratios(found)) == {"memory, turn 2", "sqlite, turn 2"}
    assert ratios({"ours": {}, "peers": {}}) == {}


def test_sessions_are_opened_continued_and_listed() -> None:
    found = measure_sessions(["sqlite"], instant_model(), sample_role(), sessions=3, long=40, peers=True)
    own = found["ours"]["sqlite"]
    assert set(own) == {"20 turns", "40 turns", "list 3"} and set(own["list 3"]) == {"first", "again"}
    assert set(found["peers"]) == {"LangGraph, sqlite", "SillyTavern's JSONL"}
    assert found["ratio"]["sqlite, append to 20 turns / to 40"] > 0


def test_the_instant_model_replies_and_the_archive_is_of_the_stated_length() -> None:
    with place("memory") as where, opened(where) as (store, _):
        reply = Conversation(instant_model(), sample_role(), checkpointer=store).say("where is the boat?")
    assert len(reply.text.split()) == 24 and reply.stop_reason == "quote"
    assert len(archive(7, sample_role()).turns) == 7


def test_an_unknown_store_is_named() -> None:
    with (
        pytest.raises(SettingsError, match="unknown store redis: --stores takes memory, sqlite, postgres"),
        place("redis"),
    ):
        pass
