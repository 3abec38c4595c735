"""What a session's store holds: plain data alone, the full record of turns with the scenes beside it."""

from __future__ import annotations

import operator
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict

from langgraph.channels import UntrackedValue

from egosrag.egos.record import Record
from egosrag.egos.step import Composed, Talk
from egosrag.schema import Role, Scene, Turn


def upserted(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The record with ``new`` turns at its end; one whose id is there already takes that one's place."""
    changed = {turn["id"]: turn for turn in new}
    kept = [changed.pop(turn["id"], turn) for turn in old]
    return [*kept, *changed.values()]


class State(TypedDict, total=False):
    """What flows through the graph. Untracked values are never stored: they are made anew from the rest."""

    name: str
    role: dict[str, Any]
    turns: Annotated[list[dict[str, Any]], upserted]
    scenes: Annotated[list[dict[str, Any]], operator.add]
    swipes: list[dict[str, Any]]  # the siblings of regenerated replies, see record.py
    pending: bool  # the last turn is not answered yet
    answer: str  # the id that the awaited reply will have
    speaker: str  # who is to give it
    reply: dict[str, Any]
    sampling: Annotated[dict[str, Any], UntrackedValue]  # settings of the model for this reply alone
    composed: Annotated[Composed | None, UntrackedValue]
    condensed: Annotated[bool, UntrackedValue]


def talk_of(values: Mapping[str, Any], role: Role, user: str) -> Talk:
    """The stored values as a conversation; ``role`` is played where the session keeps no card of its own."""
    return Talk(
        role=Role.model_validate(values["role"]) if values.get("role") else role,
        turns=tuple(Turn.model_validate(turn) for turn in values.get("turns", ())),
        scenes=tuple(Scene.model_validate(scene) for scene in values.get("scenes", ())),
        user=user,
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
            at=now(),
        )
        return {**values, "turns": [*values["turns"], turn.model_dump()], "pending": False}
    back = record.unforked(values.get("answer", ""))
    return dict(values) if back is record else {**values, **back.plain(), "pending": False}


def now() -> str:
    """This moment, as a turn's ``at``."""
    return datetime.now(UTC).isoformat(timespec="seconds")
