"""The memory of a conversation (report 7.2.4): what the prompt shows of past turns. The record keeps every turn.

Static: scenes replace old turns (``Summarize``). Dynamic: old turns are evicted from the prompt, and those that a line
needs are recalled for it (``Evict``, ``Recall``). Both: scenes, and recalled turns beside them. None: old turns are
evicted and nothing replaces them. A session may continue with another memory: each is made from the same record.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Literal, Protocol

from langchain_core.runnables import RunnableConfig

from egosrag.egos.organize import Organize
from egosrag.egos.step import Count, Step
from egosrag.egos.summarize import KEEP_TURNS, Summarize
from egosrag.egos.view import ConversationView, RecalledTurn
from egosrag.schema import Role, Scene, Turn
from egosrag.text.language import language_of

Kind = Literal["static", "dynamic", "both", "none"]
RECALLED_TURNS = 10  # most turns that are recalled for one line
EVICTION_TARGET = 0.6  # share of the budget that the prompt takes after an eviction: evictions are few and large
SPENT_SHARE = 0.9  # of the budget: from here on turns are summarized or evicted before the next line, which needs some
ASSISTANT = {"en": "Assistant", "zh": "助手"}
_MESSAGE_TOKENS = 8  # of a chat template, for each message
_log = logging.getLogger(__name__)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


class TurnSearch(Protocol):
    """A search over the turns of one session, such as ``egosrag.rag.retrieval.turn_memory.TurnMemory``."""

    def follow(self, turns: Sequence[Turn], when: Mapping[str, str] | None = None) -> None:
        """Index exactly these turns, with their dates in words by turn id."""

    def recall(
        self, line: str, *, k: int, budget: int | None, count: Callable[[str], int], visible: Collection[str]
    ) -> Sequence[RecalledTurn]:
        """At most ``k`` turns that fit the line, none with an id in ``visible``, for at most ``budget`` tokens."""


class Recall(Step[ConversationView, tuple[RecalledTurn, ...]]):
    """Retrieves the hidden turns that the last line needs, in the order in which they were said.

    Args:
        memory: the search; it belongs to this one session.
        count: number of tokens of a text.
        budget: tokens that the recalled turns may take together.
        limit: number of turns that are recalled at most.
    """

    def __init__(
        self, memory: TurnSearch, count: Callable[[str], int], budget: int, *, limit: int = RECALLED_TURNS
    ) -> None:
        self.name = "Recall"
        self.memory = memory
        self.count = count
        self.budget = budget
        self.limit = limit

    def run(self, value: ConversationView, config: RunnableConfig | None = None) -> tuple[RecalledTurn, ...]:
        """The turns that the last line of ``value`` needs; none while every turn is in the prompt."""
        if not value.has_hidden_turns:
            return ()
        visible = [turn.id for turn in value.visible_turns]
        line = value.visible_turns[-1].text if visible else ""
        self.memory.follow(value.turns, dates(value.turns, value.language))
        return tuple(self.memory.recall(line, k=self.limit, budget=self.budget, count=self.count, visible=visible))


class Evict(Step[ConversationView, tuple[str, ...]]):
    """Selects the turns that leave the prompt: the ids of the oldest ones, as many as make it fit again.

    Args:
        fits: whether the prompt of a conversation takes at most this share of its budget.
        keep_turns: the last turns that stay, where they fit.
        target: the share of the budget that the prompt should take afterwards.
    """

    def __init__(
        self,
        fits: Callable[[ConversationView, float], bool],
        *,
        keep_turns: int = KEEP_TURNS,
        target: float = EVICTION_TARGET,
    ) -> None:
        self.name = "Summarize"
        self.fits = fits
        self.keep_turns = keep_turns
        self.target = target

    def run(self, value: ConversationView, config: RunnableConfig | None = None) -> tuple[str, ...]:
        """The ids of the turns of ``value`` to evict; none while it fits."""
        if self.fits(value, self.target):
            return ()
        ids = [turn.id for turn in value.visible_turns]
        keep = min(max(self.keep_turns, 1), len(ids))
        evicted = self._fewest(value, ids, range(len(ids) - keep), self.target)
        if not self.fits(value.without(ids[:evicted]), 1.0):
            evicted = self._fewest(value, ids, range(evicted, max(len(ids) - 1, evicted)), 1.0)
        return tuple(ids[:evicted])

    def _fewest(self, view: ConversationView, ids: Sequence[str], numbers: range, share: float) -> int:
        """The smallest of ``numbers`` of turns whose eviction makes the rest fit; the range's end if none does."""
        return numbers.start + bisect_left(numbers, True, key=lambda n: self.fits(view.without(ids[:n]), share))


class Memory:
    """What the prompt shows of past turns.

    Args:
        organize: decides whether a conversation fits.
        summarize: writes the scenes; None: no static memory.
        recall: retrieves hidden turns; None: no dynamic memory.
        keep_turns: the last turns that stay in the prompt as they are, where they fit.
        notify: receives, in one line, what is no longer in the prompt.
    """

    def __init__(
        self,
        organize: Organize,
        summarize: Summarize | None,
        recall: Recall | None,
        *,
        keep_turns: int = KEEP_TURNS,
        notify: Callable[[str], None] = _log.warning,
    ) -> None:
        self.organize = organize
        self.summarize = summarize
        self.recall = recall
        self.evict = Evict(organize.fits, keep_turns=keep_turns)
        self._truncate = Evict(organize.fits, keep_turns=1, target=1.0)
        self.notify = notify

    def apply(self, view: ConversationView) -> ConversationView:
        """The conversation without what another kind of memory stored: scenes if it is static, else evictions."""
        return replace(view, evicted=frozenset()) if self.summarize else replace(view, scenes=())

    def must_shrink(self, view: ConversationView) -> bool:
        """Whether something has to leave the prompt before the last line can be answered."""
        if view.unsummarized_gaps:
            return True
        return (len(view.visible_turns) > 1 or bool(view.scenes)) and not self.organize.fits(view)

    def should_shrink(self, view: ConversationView) -> bool:
        """Whether something should leave the prompt before the next line."""
        return not self.organize.fits(view, SPENT_SHARE)

    def shrink(
        self, view: ConversationView, config: RunnableConfig | None = None
    ) -> tuple[ConversationView, dict[str, Any]]:
        """The conversation with a shorter prompt, and what the session stores of it.

        That is new ``scenes``, or as ``first`` the id of the first turn that is still in the prompt.
        """
        if self.summarize:
            scenes = self.summarize.run(view, config)
            return view.with_scenes(scenes), {"scenes": [scene.model_dump() for scene in scenes]}
        ids = self.evict.run(view, config)
        if ids and not self.recall:
            self.notify(f"{len(ids)} more turns left the prompt and nothing replaces them; the record keeps them")
        return view.without(ids), {"first": view.visible_turns[len(ids)].id} if ids else {}

    def recall_for_line(self, view: ConversationView, config: RunnableConfig | None = None) -> ConversationView:
        """The conversation with the hidden turns that its last line needs.

        If the conversation still does not fit, because Summarize failed, the oldest turns are left out of this prompt.
        """
        ids = self._truncate.run(view)
        if ids:
            self.notify(f"the {len(ids)} oldest turns are left out of this one prompt; the record keeps them")
            view = view.without(ids)
        return replace(view, recalled=self.recall.invoke(view, config)) if self.recall else view


def assistant_view(turns: Sequence[Turn], scenes: Sequence[Scene] = ()) -> ConversationView:
    """A conversation with an assistant of another program, who has no card; in the language of its beginning."""
    language = language_of(turns[0].text) if turns else "en"
    return ConversationView(Role(name=ASSISTANT[language], language=language), tuple(turns), tuple(scenes))


def tokens_of_turns(view: ConversationView, count: Count) -> int:
    """Tokens of the turns and scenes that a prompt shows, each a message, without a card and instructions."""
    texts = [*(turn.text for turn in view.visible_turns), *(scene.text for scene in view.visible_scenes)]
    return sum(count(text) + _MESSAGE_TOKENS for text in texts)


def dates(turns: Sequence[Turn], language: str) -> dict[str, str]:
    """The day of each turn in words, by turn id; empty for a conversation of a single day, which needs no dates."""
    zone = time.tzname
    days = {turn.id: _day(turn.at, zone) for turn in turns if turn.at}
    if len(set(days.values())) < 2:
        return {}
    if language == "zh":
        return {key: f"{day.year}年{day.month}月{day.day}日" for key, day in days.items()}
    return {key: f"{day.day} {_MONTHS[day.month - 1]} {day.year}" for key, day in days.items()}


@lru_cache(maxsize=8192)
def _day(at: str, zone: tuple[str, str]) -> date:
    """The day of a time in the zone of this machine."""
    return datetime.fromisoformat(at).astimezone().date()
