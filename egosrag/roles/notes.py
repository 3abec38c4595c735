"""Notes of a card for the end of the prompt: post-history instructions and the depth prompt.

Specifications: ``post_history_instructions`` of card V2 (it follows the whole conversation), ``depth_prompt`` of
SillyTavern (``extensions.depth_prompt``: ``prompt`` and ``depth``, so many messages from the end). They are
text of the user's message, never messages of a role of their own: a card is written by strangers.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from egosrag.roles.cards import ORIGINAL_CARD
from egosrag.schema import Role

AUTHOR_DEPTH = 4
"""Where SillyTavern places the author's note: so many messages from the end."""
_ORIGINAL = re.compile(r"\{\{original\}\}", re.IGNORECASE)


class Note(NamedTuple):
    """A note: its text, with macros, and before which message from the end it is placed; 0: behind the last one."""

    text: str
    depth: int


def notes_of(role: Role, author: str = "") -> list[Note]:
    """The notes of a card, and the author's note of a conversation, those that are further from the end first.

    Args:
        role: the card.
        author: the author's note; empty: there is none.
    """
    extra = role.model_extra or {}
    card = extra.get(ORIGINAL_CARD)
    data: Any = card.get("data", card) if isinstance(card, dict) else extra
    data = data if isinstance(data, dict) else {}
    extensions = data["extensions"] if isinstance(data.get("extensions"), dict) else {}
    depth_prompt = extensions.get("depth_prompt", data.get("depth_prompt"))
    notes = [Note(author, AUTHOR_DEPTH)]
    if isinstance(depth_prompt, dict) and isinstance(depth_prompt.get("prompt"), str):
        notes.append(Note(depth_prompt["prompt"], _depth(depth_prompt.get("depth"))))
    if isinstance(instructions := data.get("post_history_instructions"), str):
        notes.append(Note(_ORIGINAL.sub("", instructions), 0))
    return sorted((note for note in notes if note.text.strip()), key=lambda note: -note.depth)


def _depth(value: Any) -> int:
    try:
        return min(max(0, int(value)), 10_000)
    except (TypeError, ValueError, OverflowError):
        return AUTHOR_DEPTH
