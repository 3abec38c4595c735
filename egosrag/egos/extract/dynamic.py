"""Sources of a role without a card (report 7.2.2 and 7.3.2): searched for each line, or read raw.

``Lookup`` is Extract in its dynamic form: what a line concerns is found in an index of the sources, with its place,
and is valid for that turn alone. ``raw`` is the ablation EGOS-wo-Extract: the sources stand in the card's place as
they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langchain_core.runnables import RunnableConfig

from egosrag.egos.extract.chunks import cut, mention, sentences
from egosrag.egos.extract.evidence import content
from egosrag.egos.step import Step, Talk
from egosrag.errors import RoleError, SourceError
from egosrag.schema import Evidence, Role
from egosrag.text.language import language_of, one_line

Search = Callable[[str], Sequence[Evidence]]
"""What a search over sources is to the conversation: a line -> places in the sources, the best first."""


class Lookup(Step[Talk, tuple[Evidence, ...]]):
    """Extract, dynamic: what the sources tell of the last line, the best places first, within a token budget.

    Args:
        search: finds places in the sources; ``egosrag.assemble.source_search`` makes one of the manual's index.
        count: tokens of a text.
        budget: most tokens that the places may take together; one takes a third of it at most.
    """

    def __init__(self, search: Search, count: Callable[[str], int], budget: int) -> None:
        self.name = "Extract"
        self.search = search
        self.count = count
        self.budget = budget

    def run(self, value: Talk, config: RunnableConfig | None = None) -> tuple[Evidence, ...]:
        """The places for the last turn of ``value``, those that its words find before those of the role's name."""
        line = value.turns[-1].text if value.turns else ""
        taken: list[Evidence] = []
        left = self.budget
        for found in (*self.search(line), *self.search(f"{value.role.name} {line}")):
            if any(found.source == p.source and found.start < p.end and p.start < found.end for p in taken):
                continue  # windows of an index overlap: the same words twice tell nothing more
            place = self._cut(found, line, min(left, max(self.budget // 3, 1)))
            if place:
                taken.append(place)
                left -= self._cost(place.quote)
        return tuple(taken)

    def _cut(self, place: Evidence, line: str, room: int) -> Evidence | None:
        """The place, or the run of its sentences around the one that has most of the line's words; None: no room."""
        if self._cost(place.quote) <= room:
            return place
        about, spans = content(line), sentences(place.quote)
        first = max(range(len(spans)), key=lambda n: len(about & content(place.quote[slice(*spans[n])])), default=0)
        last = first

        def text(a: int, b: int) -> str:
            return place.quote[spans[a][0] : spans[b][1]]

        if not spans or self._cost(text(first, last)) > room:
            return None
        grown = True
        while grown:
            grown = False
            for a, b in ((first, last + 1), (first - 1, last)):
                if a >= 0 and b < len(spans) and self._cost(text(a, b)) <= room:
                    first, last, grown = a, b, True
        start, end = spans[first][0], spans[last][1]
        return Evidence(
            source=place.source, start=place.start + start, end=place.start + end, quote=place.quote[start:end]
        )

    def _cost(self, text: str) -> int:
        return self.count(f"- {one_line(text)}\n")


def raw(
    sources: Sequence[tuple[str, str]], room: int, count: Callable[[str], int], notice: Callable[[str], None]
) -> str:
    """The sources one after the other, cut between sentences where they are longer than ``room``.

    Args:
        sources: (name, text) pairs.
        room: tokens that they may take.
        count: tokens of a text.
        notice: is told, in a line, how much of them is left out.
    """
    parts: list[str] = []
    left = room
    for _, text in sources:
        # More characters than any tokenizer puts into the room: the end of a novel need not be counted.
        head = text.strip()[: left * 8]
        if left < 1 or not head:
            continue
        first = cut([("", head)], left, count)[0].text
        parts.append(first)
        left -= count(first) + 1
        if len(first) < len(text.strip()):
            break
    whole, kept = sum(len(text.strip()) for _, text in sources), sum(map(len, parts))
    if kept < whole:
        notice(f"the sources are longer than the window: the first {kept} of {whole} characters are read")
    return "\n".join(parts)


def bare(sources: Sequence[tuple[str, str]], name: str) -> Role:
    """The card of a role of which no more is known than its name, in the language of its sources.

    Raises:
        RoleError: the name is empty.
        SourceError: no source names it.
    """
    name = one_line(name)
    if not name:
        raise RoleError("the role has no name: give the name that the sources use")
    if not any(mention(name).search(text) for _, text in sources):
        raise SourceError(f"no source names {name}: give the name as the sources write it")
    language = language_of("\n".join(text[:20_000] for _, text in sources))
    return Role.model_validate({"name": name, "language": language})
