"""What the model saw for one line: the prompt by its parts, each with its text and its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from egosrag.prompts import load, render
from egosrag.schema import Ledger, Reply, Scene, Turn
from egosrag.text.language import one_line

if TYPE_CHECKING:
    from egosrag.sessions.conversation import Conversation


class Part(NamedTuple):
    """One part of a prompt: its name in the :class:`Ledger`, its words, and the tokens that the prompt grew by."""

    name: str
    text: str
    tokens: int


class Memory(NamedTuple):
    """An earlier turn that was found for the line: how well it fits, and its date in words."""

    turn: Turn
    score: float
    when: str


class Seen(NamedTuple):
    """A prompt to look at: its parts, the memories and the running summary in it, and how much was not computed."""

    parts: tuple[Part, ...]
    recalled: tuple[Memory, ...]
    scenes: tuple[Scene, ...]
    ledger: Ledger

    @property
    def cached_share(self) -> float:
        """The share of the prompt's tokens that was not computed again, 0 to 1."""
        return min(1.0, self.ledger.cached / self.ledger.prompt) if self.ledger.prompt else 0.0


def seen(conversation: Conversation, reply: Reply) -> Seen | None:
    """What the model saw for ``reply``, the last one that ``conversation`` gave; None where it gave none."""
    composed = conversation.composed
    if composed is None or composed.talk is None:
        return None
    talk, quote = composed.talk, conversation.organize.quote
    language, name = talk.language, talk.role.name
    write = render.quoted if quote else render.plain
    lines = [write(turn.speaker, turn.text, language) for turn in talk.visible_turns]
    bare = load("generate" if quote else "generate_plain", language).messages(
        name=one_line(name), user=one_line(talk.user_name), card="", conversation=""
    )
    texts = {
        "template": "\n".join([*(str(message.text) for message in bare if message.text), composed.prefix]),
        "card": talk.raw or render.card(talk.role, language, talk.persona),
        "scenes": render.scene_block(talk.visible_scenes, language),
        "history": "\n".join(lines[:-1]),
        "lore": "\n".join(
            filter(
                None,
                (
                    render.lore_block(talk.lore, talk.role, language, talk.user),
                    render.source_block(talk.facts, name, language),
                ),
            )
        ),
        "recalled": render.recalled_block(
            (found.turn for found in talk.recalled), language, {found.turn.id: found.when for found in talk.recalled}
        ),
        "line": lines[-1] if lines else "",
    }
    ledger = reply.ledger
    parts = tuple(Part(part, text, getattr(ledger, part)) for part, text in texts.items())
    recalled = tuple(Memory(found.turn, found.score, found.when) for found in talk.recalled)
    return Seen(parts, recalled, talk.visible_scenes, ledger)
