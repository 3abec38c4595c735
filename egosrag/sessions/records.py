"""What a session remembers, as one value: turns, scenes, and the replies that were regenerated.

Every change gives a new record. Turns keep their ids; a scene that stands for a turn which was changed or taken out
is dropped, so that no summary tells what the record no longer holds: Summarize writes it anew at the next line.

A reply that was regenerated is a branch point: each of its siblings is kept with all that followed it, as a fork of
the conversation, and with the scenes of that time. The turns before it are shared, and so is what is changed there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from egosrag.errors import SessionError
from egosrag.schema import Scene, Turn


class Branch(BaseModel):
    """A sibling that is not on the path: its reply and what followed, and the scenes that were seen with it."""

    model_config = ConfigDict(frozen=True)

    turns: tuple[Turn, ...] = ()
    scenes: tuple[Scene, ...] = ()


class Swipes(BaseModel):
    """The siblings of one reply: ``id`` is the one on the path, ``at`` its place, where ``branches`` is empty."""

    model_config = ConfigDict(frozen=True)

    id: str
    at: int
    branches: tuple[Branch, ...]


class Record(BaseModel):
    """A conversation's turns on the path, oldest first, with the scenes and the siblings beside it."""

    model_config = ConfigDict(frozen=True)

    turns: tuple[Turn, ...] = ()
    scenes: tuple[Scene, ...] = ()
    swipes: tuple[Swipes, ...] = ()

    def place(self, turn_id: str) -> int:
        """Where the turn stands on the path.

        Raises:
            SessionError: it stands nowhere.
        """
        for place, turn in enumerate(self.turns):
            if turn.id == turn_id:
                return place
        raise SessionError(f"there is no turn {turn_id!r} in this conversation: take an id of its turns")

    def edited(self, turn_id: str, text: str) -> Record:
        """The record with other words for one turn.

        Raises:
            SessionError: there is no such turn, or no words.
        """
        place = self.place(turn_id)
        if not text.strip():
            raise SessionError("the new text is empty: write what the turn should say, or delete it")
        turn = self.turns[place].model_copy(update={"text": text.strip(), "status": "complete"})
        return self._without_scenes_of(turn_id).model_copy(
            update={"turns": (*self.turns[:place], turn, *self.turns[place + 1 :])}
        )

    def deleted(self, turn_id: str) -> Record:
        """The record without one turn and its siblings; what followed it stays.

        Raises:
            SessionError: there is no such turn.
        """
        place = self.place(turn_id)
        record = self._without_scenes_of(turn_id)
        left = (*self.turns[:place], *self.turns[place + 1 :])
        swipes = _reachable((s for s in record.swipes if s.id != turn_id), left)
        return record.model_copy(update={"turns": left, "swipes": swipes})

    def forked(self, turn_id: str, new_id: str) -> Record:
        """The record before a reply, which a sibling with the id ``new_id`` is going to follow.

        Raises:
            SessionError: there is no such turn.
        """
        place = self.place(turn_id)
        old = self.siblings(turn_id)
        left = _put(old.branches, old.at, Branch(turns=self.turns[place:], scenes=self.scenes))
        new = Swipes(id=new_id, at=len(left), branches=(*left, Branch()))
        head = self.turns[:place]
        ids = {turn.id for turn in head}
        scenes = tuple(scene for scene in self.scenes if ids.issuperset(scene.turn_ids))
        others = tuple(s for s in self.swipes if s.id != turn_id)
        return Record(turns=head, scenes=scenes, swipes=(*others, new))

    def unforked(self, new_id: str) -> Record:
        """The record as if ``forked`` had not been called: for a sibling that never came.

        Nothing changes where no sibling of that id is awaited.
        """
        waiting = next((s for s in self.swipes if s.id == new_id), None)
        if waiting is None or any(turn.id == new_id for turn in self.turns):
            return self
        back = waiting.branches[waiting.at - 1]
        others = tuple(s for s in self.swipes if s is not waiting)
        if len(waiting.branches) > 2:
            left = _put(waiting.branches[: waiting.at], waiting.at - 1, Branch())
            others += (Swipes(id=back.turns[0].id, at=waiting.at - 1, branches=left),)
        return Record(turns=(*self.turns, *back.turns), scenes=back.scenes, swipes=others)

    def chosen(self, turn_id: str, number: int) -> Record:
        """The record with sibling ``number`` of a reply on the path, and all that followed that sibling.

        Raises:
            SessionError: there is no such turn or sibling.
        """
        place, old = self.place(turn_id), self.siblings(turn_id)
        if not 0 <= number < len(old.branches):
            raise SessionError(
                f"there is no reply {number + 1} to choose, only {len(old.branches)}: regenerate it for a further one"
            )
        if number == old.at:
            return self
        taken = old.branches[number]
        left = _put(old.branches, old.at, Branch(turns=self.turns[place:], scenes=self.scenes))
        new = Swipes(id=taken.turns[0].id, at=number, branches=_put(left, number, Branch()))
        swipes = tuple(new if s is old else s for s in self.swipes)
        return Record(turns=(*self.turns[:place], *taken.turns), scenes=taken.scenes, swipes=swipes)

    def siblings(self, turn_id: str) -> Swipes:
        """The siblings of a turn on the path; the turn alone when it was never regenerated."""
        return next((s for s in self.swipes if s.id == turn_id), Swipes(id=turn_id, at=0, branches=(Branch(),)))

    def texts(self, turn_id: str) -> list[str]:
        """What the siblings of a turn say, oldest first, its own words among them."""
        own, old = self.turns[self.place(turn_id)], self.siblings(turn_id)
        return [own.text if n == old.at else branch.turns[0].text for n, branch in enumerate(old.branches)]

    def plain(self) -> dict[str, Any]:
        """The record as plain data."""
        return self.model_dump(mode="json")

    def _without_scenes_of(self, turn_id: str) -> Record:
        def clean(scenes: Iterable[Scene]) -> tuple[Scene, ...]:
            return tuple(scene for scene in scenes if turn_id not in scene.turn_ids)

        def with_clean(swipes: Swipes) -> Swipes:
            branches = (b.model_copy(update={"scenes": clean(b.scenes)}) for b in swipes.branches)
            return swipes.model_copy(update={"branches": tuple(branches)})

        return self.model_copy(update={"scenes": clean(self.scenes), "swipes": tuple(map(with_clean, self.swipes))})


def _put(branches: tuple[Branch, ...], at: int, branch: Branch) -> tuple[Branch, ...]:
    return (*branches[:at], branch, *branches[at + 1 :])


def _reachable(swipes: Iterable[Swipes], path: Iterable[Turn]) -> tuple[Swipes, ...]:
    """The swipes that can still be come to, from the path or from a branch of another."""
    left, known = list(swipes), {turn.id for turn in path}
    found: list[Swipes] = []
    while new := [s for s in left if s.id in known]:
        left = [s for s in left if s not in new]
        found += new
        known |= {turn.id for s in new for branch in s.branches for turn in branch.turns}
    return tuple(found)
