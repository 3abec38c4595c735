"""The record of a session as one immutable value: turns, scenes, and the siblings of regenerated replies.

Every change makes a new record. Turns keep their ids. A scene that replaces a changed or deleted turn is dropped, so
that no summary contains what the record no longer holds; Summarize writes it anew at the next line.

A regenerated reply is a branch point: each of its siblings is kept with the turns that followed it and the scenes of
that branch. The turns before it are shared by all branches, so an edit of one changes all branches.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from egosrag.errors import SessionError
from egosrag.schema import Scene, Turn
from egosrag.text.encoding import without_surrogates


class Branch(BaseModel):
    """A sibling that is not on the current path: its reply, the turns after it, and the scenes of that branch."""

    model_config = ConfigDict(frozen=True)

    turns: tuple[Turn, ...] = ()
    scenes: tuple[Scene, ...] = ()


class Swipes(BaseModel):
    """The siblings of one reply: ``id`` is the one on the path, ``at`` its index, where the branch is empty."""

    model_config = ConfigDict(frozen=True)

    id: str
    at: int
    branches: tuple[Branch, ...]


class KnownTurns:
    """The turns of one session as objects, by their stored rows: a row that is unchanged is validated once."""

    def __init__(self) -> None:
        self._rows: list[Any] = []
        self._turns: tuple[Turn, ...] = ()

    def of(self, rows: Sequence[Any]) -> tuple[Turn, ...]:
        """The turns of stored rows, the first of which mostly are those of the last call."""
        same = 0
        for row, before in zip(rows, self._rows, strict=False):
            if row is not before and row != before:
                break
            same += 1
        self._turns = (*self._turns[:same], *map(Turn.model_validate, rows[same:]))
        self._rows = list(rows)
        return self._turns


class Record(BaseModel):
    """The turns on the current path, oldest first, with the scenes and the siblings beside it."""

    model_config = ConfigDict(frozen=True)

    turns: tuple[Turn, ...] = ()
    scenes: tuple[Scene, ...] = ()
    swipes: tuple[Swipes, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any], known: KnownTurns | None = None) -> Record:
        """The record in the stored values of a session.

        Args:
            values: the stored values.
            known: the turns of the session that were read before.
        """
        record = cls.model_validate({key: values.get(key, ()) for key in ("scenes", "swipes")})
        turns = (known or KnownTurns()).of(values.get("turns") or ())
        return record.model_copy(update={"turns": turns})

    def index(self, turn_id: str) -> int:
        """The index of a turn on the path.

        Raises:
            SessionError: there is no such turn.
        """
        for at, turn in enumerate(self.turns):
            if turn.id == turn_id:
                return at
        raise SessionError(f"there is no turn {turn_id!r} in this conversation: take an id of its turns")

    def edited(self, turn_id: str, text: str) -> Record:
        """The record with another text for one turn.

        Raises:
            SessionError: there is no such turn, or the text is empty.
        """
        at = self.index(turn_id)
        if not text.strip():
            raise SessionError("the new text is empty: write what the turn should say, or delete it")
        turn = self.turns[at].model_copy(update={"text": without_surrogates(text).strip(), "status": "complete"})
        return self._without_scenes_of(turn_id).model_copy(
            update={"turns": (*self.turns[:at], turn, *self.turns[at + 1 :])}
        )

    def deleted(self, turn_id: str) -> Record:
        """The record without one turn and its siblings; what followed it stays.

        Raises:
            SessionError: there is no such turn.
        """
        at = self.index(turn_id)
        record = self._without_scenes_of(turn_id)
        turns = (*self.turns[:at], *self.turns[at + 1 :])
        swipes = _reachable((s for s in record.swipes if s.id != turn_id), turns)
        return record.model_copy(update={"turns": turns, "swipes": swipes})

    def forked(self, turn_id: str, new_id: str) -> Record:
        """The record before a reply, ready for a sibling with the id ``new_id``.

        Raises:
            SessionError: there is no such turn.
        """
        at = self.index(turn_id)
        old = self.siblings(turn_id)
        branches = _with_branch(old.branches, old.at, Branch(turns=self.turns[at:], scenes=self.scenes))
        new = Swipes(id=new_id, at=len(branches), branches=(*branches, Branch()))
        head = self.turns[:at]
        ids = {turn.id for turn in head}
        scenes = tuple(scene for scene in self.scenes if ids.issuperset(scene.turn_ids))
        others = tuple(s for s in self.swipes if s.id != turn_id)
        return Record(turns=head, scenes=scenes, swipes=(*others, new))

    def unforked(self, new_id: str) -> Record:
        """The record as if ``forked`` had not been called, for a sibling that was never generated.

        The same record when no sibling of that id is pending.
        """
        pending = next((s for s in self.swipes if s.id == new_id), None)
        if pending is None or any(turn.id == new_id for turn in self.turns):
            return self
        previous = pending.branches[pending.at - 1]
        others = tuple(s for s in self.swipes if s is not pending)
        if len(pending.branches) > 2:
            branches = _with_branch(pending.branches[: pending.at], pending.at - 1, Branch())
            others += (Swipes(id=previous.turns[0].id, at=pending.at - 1, branches=branches),)
        return Record(turns=(*self.turns, *previous.turns), scenes=previous.scenes, swipes=others)

    def chosen(self, turn_id: str, number: int) -> Record:
        """The record with sibling ``number`` of a reply on the path, and all that followed that sibling.

        Raises:
            SessionError: there is no such turn or sibling.
        """
        at, old = self.index(turn_id), self.siblings(turn_id)
        if not 0 <= number < len(old.branches):
            raise SessionError(
                f"there is no reply {number + 1} to choose, only {len(old.branches)}: regenerate it for a further one"
            )
        if number == old.at:
            return self
        chosen = old.branches[number]
        branches = _with_branch(old.branches, old.at, Branch(turns=self.turns[at:], scenes=self.scenes))
        new = Swipes(id=chosen.turns[0].id, at=number, branches=_with_branch(branches, number, Branch()))
        swipes = tuple(new if s is old else s for s in self.swipes)
        return Record(turns=(*self.turns[:at], *chosen.turns), scenes=chosen.scenes, swipes=swipes)

    def siblings(self, turn_id: str) -> Swipes:
        """The siblings of a turn on the path; the turn alone when it was never regenerated."""
        return next((s for s in self.swipes if s.id == turn_id), Swipes(id=turn_id, at=0, branches=(Branch(),)))

    def texts(self, turn_id: str) -> list[str]:
        """The texts of the siblings of a turn, oldest first, its own among them."""
        own, old = self.turns[self.index(turn_id)], self.siblings(turn_id)
        return [own.text if n == old.at else branch.turns[0].text for n, branch in enumerate(old.branches)]

    def plain(self) -> dict[str, Any]:
        """The record as plain data, as a session stores it."""
        return self.model_dump(mode="json")

    def _without_scenes_of(self, turn_id: str) -> Record:
        def clean(scenes: Iterable[Scene]) -> tuple[Scene, ...]:
            return tuple(scene for scene in scenes if turn_id not in scene.turn_ids)

        def with_clean(swipes: Swipes) -> Swipes:
            branches = (b.model_copy(update={"scenes": clean(b.scenes)}) for b in swipes.branches)
            return swipes.model_copy(update={"branches": tuple(branches)})

        return self.model_copy(update={"scenes": clean(self.scenes), "swipes": tuple(map(with_clean, self.swipes))})


def _with_branch(branches: tuple[Branch, ...], at: int, branch: Branch) -> tuple[Branch, ...]:
    return (*branches[:at], branch, *branches[at + 1 :])


def _reachable(swipes: Iterable[Swipes], path: Iterable[Turn]) -> tuple[Swipes, ...]:
    """The swipes that can still be reached, from the path or from a branch of another."""
    rest, known = list(swipes), {turn.id for turn in path}
    reached: list[Swipes] = []
    while new := [s for s in rest if s.id in known]:
        rest = [s for s in rest if s not in new]
        reached += new
        known |= {turn.id for s in new for branch in s.branches for turn in branch.turns}
    return tuple(reached)


def settled(values: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The stored values after a pending reply was interrupted for good.

    Args:
        values: the stored values of a session.
        text: the reply so far. If it is empty, a line stays pending, and a regenerated reply is replaced by the sibling
            that was there before.
    """
    if not values.get("pending"):
        return dict(values)
    record = Record.of(values)
    if text.strip():
        turn = Turn(
            speaker=values.get("speaker", values["name"]),
            text=text.strip(),
            id=values.get("answer", uuid.uuid4().hex),
            status="interrupted",
            at=values["turns"][-1].get("at", ""),  # the line's: this is called again and again until it is stored
        )
        return {**values, "turns": [*values["turns"], turn.model_dump()], "pending": False}
    before = record.unforked(values.get("answer", ""))
    return dict(values) if before is record else {**values, **before.plain(), "pending": False}


def session_name(names: Sequence[str]) -> str:
    """The name that a session stores for its roles: their names, sorted."""
    return ", ".join(sorted(names))
