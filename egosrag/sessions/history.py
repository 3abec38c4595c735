"""Going back in a conversation: another reply, other words for a turn, a turn less; the memory follows.

A session is a thread of LangGraph's store. Regenerating forks it before the reply; the reply that was there stays as
a sibling, with all that followed it. Nothing is overwritten in the store: what a turn said before it was edited or
deleted stands in the checkpoints before.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.types import Overwrite

from egosrag.egos.generate import Generate
from egosrag.errors import SessionError
from egosrag.models.continuation import unbound
from egosrag.schema import Reply, Turn
from egosrag.sessions.records import Record
from egosrag.sessions.session import Session
from egosrag.sessions.state import State, record_of

WARMER = 0.8  # the temperature of a further reply where the model's own is 0: it would say the same again
_FORK_DEPTH = 12  # checkpoints back in which the one before the last reply is found


class Rewriting(Session):
    """What a conversation can take back; ``Conversation`` is one."""

    generate: Generate

    @abstractmethod
    def _speaker_after(self, turns: Sequence[Turn]) -> str: ...

    @abstractmethod
    def _speakers(self) -> tuple[str, ...]: ...

    def regenerate(
        self, turn_id: str | None = None, *, seed: int | None = None, temperature: float | None = None
    ) -> Reply:
        """Another reply in the place of one, which stays as a sibling with all that followed it.

        A model that takes the likeliest token would say the same again, so it is given the temperature 0.8 for this
        reply alone; the seed counts up from the model's own, so that every sibling differs and can be had again.

        Args:
            turn_id: the reply; the last turn when it is absent. Where that is a line without a reply, it is answered.
            seed: the seed of the sampling, in place of the counted one.
            temperature: the spread of the sampling, in place of the model's own.

        Raises:
            SessionError: there is no such turn, it is not a reply, or the role is still answering.
            ModelError: the model failed. The reply that was there is there again.
        """
        *_, reply = self.stream_again(turn_id, seed=seed, temperature=temperature)
        assert isinstance(reply, Reply)
        return reply

    def stream_again(
        self, turn_id: str | None = None, *, seed: int | None = None, temperature: float | None = None
    ) -> Iterator[str | Reply]:
        """As ``regenerate``: the text in pieces, the reply last. Closing the iterator keeps what was said."""
        yield from self._answered(lambda: self._asked_again(turn_id, seed, temperature))

    def swipes(self, turn_id: str | None = None) -> list[str]:
        """What the siblings of a reply say, oldest first; the last turn's when no id is given.

        Raises:
            SessionError: there is no such turn.
        """
        record = self.record
        return record.texts(self._or_last(record, turn_id))

    def choose(self, number: int, turn_id: str | None = None) -> None:
        """Goes on from another sibling of a reply, with all that followed it.

        Args:
            number: its place in ``swipes``, from 0.
            turn_id: the reply as it stands now; the last turn when it is absent.

        Raises:
            SessionError: there is no such turn or sibling, or the role is still answering.
        """
        self._rewrite(lambda record: record.chosen(self._or_last(record, turn_id), number))

    def edit(self, turn_id: str, text: str) -> None:
        """Gives a turn other words; it keeps its id, and scenes that stand for it are written anew.

        Raises:
            SessionError: there is no such turn, the text is empty, or the role is still answering.
        """
        self._rewrite(lambda record: record.edited(turn_id, text))

    def delete(self, turn_id: str) -> None:
        """Takes a turn out, with the siblings of that reply; what followed it stays.

        Raises:
            SessionError: there is no such turn, or the role is still answering.
        """
        self._rewrite(lambda record: record.deleted(turn_id))

    def _rewrite(self, change: Callable[[Record], Record]) -> None:
        with self._alone():
            self._settle()
            values = self._values()
            before = record_of(values)
            after = change(before)
            waits = bool(values.get("pending")) and after.turns[-1:] and after.turns[-1].id == before.turns[-1].id
            self._write({**values, **after.plain(), "pending": bool(waits)})

    def _asked_again(
        self, turn_id: str | None, seed: int | None, temperature: float | None
    ) -> tuple[State, RunnableConfig]:
        record = self.record
        turn = record.turns[record.place(self._or_last(record, turn_id))]
        siblings = 1
        if turn.speaker in self._speakers():
            if turn.id == record.turns[0].id:
                raise SessionError("nothing was said before the first turn: edit it, or regenerate a later reply")
            update = self._asking({}, turn.speaker)
            record = record.forked(turn.id, update["answer"])
            siblings = record.swipes[-1].at
        elif turn.id == record.turns[-1].id:
            update = self._asking({}, self._speaker_after(record.turns))
            record = record.edited(turn.id, turn.text)  # a line that was left without a reply counts again
        else:
            raise SessionError("only a reply can be generated again: give the id of a turn that the role says")
        plain = record.plain()
        rewritten = {
            **update,
            "turns": Overwrite(plain["turns"]),
            "scenes": Overwrite(plain["scenes"]),
            "swipes": plain["swipes"],
            "sampling": self._sampling(seed, temperature, siblings),
        }
        return cast("State", rewritten), self._before(record.turns[-1].id)

    def _sampling(self, seed: int | None, temperature: float | None, siblings: int) -> dict[str, Any]:
        model = unbound(self.generate.model)
        if temperature is None and getattr(model, "temperature", None) == 0:
            temperature = WARMER
        if seed is None and hasattr(model, "seed"):
            seed = (model.seed or 0) + siblings
        given = {"seed": seed, "temperature": temperature}
        return {key: value for key, value in given.items() if value is not None}

    def _before(self, turn_id: str) -> RunnableConfig:
        """Where the thread forks: before the reply to that turn; for older turns, at its end.

        The state is written whole in both cases: what was edited meanwhile counts in every branch.
        """
        for state in self.graph.get_state_history(self._config, limit=_FORK_DEPTH):
            turns = state.values.get("turns")
            if state.next == ("Organize",) and turns and turns[-1]["id"] == turn_id:
                at = {k: v for k, v in state.config["configurable"].items() if k.startswith("checkpoint")}
                return {**self._config, "configurable": {**self._config["configurable"], **at}}
        return self._config

    @staticmethod
    def _or_last(record: Record, turn_id: str | None) -> str:
        if turn_id is None and not record.turns:
            raise SessionError("nothing was said yet: say a line first")
        return record.turns[-1].id if turn_id is None else turn_id
