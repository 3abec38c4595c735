"""Summarize, dynamic (report 7.2.4): turns leave the prompt whole, and come back for the line that needs them.

``Leave`` is what happens when the budget is spent: the oldest turns leave the prompt, many at a time, so that its
head stays the same until the next time. ``Recall`` is what happens at every line afterwards: what it needs of the
turns out of sight is found again, and is valid for that line alone. The record keeps every turn.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from langchain_core.runnables import RunnableConfig

from egosrag.egos.step import Found, Step, Talk
from egosrag.schema import Turn

MOST = 10  # turns that are recalled for one line
_MONTHS = ("January February March April May June July August September October November December").split()  # noqa: SIM905


class TurnSearch(Protocol):
    """What a dynamic memory is to the conversation: ``egosrag.rag.retrieval.turn_memory.TurnMemory`` is one."""

    def follow(self, turns: Sequence[Turn], when: Mapping[str, str] | None = None) -> None:
        """Remember exactly these turns, with their dates in words by turn id."""

    def recall(
        self, line: str, *, k: int, budget: int | None, count: Callable[[str], int], visible: Collection[str]
    ) -> Sequence[Found]:
        """At most ``k`` turns that fit the line, none of them visible, for at most ``budget`` tokens."""


class Recall(Step[Talk, tuple[Found, ...]]):
    """Finds what the last line needs of the turns that the prompt no longer shows, in the order they were said.

    Args:
        memory: searches the turns; it belongs to this one session.
        count: tokens of a text.
        budget: most tokens that the recalled lines may take together.
        most: most turns that are recalled.
    """

    def __init__(self, memory: TurnSearch, count: Callable[[str], int], budget: int, *, most: int = MOST) -> None:
        self.name = "Recall"
        self.memory = memory
        self.count = count
        self.budget = budget
        self.most = most

    def run(self, value: Talk, config: RunnableConfig | None = None) -> tuple[Found, ...]:
        """What ``value`` needs; nothing while every turn is in sight."""
        if not value.out_of_sight:
            return ()
        visible = [turn.id for turn in value.visible_turns]
        line = value.visible_turns[-1].text if visible else ""
        self.memory.follow(value.turns, dates(value.turns, value.language))
        found = self.memory.recall(line, k=self.most, budget=self.budget, count=self.count, visible=visible)
        return tuple(found)


class Leave(Step[Talk, tuple[str, ...]]):
    """Says which turns leave the prompt: the ids of the oldest ones, as many as make it fit again.

    Args:
        fits: whether the prompt of a conversation needs no more than this share of its room.
        keep_turns: the last turns that stay, where they fit.
        target: the share of the room that the prompt should need afterwards.
    """

    def __init__(self, fits: Callable[[Talk, float], bool], *, keep_turns: int = 4, target: float = 0.6) -> None:
        self.name = "Summarize"
        self.fits = fits
        self.keep_turns = keep_turns
        self.target = target

    def run(self, value: Talk, config: RunnableConfig | None = None) -> tuple[str, ...]:
        """The ids of the turns of ``value`` that leave; none while it fits."""
        if self.fits(value, self.target):
            return ()
        ids = [turn.id for turn in value.visible_turns]
        stay = min(max(self.keep_turns, 1), len(ids))
        count = bisect_left(range(len(ids) - stay), True, key=lambda n: self.fits(value.without(ids[:n]), self.target))
        if not self.fits(value.without(ids[:count]), 1.0):
            rest = range(count, max(len(ids) - 1, count))
            count = rest.start + bisect_left(rest, True, key=lambda n: self.fits(value.without(ids[:n]), 1.0))
        return tuple(ids[:count])


def dates(turns: Sequence[Turn], language: str) -> dict[str, str]:
    """The day of each turn in words, by turn id; empty for a conversation of a single day, which needs no dates."""
    days = {turn.id: datetime.fromisoformat(turn.at).astimezone().date() for turn in turns if turn.at}
    if len(set(days.values())) < 2:
        return {}
    if language == "zh":
        return {key: f"{day.year}年{day.month}月{day.day}日" for key, day in days.items()}
    return {key: f"{day.day} {_MONTHS[day.month - 1]} {day.year}" for key, day in days.items()}
