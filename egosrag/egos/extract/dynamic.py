"""Dynamic Extract (report 7.2.2) and the ablation EGOS-wo-Extract (7.3.2): sources in the prompt in place of a card.

``Lookup`` retrieves what the sources say about each line, with its place; it is valid for that line alone.
``raw_sources`` puts the sources into the prompt as they are, in place of a card.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langchain_core.runnables import RunnableConfig

from egosrag.egos.extract.chunks import source_sentences, split_sources
from egosrag.egos.extract.evidence import content_terms
from egosrag.egos.step import Step
from egosrag.egos.view import ConversationView
from egosrag.errors import RoleError, SourceError
from egosrag.roles.points import timeline_of
from egosrag.roles.timeline import evidence_until
from egosrag.schema import Evidence, Role
from egosrag.text.language import language_of, one_line
from egosrag.text.names import mention_pattern

Search = Callable[[str], Sequence[Evidence]]
"""A search over sources: a line -> hits in the sources, the best first."""


class Lookup(Step[ConversationView, tuple[Evidence, ...]]):
    """Retrieves what the sources say about the last line, the best hits first, within a token budget.

    Args:
        search: searches the sources; ``egosrag.assemble.source_search`` makes one from a document index.
        count: number of tokens of a text.
        budget: tokens that all hits together may take; a single hit takes at most a third of it.
    """

    def __init__(self, search: Search, count: Callable[[str], int], budget: int) -> None:
        self.name = "Extract"
        self.search = search
        self.count = count
        self.budget = budget

    def run(self, value: ConversationView, config: RunnableConfig | None = None) -> tuple[Evidence, ...]:
        """The hits for the last turn of ``value``: first for its text alone, then for the role's name and its text.

        A role that is as of a chapter gets what the sources say until then.
        """
        line = value.turns[-1].text if value.turns else ""
        selected: list[Evidence] = []
        remaining = self.budget
        known = evidence_until(value.role)
        hits = map(known, (*self.search(line), *self.search(f"{value.role.name} {line}")))
        for hit in filter(None, hits):
            if any(hit.source == p.source and hit.start < p.end and p.start < hit.end for p in selected):
                continue  # the windows of an index overlap
            place = self._shortened(hit, line, min(remaining, max(self.budget // 3, 1)))
            if place:
                selected.append(place)
                remaining -= self._cost(place.quote)
        return tuple(selected)

    def _shortened(self, place: Evidence, line: str, budget: int) -> Evidence | None:
        """The hit, cut to the sentences around the one most like the line that fit ``budget``; None if none fits."""
        if self._cost(place.quote) <= budget:
            return place
        terms, spans = content_terms(line), source_sentences(place.quote)
        shared = [len(terms & content_terms(place.quote[start:end])) for start, end in spans]
        first = last = max(range(len(spans)), key=shared.__getitem__, default=0)

        def text(a: int, b: int) -> str:
            return place.quote[spans[a][0] : spans[b][1]]

        if not spans or self._cost(text(first, last)) > budget:
            return None
        grown = True
        while grown:
            grown = False
            for a, b in ((first, last + 1), (first - 1, last)):
                if a >= 0 and b < len(spans) and self._cost(text(a, b)) <= budget:
                    first, last, grown = a, b, True
        start, end = spans[first][0], spans[last][1]
        return Evidence(
            source=place.source, start=place.start + start, end=place.start + end, quote=place.quote[start:end]
        )

    def _cost(self, text: str) -> int:
        return self.count(f"- {one_line(text)}\n")


def raw_sources(
    sources: Sequence[tuple[str, str]], budget: int, count: Callable[[str], int], notify: Callable[[str], None]
) -> str:
    """The concatenated sources, truncated between sentences where they are longer than ``budget``.

    Args:
        sources: (name, text) pairs.
        budget: tokens that they may take.
        count: number of tokens of a text.
        notify: receives, in one line, how much of them is left out.
    """
    parts: list[str] = []
    remaining = budget
    for _, text in sources:
        # No tokenizer has more than 8 characters per token: the end of a novel need not be counted.
        head = text.strip()[: remaining * 8]
        if remaining < 1 or not head:
            continue
        first = split_sources([("", head)], remaining, count)[0].text
        parts.append(first)
        remaining -= count(first) + 1
        if len(first) < len(text.strip()):
            break
    total, used = sum(len(text.strip()) for _, text in sources), sum(map(len, parts))
    if used < total:
        notify(f"the sources are longer than the window: the first {used} of {total} characters are read")
    return "\n".join(parts)


def bare_role(sources: Sequence[tuple[str, str]], name: str) -> Role:
    """A card with only a name, in the language of the sources, and the points in their order.

    Raises:
        RoleError: the name is empty.
        SourceError: no source mentions it.
    """
    name = one_line(name)
    if not name:
        raise RoleError("the role has no name: give the name that the sources use")
    if not any(mention_pattern(name).search(text) for _, text in sources):
        raise SourceError(f"no source names {name}: give the name as the sources write it")
    language = language_of("\n".join(text[:20_000] for _, text in sources))
    return Role(name=name, language=language, timeline=timeline_of(sources))
