"""The reviser of the embedded model: checks its replies, cards and summaries against the text that it was given.

``egosrag.assemble.reviser_for`` selects it for every model with the trait ``revises_drafts``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from egosrag.egos.extract.evidence import FoundStatement, direct_statements
from egosrag.egos.view import ConversationView
from egosrag.pocket.grounding import revise_reply
from egosrag.text.named_items import normalized

QUOTED_STATEMENTS = 24  # most sentences that a card quotes from the sources, beside what the model found


class PocketReviser:
    """Revises replies, statements of a card and lines of a summary by rules, without a model.

    It implements the protocols ``SpeechReviser``, ``CardReviser`` and ``SceneReviser`` of ``egosrag.egos``.
    """

    def speech(self, draft: str, view: ConversationView) -> str:
        """A sentence of the card in the first person, if it answers the line better than ``draft``; else the draft."""
        return revise_reply(draft, view)

    def statements(
        self, found: Sequence[FoundStatement], sources: Sequence[tuple[str, str]], name: str
    ) -> list[FoundStatement]:
        """Sentences of the sources about ``name``, then those of the model's statements that other sentences support.

        A quoted sentence whose words do not decide its label gets the label that the model gave it.
        """
        labels = {_place(item)[:2]: item.label for item in found}
        quoted = [
            replace(item, label=labels.get(_place(item)[:2], item.label)) if item.label == "background" else item
            for item in direct_statements(sources, name, QUOTED_STATEMENTS, resolve_pronouns=True)
        ]
        places = [_place(item) for item in quoted]
        return [*quoted, *(item for item in found if not any(_overlap(_place(item), place) for place in places))]

    def keeps_scene(self, line: str, texts: Sequence[str]) -> bool:
        """Whether a summary's line "A tells B: QUOTE" quotes one of ``texts``; lines of any other form are kept."""
        _, colon, quote = line.replace("：", ":").partition(":")
        words = normalized(quote.replace(":", ""))
        return not colon or any(words in normalized(re.sub("[:：]", "", text)) for text in texts)


def _place(item: FoundStatement) -> tuple[str, int, int]:
    """The source, start and end of a statement's first evidence."""
    first = item.statement.evidence[0]
    return first.source, first.start, first.end


def _overlap(a: tuple[str, int, int], b: tuple[str, int, int]) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]
