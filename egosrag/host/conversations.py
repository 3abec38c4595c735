"""A visitor's conversations: listed, read, continued, exported and deleted; those of others are not accessible.

The name of a session is ``<visitor key>/<role ids joined by +>/<random>``, so that it states its owner.
"""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from egosrag import assemble
from egosrag.egos.view import ConversationView, PromptPart, RecalledTurn
from egosrag.errors import SessionError
from egosrag.host import cards
from egosrag.host.choices import choices_of, store_choices
from egosrag.host.lorebooks import list_lorebooks
from egosrag.host.personas import chosen_persona
from egosrag.host.uploads import Upload, display_names_in_errors
from egosrag.host.visitors import Visitor
from egosrag.limits import SCENE_ROLES
from egosrag.roles.files import load_role
from egosrag.schema import Ledger, LoreEntry, Persona, Reply, Role, Scene, Turn
from egosrag.sessions.catalog import archive_of, delete_session, list_sessions, restore
from egosrag.sessions.greetings import greeting_of
from egosrag.sessions.manage import Found, branch_of, pin_session, rename_session, search_sessions
from egosrag.sessions.records import Record
from egosrag.sessions.store import open_store
from egosrag.sessions.transfer import read_all, write
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.sessions.conversation import Conversation

__all__ = [
    "SCENE_ROLES",
    "ConversationInfo",
    "PromptView",
    "Transcript",
    "Turn",
    "branch_conversation",
    "choices_of",
    "choose_lorebooks",
    "choose_note",
    "choose_persona",
    "delete_conversation",
    "export_conversation",
    "export_name",
    "import_conversation",
    "list_conversations",
    "load_transcript",
    "new_session",
    "note_model",
    "open_conversation",
    "pin_conversation",
    "prompt_view",
    "rename_conversation",
    "role_ids",
    "search_conversations",
    "title_of",
]

_COMPARED = re.compile(r"compare-[0-9a-f]{8}")  # the end of the name of one side of a comparison
_UNNAMED = re.compile(r"(compare-)?[0-9a-f]{8}")  # the end of the name of a session without a title


class ConversationInfo(NamedTuple):
    """An entry in the list of conversations.

    Attributes:
        session: name of the session.
        roles: ids of its roles.
        name: names of its roles.
        turns: number of turns.
        at: time of the last turn, ISO 8601 in UTC.
        title: the name that the visitor gave it; empty: none.
        pinned: whether it is in front of the others.
    """

    session: str
    roles: tuple[str, ...]
    name: str
    turns: int
    at: str
    title: str = ""
    pinned: bool = False


class Transcript(NamedTuple):
    """A conversation to read, without a model.

    Attributes:
        session: name of the session.
        names: the names of its roles.
        record: the stored turns, scenes and alternative replies.
        greetings: what a role may say first, while nothing is stored; the first one is shown.
        persona: who talks with the roles.
        note: the author's note.
    """

    session: str
    names: tuple[str, ...]
    record: Record
    greetings: tuple[Turn, ...] = ()
    persona: Persona | None = None
    note: str = ""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns to show: the stored ones, or a greeting alone."""
        return self.record.turns or self.greetings[:1]

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The running summary; where scenes summarize the same turns, the latest one."""
        return ConversationView(role=Role(name="-"), turns=self.record.turns, scenes=self.record.scenes).visible_scenes

    @property
    def unanswered(self) -> Turn | None:
        """The visitor's last line, where no role replied to it."""
        last = self.turns[-1] if self.turns else None
        return last if last and last.speaker not in self.names else None

    @property
    def started(self) -> bool:
        """Whether any turn is stored; a greeting is stored with the first message."""
        return bool(self.record.turns)

    def before(self, turn_id: str | None) -> tuple[Turn, ...]:
        """The turns that a page shows before one; all of them for None."""
        return self.turns if turn_id is None else self.turns[: self.record.index(turn_id)]

    def siblings(self, turn_id: str) -> tuple[int, int]:
        """The index of a reply among its alternatives, from 0, and their number."""
        if not self.started:
            return 0, len(self.greetings)
        swipes = self.record.siblings(turn_id)
        return swipes.at, len(swipes.branches)


class PromptView(NamedTuple):
    """What the model saw for a reply.

    Attributes:
        parts: sections of the prompt, each with its name, text and tokens.
        recalled: old turns that were retrieved for the message.
        scenes: the running summary in the prompt.
        ledger: tokens of the reply.
        lore: the lorebook entries that the message activated.
        turn_id: id of the turn with the reply.
        first_token_s: seconds until its first text.
        tokens_per_second: of the reply after its first text; 0: not measured.
    """

    parts: tuple[PromptPart, ...]
    recalled: tuple[RecalledTurn, ...]
    scenes: tuple[Scene, ...]
    ledger: Ledger
    lore: tuple[LoreEntry, ...] = ()
    turn_id: str = ""
    first_token_s: float = 0.0
    tokens_per_second: float = 0.0

    @property
    def cached_share(self) -> float:
        """The share of the prompt's tokens that was read from the cache, 0 to 1."""
        return min(1.0, self.ledger.cached / self.ledger.prompt) if self.ledger.prompt else 0.0


def new_session(visitor: Visitor, roles: Sequence[str], *, compared: bool = False) -> str:
    """A unique name for a new session.

    Args:
        visitor: the owner.
        roles: ids of the roles.
        compared: it is one side of a comparison, which is in no list of conversations.

    Raises:
        SessionError: there are no roles, or too many.
    """
    if not 1 <= len(roles) <= SCENE_ROLES:
        raise SessionError(f"a conversation needs one role to {SCENE_ROLES}: choose that many")
    return f"{visitor.key}/{'+'.join(roles)}/{'compare-' if compared else ''}{uuid.uuid4().hex[:8]}"


def role_ids(visitor: Visitor, session: str) -> tuple[str, ...]:
    """The ids of a session's roles, from its name. Every access to a session checks its owner here.

    Raises:
        SessionError: the session belongs to another visitor.
    """
    key, _, rest = session.partition("/")
    if key != visitor.key or not rest:
        raise SessionError("there is no such conversation: choose one from the list")
    return tuple(rest.rpartition("/")[0].split("+"))


def list_conversations(settings: Settings, visitor: Visitor) -> list[ConversationInfo]:
    """The visitor's conversations, the most recent first."""
    with open_store(settings.session_store) as store:
        sessions = list_sessions(store, f"{visitor.key}/")
    return [
        ConversationInfo(i.session, role_ids(visitor, i.session), i.name, i.turns, i.at, title_of(i.session), i.pinned)
        for i in sessions
        if not _is_compared(i.session)
    ]


def load_transcript(settings: Settings, visitor: Visitor, session: str) -> Transcript:
    """Read a conversation.

    Raises:
        SessionError: the session belongs to another visitor, or the store cannot be read.
        RoleError: the session has no turns, and one of its roles no longer exists.
    """
    ids = role_ids(visitor, session)
    chosen = choices_of(visitor, session)
    with open_store(settings.session_store) as store:
        if store.get_tuple({"configurable": {"thread_id": session}}) is not None:
            archive = archive_of(store, session)
            persona = chosen_persona(visitor, chosen.persona, archive.persona)
            names = tuple(role.name for role in archive.roles)
            note = archive.note if chosen.note is None else chosen.note
            return Transcript(session, names, archive.record, persona=persona, note=note)
    roles = [load_role(cards.find(visitor, role).path) for role in ids]
    persona = chosen_persona(visitor, chosen.persona, None)
    greeting = next(filter(None, (greeting_of(role, persona, session) for role in roles)), None)
    said = greeting.record.texts(greeting.turn.id) if greeting else []
    speaker = greeting.turn.speaker if greeting else ""
    # The ids stay the same when a page is run again, which identifies its widgets by them.
    greetings = (Turn(speaker=speaker, text=text, id=f"greeting {number}") for number, text in enumerate(said))
    names = tuple(role.name for role in roles)
    return Transcript(session, names, Record(), tuple(greetings), persona, chosen.note or "")


@contextmanager
def open_conversation(
    settings: Settings, visitor: Visitor, session: str, model: BaseChatModel
) -> Iterator[Conversation]:
    """Open the conversation of a session, with the persona and the lorebooks that were chosen for it.

    Where its only role was extracted from texts, the strategy of the settings decides how these are used: "none" puts
    the texts into the prompt in place of the card, "dynamic" searches them at each message, "static" ignores them.

    Raises:
        SessionError: the session belongs to another visitor.
        RoleError, ModelError, StoreError: see :func:`egosrag.assemble.conversation`.
    """
    chosen = choices_of(visitor, session)
    lore = [book.path for book in list_lorebooks(visitor) if book.id in chosen.lorebooks]
    first, *others = (cards.find(visitor, role) for role in role_ids(visitor, session))
    strategy = settings.strategy if first.sources and not others else None
    settings = settings.model_copy(update={"strategy": strategy})
    if strategy == "none":
        card, setup = None, assemble.ConversationSetup(sources=first.sources, name=first.name)
    elif strategy == "dynamic":
        card, setup = first.path, assemble.ConversationSetup(sources=first.sources)
    else:
        card, setup = first.path, assemble.ConversationSetup(others=[role.path for role in others])
    setup = replace(setup, lore=lore)
    with assemble.conversation(settings, card, session, model, setup=setup) as conversation:
        persona = chosen_persona(visitor, chosen.persona, conversation.persona)
        if persona != conversation.persona:
            conversation.set_persona(persona)
        if chosen.note is not None and chosen.note != conversation.note:
            conversation.set_note(chosen.note)
        yield conversation


def prompt_view(conversation: Conversation, reply: Reply) -> PromptView | None:
    """The prompt of ``reply``, the last one of ``conversation``; None before its first since it was opened."""
    composed = conversation.composed
    if composed is None:
        return None
    view = composed.view
    turn_id = conversation.record.turns[-1].id
    first = reply.timing.first_token_s or 0.0
    writing = reply.timing.total_s - first
    speed = (reply.usage.completion_tokens - 1) / writing if writing > 0 and reply.usage.completion_tokens > 1 else 0.0
    return PromptView(
        composed.sections, view.recalled, view.visible_scenes, reply.ledger, view.lore, turn_id, first, speed
    )


def choose_persona(visitor: Visitor, session: str, name: str) -> None:
    """Choose who talks in a conversation from now on: a saved persona by name; empty: none.

    Raises:
        SessionError: the conversation belongs to another visitor.
        RoleError: the choice cannot be stored.
    """
    role_ids(visitor, session)
    store_choices(visitor, session, choices_of(visitor, session)._replace(persona=name))


def note_model(visitor: Visitor, session: str, model: str) -> None:
    """Store the name of the model that wrote the last reply of a conversation.

    Raises:
        SessionError: the conversation belongs to another visitor.
        RoleError: the name cannot be stored.
    """
    role_ids(visitor, session)
    store_choices(visitor, session, choices_of(visitor, session)._replace(model=model))


def choose_note(visitor: Visitor, session: str, note: str) -> None:
    """Set the author's note of a conversation; empty: none.

    Raises:
        SessionError: the conversation belongs to another visitor.
        RoleError: the note cannot be stored.
    """
    role_ids(visitor, session)
    store_choices(visitor, session, choices_of(visitor, session)._replace(note=note.strip()[:4000]))


def choose_lorebooks(visitor: Visitor, session: str, lorebooks: Sequence[str]) -> None:
    """Choose the lorebooks of a conversation by their ids.

    Raises:
        SessionError: the conversation belongs to another visitor.
        RoleError: the choice cannot be stored.
    """
    role_ids(visitor, session)
    store_choices(visitor, session, choices_of(visitor, session)._replace(lorebooks=tuple(lorebooks)))


def export_name(info: ConversationInfo, extension: str) -> str:
    """A file name for a conversation: its title or its roles, and the day of its last line."""
    name = "".join(c if c.isalnum() else "-" for c in info.title or info.name).strip("-")[:60]
    return f"{name or 'conversation'}-{info.at[:10] or 'new'}.{extension}"


def export_conversation(settings: Settings, visitor: Visitor, session: str, extension: str) -> bytes:
    """A conversation as a file: "json" (everything), "jsonl" (SillyTavern's format) or "md" (to read).

    Raises:
        SessionError: the session belongs to another visitor, or has no turns.
    """
    ids = role_ids(visitor, session)
    with open_store(settings.session_store) as store, tempfile.TemporaryDirectory(prefix="egosrag-") as folder:
        archive = archive_of(store, session, [load_role(cards.find(visitor, role).path) for role in ids])
        path = Path(folder) / f"conversation.{extension}"
        write(archive.model_copy(update={"session": archive.session.rpartition("/")[2]}), path)
        return path.read_bytes()


def import_conversation(settings: Settings, visitor: Visitor, upload: Upload) -> str:
    """Store uploaded conversations, and their cards as roles of the visitor. Returns the name of the first session.

    Raises:
        SessionError, RoleError: the file is no conversation, or its cards cannot be stored.
    """
    with display_names_in_errors(upload):
        archives = read_all(upload.path)
    sessions: list[str] = []
    with open_store(settings.session_store) as store:
        ids: dict[str, str] = {}  # the same character of several conversations is one role
        for archive in archives:
            for role in archive.roles:
                ids.setdefault(role.model_dump_json(), "")
                ids[role.model_dump_json()] = ids[role.model_dump_json()] or cards.add(visitor, role).id
            sessions.append(new_session(visitor, [ids[role.model_dump_json()] for role in archive.roles]))
            restore(store, archive, sessions[-1])
    return sessions[0]


def _is_compared(session: str) -> bool:
    return bool(_COMPARED.fullmatch(session.rpartition("/")[2]))


def title_of(session: str) -> str:
    """The name that a visitor gave a session; empty where it has none."""
    name = session.rpartition("/")[2]
    return "" if _UNNAMED.fullmatch(name) else name


def rename_conversation(settings: Settings, visitor: Visitor, session: str, title: str) -> str:
    """Give a conversation a title. Returns the new name of its session.

    Raises:
        SessionError: the title is empty or taken, or the conversation is empty or belongs to another visitor.
    """
    role_ids(visitor, session)
    title = " ".join(title.replace("/", " ").split())[:80]
    if not title:
        raise SessionError("the title is empty: write one")
    name = f"{session.rpartition('/')[0]}/{title}"
    with open_store(settings.session_store) as store:
        rename_session(store, session, name)
    store_choices(visitor, name, choices_of(visitor, session))
    store_choices(visitor, session, None)
    return name


def pin_conversation(settings: Settings, visitor: Visitor, session: str, pinned: bool = True) -> None:
    """Put a conversation in front of the others in the list, or no longer.

    Raises:
        SessionError: it belongs to another visitor, or does not exist.
    """
    role_ids(visitor, session)
    with open_store(settings.session_store) as store:
        pin_session(store, session, pinned)


def search_conversations(settings: Settings, visitor: Visitor, words: str) -> list[Found]:
    """The turns of the visitor's conversations that contain all of the words.

    Raises:
        SessionError: there are no words.
    """
    with open_store(settings.session_store) as store:
        return [f for f in search_sessions(store, words, f"{visitor.key}/") if not _is_compared(f.session)]


def branch_conversation(settings: Settings, visitor: Visitor, session: str, turn_id: str | None = None) -> str:
    """Store a conversation up to a turn as another one. Returns the name of the new session.

    Raises:
        SessionError: it belongs to another visitor, is empty, or has no such turn.
    """
    name = new_session(visitor, role_ids(visitor, session))
    with open_store(settings.session_store) as store:
        restore(store, branch_of(archive_of(store, session), turn_id), name)
    store_choices(visitor, name, choices_of(visitor, session))
    return name


def delete_conversation(settings: Settings, visitor: Visitor, session: str) -> None:
    """Delete a conversation; this cannot be undone.

    Raises:
        SessionError: it belongs to another visitor, or does not exist.
    """
    role_ids(visitor, session)
    with open_store(settings.session_store) as store:
        delete_session(store, session)
    store_choices(visitor, session, None)
