"""The stored state of a session as plain data: the channels of the graph, and the reducers that write to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict

from langgraph.channels import DeltaChannel

Rows = list[dict[str, Any]]


def upsert_turns(old: Rows, writes: Sequence[Rows]) -> Rows:
    """The turns with those of each write appended; a turn with the id of an earlier one replaces that one."""
    turns = {turn["id"]: turn for turn in old}
    for new in writes:
        turns |= {turn["id"]: turn for turn in new}
    return list(turns.values())


def append_rows(old: Rows, writes: Sequence[Rows]) -> Rows:
    """The rows with those of each write appended."""
    return [*old, *(row for new in writes for row in new)]


# Checkpoints store changes, and a snapshot of the whole list every so many changes: with the whole lists in each of the
# five checkpoints of a line, the store grew quadratically with the conversation.
_SNAPSHOT_EVERY = 10


class State(TypedDict, total=False):
    """What a session stores, as plain data."""

    name: str  # the role's name, or the names of all roles
    names: list[str]  # the names of the roles, of which one may contain a comma
    role: dict[str, Any]  # the card, where the session made or imported it
    turns: Annotated[Rows, DeltaChannel(upsert_turns, snapshot_frequency=_SNAPSHOT_EVERY)]
    # Written at every line, even when nothing is new: the changes since the last snapshot are read back.
    scenes: Annotated[Rows, DeltaChannel(append_rows, snapshot_frequency=_SNAPSHOT_EVERY // 2)]
    first: str  # the id of the first turn that is still in the prompt, where turns were evicted
    swipes: list[dict[str, Any]]  # the siblings of regenerated replies, see egosrag.sessions.records
    pending: bool  # the last turn waits for its reply
    answer: str  # the id that the reply will have
    speaker: str  # the role that gives the reply
    persona: dict[str, Any]  # who talks with the role
    note: str  # the author's note
    seed: str  # of random choices, where the first turn, whose id is the seed, is no longer the first
    until: str  # the point of the sources as of which the roles speak, in the user's words
    prompt: dict[str, Any]  # the model and the fingerprint of the last prompt, see egosrag.egos.cache_use
    uses: Annotated[Rows, DeltaChannel(append_rows, snapshot_frequency=_SNAPSHOT_EVERY)]  # of the cache, a row a reply
    pins: Rows  # the facts that stay in every prompt
    pinned: bool  # whether lists have the session in front
    reply: dict[str, Any]


def now() -> str:
    """The current time as a turn's ``at``: ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
