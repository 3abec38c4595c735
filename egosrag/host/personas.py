"""A visitor's personas: who they are in a conversation."""

from __future__ import annotations

from contextlib import suppress

from pydantic import ValidationError

from egosrag.errors import RoleError
from egosrag.host.visitors import Visitor
from egosrag.roles.personas import FILE_NAME, SavedPersonas, load_personas
from egosrag.schema import Persona

__all__ = ["MAX_PERSONAS", "chosen_persona", "load_personas", "personas_of", "save_persona"]
MAX_PERSONAS = 100  # of one visitor


def personas_of(visitor: Visitor) -> SavedPersonas:
    """The saved personas of a visitor, to list, add and remove."""
    return SavedPersonas(visitor.folder / FILE_NAME)


def save_persona(visitor: Visitor, name: str, description: str, replaces: str = "") -> Persona:
    """Save a persona.

    Args:
        visitor: the owner.
        name: its name, 1 to 80 characters.
        description: what roles know of it.
        replaces: the name of the saved persona that was edited; empty: it is a new one.

    Raises:
        RoleError: the name is empty, too long or another persona's, or the visitor has too many personas.
    """
    saved = personas_of(visitor)
    try:
        persona = Persona(name=" ".join(name.split()), description=description.strip())
    except ValidationError as error:
        raise RoleError("the persona needs a name of at most 80 letters: write one") from error
    names = {other.name.casefold() for other in saved.all()}
    if persona.name.casefold() in names - {replaces.casefold()}:
        raise RoleError(f"you already have a persona {persona.name}: edit it, or choose another name")
    if not replaces and len(names) >= MAX_PERSONAS:
        raise RoleError(f"you have {MAX_PERSONAS} personas, which is the limit: delete one of them first")
    saved.add(persona)
    if replaces and replaces.casefold() != persona.name.casefold():
        with suppress(RoleError):  # it was deleted meanwhile, in another window
            saved.remove(replaces)
    return persona


def chosen_persona(visitor: Visitor, choice: str | None, remembered: Persona | None) -> Persona | None:
    """Who talks in a conversation.

    Args:
        visitor: the owner.
        choice: name of a saved persona; empty: none; None: not chosen.
        remembered: the persona that the conversation remembers; it is used where the chosen one was deleted.
    """
    if choice == "":
        return None
    return next((p for p in personas_of(visitor).all() if p.name == choice), remembered)
