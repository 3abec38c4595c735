"""What a model can do, whatever it is called: read from its checkpoint, its adapter or its catalog entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from egosrag.models.continuation import unbound


@dataclass(frozen=True)
class Traits:
    """What callers need to know of a model before they use it.

    Attributes:
        single_turn: trained on single turns only, so that a history is best sent as one message (report 7.2.4).
        extractive_only: reads worse than the best sentence of what it reads: a manual is quoted, statements of a card
            are sentences of its sources.
        revises_drafts: its drafts of speech, cards and summaries are checked against what it read.
    """

    single_turn: bool = False
    extractive_only: bool = False
    revises_drafts: bool = False


def traits_of(model: Any) -> Traits:
    """The traits of a chat model or LLM, under whatever ``bind`` and ``with_config`` put around it.

    A model that states none (``model.traits``) is taken for one that continues any text, as a plain LLM does: its
    history is one message, which every model can read.
    """
    inner = unbound(model)
    traits = getattr(inner, "traits", None)
    if isinstance(traits, Traits):
        return traits
    return Traits(
        single_turn=not getattr(inner, "multi_turn", False),
        extractive_only=not getattr(inner, "reads_passages", True),
        revises_drafts=not getattr(inner, "reads_passages", True),
    )
