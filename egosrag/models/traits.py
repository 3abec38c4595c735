"""The traits of a chat model (``egosrag.traits`` has what they are and where a checkpoint states them)."""

from __future__ import annotations

from typing import Any

from egosrag.models.continuation import unbound
from egosrag.traits import Traits

__all__ = ["Traits", "traits_of"]

_UNSTATED = Traits(single_turn=True)


def traits_of(model: Any) -> Traits:
    """The traits of a chat model or LLM; those of the model inside ``bind`` and ``with_config``.

    A model that states none (it has no attribute ``traits``) is treated as a plain LLM, which continues any text: its
    history is sent as one message, which every model can read.
    """
    traits = getattr(unbound(model), "traits", None)
    return traits if isinstance(traits, Traits) else _UNSTATED
