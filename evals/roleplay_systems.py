"""The four systems of report 7.3.2, opened as conversations.

EGOS-Small is all of EGOS on the model that is given; EGOS-wo-quote leaves the quotation marks out; EGOS-wo-Extract
puts the raw text where the card stands; EGOS-Large is all of EGOS on a large model behind an API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from egosrag import Conversation, load_chat_model
from egosrag.errors import SettingsError, WindowError
from egosrag.schema import Role
from evals.roleplay_data import Subject

SMALL, WO_QUOTE, WO_EXTRACT, LARGE = "EGOS-Small", "EGOS-wo-quote", "EGOS-wo-Extract", "EGOS-Large"
SYSTEMS = (SMALL, WO_QUOTE, WO_EXTRACT, LARGE)
LARGE_MODEL = "deepseek:deepseek-chat"


def systems_of(given: str) -> list[str]:
    """``--systems``: comma-separated names.

    Raises:
        SettingsError: one is unknown or given twice.
    """
    names = [name.strip() for name in given.split(",") if name.strip()]
    known = {name.lower(): name for name in SYSTEMS}
    for name in names:
        if name.lower() not in known:
            raise SettingsError(f"there is no system {name}: the systems are {', '.join(SYSTEMS)}")
    found = [known[name.lower()] for name in names]
    if not found or len(set(found)) < len(found):
        raise SettingsError(f"--systems {given}: give at least one, and each once")
    return found


class System:
    """One of the systems; its model is loaded when the first conversation is opened.

    Args:
        name: one of ``SYSTEMS``.
        model: the model of all but EGOS-Large.
        adapter: its adapter.
        **sampling: settings of ``load_chat_model``.
    """

    def __init__(self, name: str, model: str, adapter: str | None = None, **sampling: Any) -> None:
        self.name = name
        self.model = LARGE_MODEL if name == LARGE else model
        self.adapter = None if name == LARGE else adapter
        self.sampling = sampling
        self._loaded: Any = None

    def open(self, subject: Subject, lines: Sequence[str]) -> Conversation:
        """A new conversation with the subject.

        Args:
            subject: who is played.
            lines: what will be said; raw text in a card's place is cut so that the longest of them still fits.

        Raises:
            ModelError: the model cannot be loaded.
            WindowError: the card does not fit the model's window.
        """
        if self._loaded is None:
            adapter = {"adapter": self.adapter} if self.adapter else {}
            self._loaded = load_chat_model(self.model, **adapter, **self.sampling)
        if self.name != WO_EXTRACT:
            return Conversation(self._loaded, subject.card, quote=self.name != WO_QUOTE)
        text = " ".join(subject.raw.split())
        while True:
            # Room is left for a conversation: a card of raw text may take two thirds of the window.
            talk = Conversation(self._loaded, self._raw(subject.card, text))
            try:
                if talk.organize.size(talk.organize.compose(talk.talk)) <= talk.organize.window * 2 // 3:
                    return talk
            except WindowError:
                pass
            text = text[: len(text) * 3 // 4]

    @staticmethod
    def _raw(card: Role, text: str) -> Role:
        return Role.model_validate({"name": card.name, "language": card.language, "background": [text]})
