"""The stores of sessions for ``evals.speed.turn``: a short and a long session opened and continued, and a long list.

Two peers: SillyTavern keeps a chat as one JSONL file, which it writes anew for every message (here as safely as we
do: a new file, synced, then renamed); LangGraph lists checkpoints.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from egosrag.egos.pipeline import MemorySettings
from egosrag.rag.retrieval.turn_memory import TurnMemory
from egosrag.schema import Role, Turn
from egosrag.sessions.archive import Archive
from egosrag.sessions.catalog import list_sessions, restore
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.store import open_store
from evals.speed.turn_setup import InstantModel, opened, place, words

SHORT = 20  # turns of the short session
APPENDED = 24  # lines that are said to each, of which the last half is timed
OPENINGS = 5


def measure_sessions(
    stores: Sequence[str], model: InstantModel, role: Role, *, sessions: int, long: int, peers: bool
) -> dict[str, Any]:
    """Open and continue a session of 20 turns and one of ``long``, and list ``sessions``.

    Returns:
        ``ours``, ``peers`` and ``ratio`` by store; times in milliseconds, of the clock and of the processor.
    """
    found: dict[str, Any] = {"ours": {}, "peers": {}, "ratio": {}}
    for store in stores:
        with place(store) as where:
            own: dict[str, Any] = {}
            for turns in (SHORT, long):
                own[f"{turns} turns"] = _session(where, f"s{turns}", turns, model, role)
            fill(where, sessions, role)
            own[f"list {sessions}"] = _list(where, sessions)
            found["ours"][store] = own
            last = own[f"{long} turns"]["append"]["processor_ms"] / own[f"{SHORT} turns"]["append"]["processor_ms"]
            found["ratio"][f"{store}, append to {SHORT} turns / to {long}"] = 1 / last
            print(f"{store}: {own}", file=sys.stderr, flush=True)
            if peers:
                found["peers"][f"LangGraph, {store}"] = {f"list {sessions}": _checkpoints_listed(where)}
    if peers:
        with tempfile.TemporaryDirectory() as folder:
            found["peers"]["SillyTavern's JSONL"] = {
                f"{turns} turns": _rewriting(Path(folder) / f"{turns}.jsonl", turns) for turns in (SHORT, long)
            }
    return found


def archive(turns: int, role: Role, session: str = "s", seed: int = 0) -> Archive:
    """A conversation of random words."""
    rng = random.Random(seed)
    said = tuple(
        Turn(
            speaker=role.name if n % 2 else "Me",
            text=words(rng, 24 if n % 2 else 14) + ".",
            at=f"2026-01-{1 + n // 100 % 28:02}T10:{n % 60:02}:00+00:00",
        )
        for n in range(turns)
    )
    return Archive(session=session, user="Me", roles=(role,), turns=said)


def fill(where: str, sessions: int, role: Role) -> None:
    """Store short sessions as the program does, each of two turns."""
    with open_store(where) as store:
        for number in range(sessions):
            restore(store, archive(2, role, seed=number), f"visitor/{number:06}")


def _session(where: str, session: str, turns: int, model: InstantModel, role: Role) -> dict[str, Any]:
    with open_store(where) as store:
        restore(store, archive(turns, role), session)

    def conversation(store: Any) -> Conversation:
        memory = MemorySettings("dynamic", TurnMemory())
        return Conversation(model, role, checkpointer=store, session=session, memory=memory, notify=_quiet)

    rng = random.Random(3)
    with opened(where) as (store, clock):
        talk = conversation(store)
        for _ in range(APPENDED // 2):  # the first line evicts what does not fit the window
            talk.say(words(rng, 14) + ".")

    def open_and_read() -> None:
        with open_store(where) as store:
            assert len(conversation(store).turns()) >= turns

    opening = [_timed(open_and_read) for _ in range(OPENINGS)]
    with opened(where) as (store, clock):
        talk = conversation(store)
        talk.say(words(rng, 14) + ".")
        waits, appends = [], []
        for _ in range(APPENDED // 2):
            clock.wait_s = 0.0
            appends.append(_timed(lambda: talk.say(words(rng, 14) + ".")))
            waits.append(1000 * clock.wait_s)
    mean = statistics.mean(processor for _, processor in appends)
    append = {**_median(appends), "processor_mean_ms": mean, "store_wait_ms": statistics.median(waits)}
    return {"open": _median(opening), "append": append}


def _list(where: str, sessions: int) -> dict[str, dict[str, float]]:
    """The list as it is shown first, and again: each opens the store anew."""

    def listed() -> None:
        with open_store(where) as store:
            assert len(list_sessions(store, "visitor/")) == sessions

    first, *again = (_timed(listed) for _ in range(OPENINGS + 1))
    return {"first": _median([first]), "again": _median(again)}


def _checkpoints_listed(where: str) -> dict[str, float]:
    """LangGraph's own list: every checkpoint of the store."""
    with open_store(where) as store:
        return _median([_timed(lambda: sum(1 for _ in store.list(None)))])


def _rewriting(file: Path, turns: int) -> dict[str, dict[str, float]]:
    """A chat as SillyTavern keeps it: the whole file is read to open it, and written for each line and reply."""
    rng = random.Random(3)
    rows: list[dict[str, Any]] = [{"user_name": "Me", "character_name": "Edda", "chat_metadata": {}}]

    def row(user: bool) -> dict[str, Any]:
        text = words(rng, 14 if user else 24) + "."
        return {"name": "Me" if user else "Edda", "is_user": user, "send_date": "2026-01-01", "mes": text}

    rows += [row(n % 2 == 0) for n in range(turns)]

    def write() -> None:
        new = file.with_suffix(".new")
        with new.open("w", encoding="utf-8") as out:
            out.write("\n".join(json.dumps(row) for row in rows))
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)

    def append() -> None:
        for user in (True, False):
            rows.append(row(user))
            write()

    appends = [_timed(append) for _ in range(APPENDED // 2)]
    opening = [_timed(lambda: [json.loads(line) for line in file.open(encoding="utf-8")]) for _ in range(OPENINGS)]
    return {"open": _median(opening), "append": _median(appends)}


def _timed(call: Callable[[], Any]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - processor)


def _median(times: Sequence[tuple[float, float]]) -> dict[str, float]:
    wall, processor = (statistics.median(values) for values in zip(*times, strict=True))
    return {"wall_ms": wall, "processor_ms": processor}


def _quiet(text: str) -> None:
    """What memory could not keep in the prompt is of no interest here."""
