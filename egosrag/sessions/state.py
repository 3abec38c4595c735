"""What a session's store holds: plain data alone, the full record of turns with the scenes beside it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict

from langgraph.channels import DeltaChannel, UntrackedValue

from egosrag.egos.step import Composed, Talk
from egosrag.schema import Evidence, Role, Scene, Turn
from egosrag.sessions.records import Record

Rows = list[dict[str, Any]]


def upserted(old: Rows, writes: Sequence[Rows]) -> Rows:
    """The record with each write's turns at its end; one whose id is there already takes that one's place."""
    turns = {turn["id"]: turn for turn in old}
    for new in writes:
        turns |= {turn["id"]: turn for turn in new}
    return list(turns.values())


def added(old: Rows, writes: Sequence[Rows]) -> Rows:
    """The rows with each write's rows at their end."""
    return [*old, *(row for new in writes for row in new)]


# A checkpoint keeps what is new, and all of it only every so many changes: whole records in each of the five
# checkpoints of a line made the store grow with the square of the conversation's length.
_WHOLE = 10


class State(TypedDict, total=False):
    """What flows through the graph. Untracked values are never stored: they are made anew from the rest."""

    name: str
    role: dict[str, Any]
    turns: Annotated[Rows, DeltaChannel(upserted, snapshot_frequency=_WHOLE)]
    # Written, if with nothing new, at every line: a record is read back to where it last stood whole.
    scenes: Annotated[Rows, DeltaChannel(added, snapshot_frequency=_WHOLE // 2)]
    first: str  # the id of the first turn that is still in the prompt, where turns left it without a scene
    swipes: list[dict[str, Any]]  # the siblings of regenerated replies, see record.py
    pending: bool  # the last turn is not answered yet
    answer: str  # the id that the awaited reply will have
    speaker: str  # who is to give it
    reply: dict[str, Any]
    sampling: Annotated[dict[str, Any], UntrackedValue]  # settings of the model for this reply alone
    facts: Annotated[tuple[Evidence, ...], UntrackedValue]  # what the sources tell of this line
    composed: Annotated[Composed | None, UntrackedValue]
    condensed: Annotated[bool, UntrackedValue]


def talk_of(values: Mapping[str, Any], role: Role, user: str) -> Talk:
    """The stored values as a conversation.

    Args:
        values: what the session keeps.
        role: who is played. Where it is no more than a name, the session's own card is, if it keeps one: that which
            was extracted at its beginning, or that with which it was imported.
        user: the name that the user's lines stand under.
    """
    bare = not role.model_fields_set - {"name", "language"}
    ids = [turn["id"] for turn in values.get("turns", ())]
    # A first turn that was deleted, or is not on this branch, says nothing: then all are in sight again.
    left = ids[: ids.index(values["first"])] if values.get("first") in ids else []
    return Talk(
        role=Role.model_validate(values["role"]) if bare and values.get("role") else role,
        turns=tuple(Turn.model_validate(turn) for turn in values.get("turns", ())),
        scenes=tuple(Scene.model_validate(scene) for scene in values.get("scenes", ())),
        user=user,
        left=frozenset(left),
    )


def record_of(values: Mapping[str, Any]) -> Record:
    """What the stored values remember."""
    return Record.model_validate({key: values.get(key, ()) for key in ("turns", "scenes", "swipes")})


def settled(values: Mapping[str, Any], said: str) -> dict[str, Any]:
    """The stored values when the reply that is awaited will not come any more.

    Args:
        values: the stored values.
        said: what was said of the reply. Nothing: a line waits on for its reply, but a regenerated reply is put
            back in the place of the sibling that never came.
    """
    if not values.get("pending"):
        return dict(values)
    record = record_of(values)
    if said.strip():
        turn = Turn(
            speaker=values.get("speaker", values["name"]),
            text=said.strip(),
            id=values.get("answer", uuid.uuid4().hex),
            status="interrupted",
            at=values["turns"][-1].get("at", ""),  # of the line: this is called again and again until it is written
        )
        return {**values, "turns": [*values["turns"], turn.model_dump()], "pending": False}
    back = record.unforked(values.get("answer", ""))
    return dict(values) if back is record else {**values, **back.plain(), "pending": False}


def session_name(names: Sequence[str]) -> str:
    """Whom a session is with: the roles' names, in one order."""
    return ", ".join(sorted(names))


def now() -> str:
    """This moment, as a turn's ``at``."""
    return datetime.now(UTC).isoformat(timespec="seconds")
