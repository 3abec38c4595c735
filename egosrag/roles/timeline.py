"""Points in the order of a role's sources (chapters, dates, files), and the card as it is known at one of them.

Extract stores the points with the card, and each statement with the place that supports it, so that the card as of
chapter 5 is a filter: what is supported only after the chapter's end is left out, and what only a later chapter
supersedes still holds. What has no place in the sources, such as a statement written by hand, is known from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from egosrag.roles.points import find_point
from egosrag.schema import Evidence, LoreEntry, Point, Role, Statement

SINCE = "since"
"""The key of a lorebook entry's ``extensions`` that names the point from which on the entry is known."""


def role_until(role: Role, words: str) -> Role:
    """The card as it is known at the end of a point: what only later places support is left out.

    Of several places that support a statement the first one counts: its words are from there.

    Args:
        role: a card of Extract, with its ``timeline``.
        words: the point, see :func:`find_point`. Empty: the card as it is.

    Raises:
        RoleError: there is no such point.
    """
    if not words.strip():
        return role
    last = find_point(role.timeline, words)
    known = _Known(role.timeline, last)
    lorebook = role.lorebook
    if lorebook is not None:
        entries = tuple(entry for entry in lorebook.entries if _since(entry, role.timeline) <= last)
        lorebook = lorebook.model_copy(update={"entries": entries})
    return role.model_copy(
        update={
            **{field: known.statements(getattr(role, field)) for field in _STATEMENTS},
            "sample_dialogue": known.items(role.sample_dialogue),
            "lorebook": lorebook,
            "as_of": role.timeline[last].label,
        }
    )


def evidence_until(role: Role) -> Callable[[Evidence], Evidence | None]:
    """What of a place in the sources the card's ``as_of`` knows: the place, a part of it, or None.

    Args:
        role: a card of :func:`role_until`, or one that knows everything.
    """
    if not role.as_of:
        return lambda place: place
    return _Known(role.timeline, find_point(role.timeline, role.as_of)).part


def sources_until(sources: Sequence[tuple[str, str]], timeline: Sequence[Point], words: str) -> list[tuple[str, str]]:
    """The (name, text) pairs up to the end of a point.

    Raises:
        RoleError: there is no such point.
    """
    if not words.strip():
        return list(sources)
    known = _Known(timeline, find_point(timeline, words))
    cut = [(name, text[: known.end(name, len(text))]) for name, text in sources]
    return [(name, text) for name, text in cut if text]


_STATEMENTS = ("background", "personality", "speaking_style", "relations")


class _Supported(Protocol):
    """A statement, or a line of dialogue."""

    @property
    def evidence(self) -> tuple[Evidence, ...]: ...


_Item = TypeVar("_Item", bound=_Supported)


class _Known:
    """What is known at the end of a point.

    Args:
        timeline: the points.
        last: the index of the last point that is known.
    """

    def __init__(self, timeline: Sequence[Point], last: int) -> None:
        self._sources = {point.source for point in timeline}
        self._begun = {point.source for point in timeline[: last + 1]}
        self._ends: dict[str, int] = {}
        for point in timeline[last + 1 :]:
            self._ends.setdefault(point.source, point.start)

    def end(self, source: str, length: int) -> int:
        """The number of characters of a source that are known; of one that the timeline does not have, none."""
        return self._ends.get(source, length) if source in self._begun else 0

    def part(self, place: Evidence) -> Evidence | None:
        """The part of a place that is known."""
        end = self.end(place.source, place.end)
        if end >= place.end:
            return place
        quote = place.quote[: max(0, end - place.start)].rstrip()
        return place.model_copy(update={"end": place.start + len(quote), "quote": quote}) if quote else None

    def items(self, items: Sequence[_Item]) -> tuple[_Item, ...]:
        """Those whose first place is known, and those without a place."""
        return tuple(item for item in items if not item.evidence or self.part(item.evidence[0]) == item.evidence[0])

    def statements(self, statements: Sequence[Statement]) -> tuple[Statement, ...]:
        """The known statements, without the places that are not known yet."""
        return tuple(
            statement.model_copy(
                update={
                    "evidence": tuple(place for place in statement.evidence if self.part(place) == place),
                    "until": statement.until if statement.until and self.part(statement.until) else None,
                }
            )
            for statement in self.items(statements)
        )


def _since(entry: LoreEntry, timeline: Sequence[Point]) -> int:
    """The index of the point from which on a lorebook entry is known; 0 where it names none."""
    since = entry.extensions.get(SINCE)
    return find_point(timeline, str(since)) if since not in (None, "") else 0
