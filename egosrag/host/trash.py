"""Deleted conversations of a visitor, with roles or about documents, which can be brought back for a while."""

from __future__ import annotations

import json
import re
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from egosrag.errors import RoleError, SessionError
from egosrag.host import document_chats
from egosrag.host.choices import Choices, choices_of, store_choices
from egosrag.host.conversation_catalog import delete_conversation, list_conversations
from egosrag.host.conversations import role_ids
from egosrag.host.visitors import Visitor
from egosrag.roles.data import parse_json, read_bytes, write_atomically
from egosrag.sessions.archive import Archive
from egosrag.sessions.catalog import archive_of, restore
from egosrag.sessions.manage import pin_session
from egosrag.sessions.store import open_store
from egosrag.settings import Settings

KEPT = 30  # deleted conversations of one visitor; older ones are gone
KEPT_DAYS = 30
Model = TypeVar("Model", bound=BaseModel)
_ID = re.compile(r"[0-9a-f]{12}")


class Deleted(NamedTuple):
    """A deleted conversation.

    Attributes:
        id: names it in :func:`bring_back`.
        kind: "conversation" with roles, or "documents".
        name: its title, or the names of its roles or documents.
        at: when it was deleted, ISO 8601 in UTC.
    """

    id: str
    kind: str
    name: str
    at: str


def discard_conversation(settings: Settings, visitor: Visitor, session: str) -> Deleted:
    """Delete a conversation with roles so that it can be brought back.

    Raises:
        SessionError: it belongs to another visitor, or does not exist.
        RoleError: it cannot be stored among the deleted ones; nothing is deleted then.
    """
    role_ids(visitor, session)
    info = next((info for info in list_conversations(settings, visitor) if info.session == session), None)
    with open_store(settings.session_store) as store:
        archive = archive_of(store, session)
    chosen = choices_of(visitor, session)
    row = {
        "session": session,
        "archive": archive.model_dump(mode="json"),
        "choices": chosen._asdict(),
        "pinned": bool(info and info.pinned),
    }
    deleted = _put(visitor, "conversation", (info.title or info.name) if info else "", row)
    delete_conversation(settings, visitor, session)
    return deleted


def discard_chat(visitor: Visitor, chat: document_chats.DocumentChat) -> Deleted:
    """Delete a conversation about documents so that it can be brought back.

    Raises:
        RoleError: it cannot be stored among the deleted ones; nothing is deleted then.
    """
    deleted = _put(visitor, "documents", chat.label, {"chat": chat.model_dump(mode="json")})
    document_chats.delete_chat(visitor, chat.id)
    return deleted


def list_deleted(visitor: Visitor, kind: str) -> list[Deleted]:
    """The deleted conversations of a kind that can be brought back, the last deleted one first."""
    rows = [(path.stem, _read(path)) for path in (visitor.folder / "deleted").glob("*.json")]
    oldest = (datetime.now(UTC) - timedelta(days=KEPT_DAYS)).isoformat()
    found = [
        Deleted(name, kind, str(row.get("name") or ""), str(row.get("at")))
        for name, row in rows
        if row.get("kind") == kind and str(row.get("at")) >= oldest
    ]
    return sorted(found, key=lambda deleted: deleted.at, reverse=True)


def bring_back(settings: Settings, visitor: Visitor, deleted_id: str) -> str:
    """Restore a deleted conversation. Returns the name of its session, or the id of the chat about documents.

    Raises:
        SessionError: it is no longer kept, or cannot be restored.
    """
    path = visitor.folder / "deleted" / f"{deleted_id}.json"
    if not _ID.fullmatch(deleted_id) or not path.is_file():
        raise SessionError("this conversation is no longer kept: it was brought back or deleted for good")
    row = _read(path)
    if row.get("kind") == "documents":
        document_chats.save_chat(visitor, chat := _validated(document_chats.DocumentChat, row.get("chat")))
        name = chat.id
    else:
        name = str(row.get("session"))
        role_ids(visitor, name)
        with open_store(settings.session_store) as store:
            restore(store, _validated(Archive, row.get("archive")), name)
            if row.get("pinned"):
                pin_session(store, name)
        chosen = row.get("choices") or {}
        chosen["lorebooks"] = tuple(chosen.get("lorebooks") or ())
        store_choices(visitor, name, Choices(**chosen))
    path.unlink(missing_ok=True)
    return name


def forget(visitor: Visitor, deleted_id: str) -> None:
    """Delete a conversation for good."""
    if _ID.fullmatch(deleted_id):
        (visitor.folder / "deleted" / f"{deleted_id}.json").unlink(missing_ok=True)


def _validated(kind: type[Model], row: object) -> Model:
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        raise SessionError("this deleted conversation cannot be read: its file is damaged") from error


def _put(visitor: Visitor, kind: str, name: str, row: dict[str, Any]) -> Deleted:
    folder = visitor.folder / "deleted"
    folder.mkdir(parents=True, exist_ok=True)
    deleted = Deleted(uuid.uuid4().hex[:12], kind, name, datetime.now(UTC).isoformat())
    data = json.dumps({"kind": kind, "name": name, "at": deleted.at, **row}, ensure_ascii=False)
    write_atomically(folder / f"{deleted.id}.json", data.encode(), "deleted conversation")
    for old in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        with suppress(OSError):
            old.unlink()
    return deleted


def _read(path: Path) -> dict[str, Any]:
    try:
        row = parse_json(read_bytes(path, "deleted conversation"), path, "deleted conversation")
    except RoleError:
        return {}
    return dict(row) if isinstance(row, dict) else {}
