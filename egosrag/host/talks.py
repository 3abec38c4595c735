"""A visitor's conversations: listed, opened, taken out and thrown away; those of others are not there for him."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from egosrag import assemble
from egosrag.egos.view import ConversationView, PromptPart, RecalledTurn
from egosrag.errors import SessionError
from egosrag.host import cards
from egosrag.host.uploads import Upload, called
from egosrag.host.visitors import Visitor
from egosrag.limits import SCENE_ROLES
from egosrag.prompts.render import greeting
from egosrag.roles.files import load_role
from egosrag.schema import Ledger, Reply, Role, Scene, Turn
from egosrag.sessions.catalog import archive_of, delete_session, list_sessions, restore
from egosrag.sessions.records import Record
from egosrag.sessions.store import open_store
from egosrag.sessions.transfer import read, write
from egosrag.settings import Settings
from egosrag.text.language import language_of

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.sessions.conversation import Conversation

__all__ = [
    "Past", "Reply", "Seen", "TalkInfo", "Turn", "delete", "exported", "imported", "new_session", "opened", "past_of",
    "roles_of", "seen", "talks",
]  # fmt: skip


class Seen(NamedTuple):
    """The prompt of one reply to look at: its sections, the recalled turns and the scenes in it, and its ledger."""

    parts: tuple[PromptPart, ...]
    recalled: tuple[RecalledTurn, ...]
    scenes: tuple[Scene, ...]
    ledger: Ledger

    @property
    def cached_share(self) -> float:
        """The share of the prompt's tokens that was read from the cache, 0 to 1."""
        return min(1.0, self.ledger.cached / self.ledger.prompt) if self.ledger.prompt else 0.0


def seen(conversation: Conversation, reply: Reply) -> Seen | None:
    """The prompt of ``reply``, the last one of ``conversation``; None before its first."""
    composed = conversation.composed
    if composed is None:
        return None
    return Seen(composed.sections, composed.view.recalled, composed.view.visible_scenes, reply.ledger)


class TalkInfo(NamedTuple):
    """One of a visitor's conversations: ``roles`` are the ids of those it is with, ``name`` what they are called."""

    session: str
    roles: tuple[str, ...]
    name: str
    turns: int
    at: str


def new_session(visitor: Visitor, roles: Sequence[str]) -> str:
    """The name of a new session with these roles, which nobody else's can be.

    Raises:
        SessionError: there are no roles, or too many.
    """
    if not 1 <= len(roles) <= SCENE_ROLES:
        raise SessionError(f"a scene has one role to {SCENE_ROLES}: choose some of them")
    return f"{visitor.key}/{'+'.join(roles)}/{uuid.uuid4().hex[:8]}"


def talks(settings: Settings, visitor: Visitor) -> list[TalkInfo]:
    """The visitor's conversations, the one that was spoken in last first."""
    with open_store(settings.session_store) as store:
        found = list_sessions(store, f"{visitor.key}/")
    return [TalkInfo(i.session, roles_of(visitor, i.session), i.name, i.turns, i.at) for i in found]


def roles_of(visitor: Visitor, session: str) -> tuple[str, ...]:
    """The ids of the roles that a session is with.

    Raises:
        SessionError: the session is not the visitor's.
    """
    key, _, rest = session.partition("/")
    if key != visitor.key or not rest:
        raise SessionError("this conversation is not there: choose one of the list")
    return tuple(rest.rpartition("/")[0].split("+"))


class Past(NamedTuple):
    """What was said in a session, to look at without a model; before the first line, what its role greets with."""

    session: str
    names: tuple[str, ...]
    record: Record
    greeting: Turn | None = None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What is shown: the record, or the greeting alone."""
        return self.record.turns or ((self.greeting,) if self.greeting else ())

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The running summary, its latest words for the same turns."""
        return ConversationView(role=Role(name="-"), turns=self.record.turns, scenes=self.record.scenes).visible_scenes

    @property
    def begun(self) -> bool:
        """Whether anything is in the record: a greeting is not, before it was answered."""
        return bool(self.record.turns)

    def before(self, turn_id: str | None) -> tuple[Turn, ...]:
        """The turns up to one; all of them for None."""
        return self.turns if turn_id is None else self.turns[: self.record.index(turn_id)]

    def siblings(self, turn_id: str) -> tuple[int, int]:
        """Which of the replies in one place is shown, from 0, and how many there are."""
        found = self.record.siblings(turn_id)
        return found.at, len(found.branches)


def past_of(settings: Settings, visitor: Visitor, session: str) -> Past:
    """What was said in a session.

    Raises:
        SessionError: the session is not the visitor's, or the store cannot be read.
        RoleError: nothing was said in it, and one of its roles is not there any more.
    """
    ids = roles_of(visitor, session)
    with open_store(settings.session_store) as store:
        if store.get_tuple({"configurable": {"thread_id": session}}) is not None:
            archive = archive_of(store, session)
            return Past(session, tuple(role.name for role in archive.roles), archive.record)
    roles = [load_role(cards.find(visitor, role).path) for role in ids]
    first = next((role for role in roles if role.greeting), None)
    text = greeting(first, first.language or language_of(first.greeting or "")) if first else ""
    said = Turn(speaker=first.name, text=text) if first and text else None
    return Past(session, tuple(role.name for role in roles), Record(), said)


@contextmanager
def opened(settings: Settings, visitor: Visitor, session: str, model: BaseChatModel) -> Iterator[Conversation]:
    """The conversation of a session; where its role was made of texts, the settings' strategy says how they count.

    Raises:
        SessionError: the session is not the visitor's.
        RoleError, ModelError, StoreError: see :func:`egosrag.assemble.conversation`.
    """
    first, *others = (cards.find(visitor, role) for role in roles_of(visitor, session))
    strategy = settings.strategy if first.sources and not others else None
    chosen = settings.model_copy(update={"strategy": strategy})
    rest = [kept.path for kept in others]
    if strategy == "none":
        setup = assemble.ConversationSetup(sources=first.sources, name=first.name)
        opening = assemble.conversation(chosen, None, session, model, setup=setup)
    elif strategy == "dynamic":
        setup = assemble.ConversationSetup(sources=first.sources)
        opening = assemble.conversation(chosen, first.path, session, model, setup=setup)
    else:
        setup = assemble.ConversationSetup(others=rest)
        opening = assemble.conversation(chosen, first.path, session, model, setup=setup)
    with opening as conversation:
        yield conversation


def exported(settings: Settings, visitor: Visitor, session: str, ending: str) -> bytes:
    """A conversation as a file: "json", all of it; "jsonl", for SillyTavern; "md", to read.

    Raises:
        SessionError: the session is not the visitor's, or nothing was said in it.
    """
    ids = roles_of(visitor, session)
    with open_store(settings.session_store) as store, tempfile.TemporaryDirectory(prefix="egosrag-") as folder:
        archive = archive_of(store, session, [load_role(cards.find(visitor, role).path) for role in ids])
        path = Path(folder) / f"conversation.{ending}"
        write(archive.model_copy(update={"session": archive.session.rpartition("/")[2]}), path)
        return path.read_bytes()


def imported(settings: Settings, visitor: Visitor, upload: Upload) -> str:
    """Takes a conversation from a file in, with its cards as roles of the visitor; gives the new session's name.

    Raises:
        SessionError, RoleError: the file is no conversation, or its cards cannot be kept.
    """
    with called(upload):
        archive = read(upload.path)
    session = new_session(visitor, [cards.keep(visitor, role).id for role in archive.roles])
    with open_store(settings.session_store) as store:
        restore(store, archive, session)
    return session


def delete(settings: Settings, visitor: Visitor, session: str) -> None:
    """Deletes a conversation; this cannot be taken back.

    Raises:
        SessionError: it is not the visitor's, or not there.
    """
    roles_of(visitor, session)
    with open_store(settings.session_store) as store:
        delete_session(store, session)
