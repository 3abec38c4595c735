"""The list of a visitor's conversations: search, rename, pin, branch, delete; export and import.

Everything checks that the visitor owns the session, see :func:`egosrag.host.conversations.role_ids`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from egosrag.errors import SessionError
from egosrag.host import cards
from egosrag.host.choices import choices_of, store_choices
from egosrag.host.conversations import is_compared, new_session, role_ids, title_of
from egosrag.host.uploads import Upload, display_names_in_errors
from egosrag.host.visitors import Visitor
from egosrag.roles.files import load_role
from egosrag.sessions.catalog import archive_of, delete_session, list_sessions, restore
from egosrag.sessions.manage import Found, branch_of, pin_session, rename_session, search_sessions
from egosrag.sessions.store import open_store
from egosrag.sessions.transfer import read_all, write
from egosrag.settings import Settings


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


def list_conversations(settings: Settings, visitor: Visitor) -> list[ConversationInfo]:
    """The visitor's conversations, the most recent first."""
    with open_store(settings.session_store) as store:
        sessions = list_sessions(store, f"{visitor.key}/")
    return [
        ConversationInfo(i.session, role_ids(visitor, i.session), i.name, i.turns, i.at, title_of(i.session), i.pinned)
        for i in sessions
        if not is_compared(i.session)
    ]


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
        return [f for f in search_sessions(store, words, f"{visitor.key}/") if not is_compared(f.session)]


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
