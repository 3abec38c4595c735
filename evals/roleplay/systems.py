"""The four systems of report 7.3.2 by their names, opened as conversations: the presets of ``egosrag``.

EGOS-Small is all of EGOS on the model that is given; EGOS-wo-quote leaves the quotation marks out; EGOS-wo-Extract
puts the raw text where the card stands; EGOS-Large is all of EGOS on a large model behind an API.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from egosrag import Settings, assemble
from egosrag.errors import SettingsError
from evals.roleplay.data import Subject

if TYPE_CHECKING:
    from egosrag import Conversation

SYSTEMS = ("EGOS-Small", "EGOS-wo-quote", "EGOS-wo-Extract", "EGOS-Large")
LARGE = SYSTEMS[-1]
OWN = "preset"


def systems_of(given: str) -> list[str]:
    """``--systems``: comma-separated names.

    Raises:
        SettingsError: one is unknown or given twice.
    """
    known = {name.casefold(): name for name in SYSTEMS}
    names = [name.strip() for name in given.split(",") if name.strip()]
    for name in names:
        if name.casefold() not in known:
            raise SettingsError(f"there is no system {name}: the systems are {', '.join(SYSTEMS)}")
    found = [known[name.casefold()] for name in names]
    if not found or len(set(found)) < len(found):
        raise SettingsError(f"--systems {given}: give at least one, and each once")
    return found


class System:
    """One of the systems; its model is loaded when the first conversation is opened.

    Args:
        name: one of ``SYSTEMS``.
        model: the model of all but EGOS-Large; ``preset``: the system's own.
        **settings: further settings of ``egosrag``, such as adapter, memory, temperature or max_new_tokens.

    Raises:
        SettingsError: a setting is wrong.
    """

    def __init__(self, name: str, model: str, **settings: Any) -> None:
        self.name = name
        if name == LARGE:
            settings.pop("adapter", None)
        chosen = settings if model == OWN or name == LARGE else {"model": model, **settings}
        # Not Settings.load: a result must not depend on a file or an environment that nobody sees in it.
        self.settings = Settings(preset=name, store=":memory:", **{k: v for k, v in chosen.items() if v is not None})
        self._loaded: Any = None

    @contextmanager
    def open(self, subject: Subject) -> Iterator[Conversation]:
        """A new conversation with the subject, kept nowhere.

        Raises:
            SettingsError: the system needs the raw text behind the card, and there is none.
            ModelError: the model cannot be loaded.
        """
        file, setup = subject.file, assemble.ConversationSetup()
        if self.settings.strategy == "none":
            if subject.raw is None:
                raise SettingsError(
                    f"{self.name} reads the raw text behind {subject.file.name}: give it with --raw, or leave it out"
                )
            file, setup = None, assemble.ConversationSetup(name=subject.card.name, sources=[subject.raw])
        if self._loaded is None:
            self._loaded = assemble.chat_model(self.settings)
        with assemble.conversation(self.settings, file, model=self._loaded, setup=setup) as talk:
            yield talk
