"""What a reviser does: it checks the drafts of an unreliable model (trait ``revises_drafts``) before they are used.

``egosrag.pocket.reviser`` is the one for the embedded model; ``egosrag.assemble.reviser_for`` selects it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from egosrag.egos.extract.evidence import FoundStatement
from egosrag.egos.view import ConversationView


class Reviser(Protocol):
    """Checks what an unreliable model drafts: speech, the lines of a summary, the statements of a card."""

    def speech(self, draft: str, view: ConversationView) -> str:
        """The speech in place of ``draft``, in answer to the last line of ``view``; the draft itself if it is good."""

    def keeps_scene(self, line: str, texts: Sequence[str]) -> bool:
        """Whether ``line`` may stay in a summary of turns with these texts."""

    def statements(
        self, found: Sequence[FoundStatement], sources: Sequence[tuple[str, str]], name: str
    ) -> list[FoundStatement]:
        """The statements for the card of ``name``, given what the model found in ``sources``."""
