"""The reviser of the embedded model: its speech, its cards and its summaries, checked against what it read.

It is chosen in ``egosrag.assemble`` for a model with the trait ``revises_drafts``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from egosrag.egos.extract.evidence import FoundStatement, direct_statements
from egosrag.egos.view import ConversationView
from egosrag.pocket.grounding import grounded
from egosrag.text.named_items import normalized

QUOTED_STATEMENTS = 24  # sentences of the sources in a card, beside what the model found


class PocketReviser:
    """Revises drafts of speech, statements of a card and lines of a summary, without a model."""

    def speech(self, draft: str, view: ConversationView) -> str:
        """The card's own sentence in the first person where it answers the line better than ``draft``."""
        return grounded(draft, view)

    def statements(
        self, found: Sequence[FoundStatement], sources: Sequence[tuple[str, str]], name: str
    ) -> list[FoundStatement]:
        """Sentences of the sources about ``name``, then what the model found elsewhere.

        A sentence whose words do not decide its label gets the label that the model gave it.
        """
        labels = {_place(item)[:2]: item.label for item in found}
        quoted = [
            replace(item, label=labels.get(_place(item)[:2], item.label)) if item.label == "background" else item
            for item in direct_statements(sources, name, QUOTED_STATEMENTS, resolve_pronouns=True)
        ]
        places = [_place(item) for item in quoted]
        return [*quoted, *(item for item in found if not any(_overlap(_place(item), place) for place in places))]

    def keeps_scene(self, line: str, texts: Sequence[str]) -> bool:
        """Whether a line of a summary, "A tells B: ...", quotes what one of ``texts`` says; other lines are kept."""
        _, colon, quote = line.replace("：", ":").partition(":")
        words = normalized(quote.replace(":", ""))
        return not colon or any(words in normalized(re.sub("[:：]", "", text)) for text in texts)


def _place(item: FoundStatement) -> tuple[str, int, int]:
    """Source, start and end of a statement's first evidence."""
    first = item.statement.evidence[0]
    return first.source, first.start, first.end


def _overlap(a: tuple[str, int, int], b: tuple[str, int, int]) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]
