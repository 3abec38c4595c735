"""The four systems of report 7.3.2 by their names, which are presets of ``egosrag``, opened as conversations.

EGOS-Small is all of EGOS on the given model; EGOS-wo-quote leaves the quotation marks out; EGOS-wo-Extract has the raw
text in place of the card; EGOS-Large is all of EGOS on a large model behind an API.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from pydantic import ValidationError

from egosrag import Settings, assemble
from egosrag.errors import SettingsError
from evals.common.models import Sampling
from evals.roleplay.cases import Subject

if TYPE_CHECKING:
    from egosrag import Conversation

SYSTEMS = ("EGOS-Small", "EGOS-wo-quote", "EGOS-wo-Extract", "EGOS-Large")
LARGE = SYSTEMS[-1]
OWN_MODEL = "preset"


@dataclass(frozen=True)
class SystemOptions:
    """Settings of ``egosrag`` that differ from a system's preset; None leaves the preset's.

    Attributes:
        model: Of all systems but EGOS-Large; ``preset``: the system's own.
        adapter: Folder of a PEFT adapter; not for EGOS-Large.
        memory: static, dynamic, both or none.
        history: Turns as a single message or multiple.
        sampling: How the model generates.
    """

    model: str = OWN_MODEL
    adapter: str | None = None
    memory: str | None = None
    history: str | None = None
    sampling: Sampling | None = None


def parse_systems(text: str) -> list[str]:
    """Parse ``--systems``: comma-separated names.

    Raises:
        SettingsError: One is unknown or given twice.
    """
    known = {name.casefold(): name for name in SYSTEMS}
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name.casefold() not in known:
            raise SettingsError(f"there is no system {name}: the systems are {', '.join(SYSTEMS)}")
    systems = [known[name.casefold()] for name in names]
    if not systems or len(set(systems)) < len(systems):
        raise SettingsError(f"--systems {text}: give at least one, and each once")
    return systems


class System:
    """One of the systems; its model is loaded when the first conversation is opened.

    Args:
        name: One of ``SYSTEMS``.
        options: What differs from its preset.

    Raises:
        SettingsError: A setting is invalid.
    """

    def __init__(self, name: str, options: SystemOptions = SystemOptions()) -> None:
        self.name = name
        values: dict[str, Any] = {"memory": options.memory, "history": options.history}
        values |= asdict(options.sampling) if options.sampling else {}
        if name != LARGE:
            values |= {"adapter": options.adapter}
            values |= {"model": options.model} if options.model != OWN_MODEL else {}
        changed = {key: value for key, value in values.items() if value is not None}
        try:
            # Not Settings.load: a result must not depend on a settings file or an environment.
            self.settings = Settings(preset=name, store=":memory:", **changed)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "setting"
            raise SettingsError(f"wrong {where} for {name}: {first['msg']}") from None

    @cached_property
    def _model(self) -> BaseChatModel:
        return assemble.chat_model(self.settings)

    @contextmanager
    def open(self, subject: Subject) -> Iterator[Conversation]:
        """A new conversation with the role, in memory only.

        Raises:
            SettingsError: The system needs the raw text behind the card, and there is none.
            ModelError: The model cannot be loaded.
        """
        file, setup = subject.file, assemble.ConversationSetup()
        if self.settings.strategy == "none":
            if subject.raw is None:
                raise SettingsError(
                    f"{self.name} reads the raw text behind {subject.file.name}: give it with --raw, or leave it out"
                )
            file, setup = None, assemble.ConversationSetup(name=subject.card.name, sources=[subject.raw])
        with assemble.conversation(self.settings, file, model=self._model, setup=setup) as conversation:
            yield conversation
