"""What a session's store holds: plain data alone, the full record of turns with the scenes beside it."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from langgraph.channels import UntrackedValue

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
    pending: bool  # the last turn is the user's, and not answered yet
    reply: dict[str, Any]
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
