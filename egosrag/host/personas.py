"""A visitor's personas: who they are in a conversation."""

from __future__ import annotations

from egosrag.host.visitors import Visitor
from egosrag.roles.personas import FILE_NAME, SavedPersonas, load_personas

__all__ = ["load_personas", "personas_of"]


def personas_of(visitor: Visitor) -> SavedPersonas:
    """The saved personas of a visitor, to list, add and remove."""
    return SavedPersonas(visitor.folder / FILE_NAME)
