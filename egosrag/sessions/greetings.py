"""The greetings of a card as the first turn of a conversation: one of them is said, the others are its siblings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from egosrag.prompts import render
from egosrag.prompts.render import Situation
from egosrag.schema import Persona, Role, Turn
from egosrag.sessions.records import Branch, Record, Swipes
from egosrag.text.language import language_of


class Greeting(NamedTuple):
    """The first turn of a conversation, and the card's other greetings as its siblings."""

    turn: Turn
    swipes: tuple[Swipes, ...]

    @property
    def record(self) -> Record:
        """A conversation of the greeting alone."""
        return Record(turns=(self.turn,), swipes=self.swipes)


def greeting_of(role: Role, persona: Persona | None, seed: str, speakers: Sequence[str] = ()) -> Greeting | None:
    """The greeting of a card with its macros filled in; None where it has none.

    Args:
        role: the card.
        persona: of the user.
        seed: of the random choices of macros.
        speakers: names of all characters of a scene.
    """
    situation = Situation(seed, others=tuple(name for name in speakers if name != role.name))
    texts: dict[str, None] = {}
    for greeting in (role.greeting, *role.alternate_greetings):
        language = role.language or language_of(greeting or "")
        card = role.model_copy(update={"greeting": greeting})
        texts[render.greeting(card, language, persona, situation)] = None
    said = [text for text in texts if text]
    if not said:
        return None
    turn, *others = (Turn(speaker=role.name, text=text) for text in said)
    branches = (Branch(), *(Branch(turns=(other,)) for other in others))
    return Greeting(turn, (Swipes(id=turn.id, at=0, branches=branches),) if others else ())
