"""A visitor's conversations about documents: questions and answers, stored so that a reload loses none of them."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from egosrag.errors import RoleError, SessionError
from egosrag.host.visitors import Visitor
from egosrag.roles.data import parse_json, read_bytes, write_atomically
from egosrag.schema import Answer

MAX_CHATS = 500  # of one visitor
_ID = re.compile(r"[0-9a-f]{12}")


class Exchange(BaseModel):
    """A question and its answer.

    Attributes:
        question: the visitor's question.
        answer: from the documents; None while it is not answered.
        without_document: what the model answered without them; None where the visitor did not choose to compare.
        run_id: of the LangSmith trace.
        model: the model that answered.
        at: when it was asked, ISO 8601 in UTC.
    """

    model_config = ConfigDict(frozen=True)

    question: str
    answer: Answer | None = None
    without_document: str | None = None
    run_id: str = ""
    model: str = ""
    at: str = ""


class DocumentChat(BaseModel):
    """A conversation about documents.

    Attributes:
        id: its name in the visitor's folder.
        documents: the sources of its documents.
        names: the visitor's names of these documents.
        title: the name that the visitor gave it; empty: none.
        pinned: whether it is in front of the others.
        at: time of the last question, ISO 8601 in UTC.
        exchanges: its questions, oldest first.
    """

    model_config = ConfigDict(frozen=True)

    id: str = Field(default_factory=lambda: uuid.uuid4().hex[:12])
    documents: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    title: str = ""
    pinned: bool = False
    at: str = ""
    exchanges: tuple[Exchange, ...] = ()

    @property
    def label(self) -> str:
        """Its title, else its first question."""
        return self.title or (self.exchanges[0].question if self.exchanges else "")

    @property
    def history(self) -> list[tuple[str, str]]:
        """The answered questions, as the engine takes them."""
        return [(e.question, e.answer.answer) for e in self.exchanges if e.answer]

    def asked(self, question: str) -> DocumentChat:
        """The chat with a further question, which has no answer yet. A question that has none is replaced."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        kept = tuple(exchange for exchange in self.exchanges if exchange.answer)
        return self.model_copy(update={"exchanges": (*kept, Exchange(question=question, at=at)), "at": at})

    def answered(self, answer: Answer, without_document: str | None, run_id: str, model: str) -> DocumentChat:
        """The chat with an answer to its last question."""
        update = {"answer": answer, "without_document": without_document, "run_id": run_id, "model": model}
        return self.model_copy(
            update={"exchanges": (*self.exchanges[:-1], self.exchanges[-1].model_copy(update=update))}
        )


def list_chats(visitor: Visitor, words: str = "") -> list[DocumentChat]:
    """The visitor's chats, pinned ones first, then the most recent; with ``words`` those that contain all of them."""
    chats = [chat for path in _folder(visitor).glob("*.json") if (chat := _read(path))]
    wanted = words.casefold().split()
    if wanted:
        chats = [chat for chat in chats if all(word in chat_text(chat).casefold() for word in wanted)]
    return sorted(chats, key=lambda chat: (chat.pinned, chat.at), reverse=True)


def load_chat(visitor: Visitor, chat_id: str) -> DocumentChat:
    """The chat with this id.

    Raises:
        SessionError: the visitor has no such chat, or it cannot be read.
    """
    path = _folder(visitor) / f"{chat_id}.json"
    chat = _read(path) if _ID.fullmatch(chat_id) and path.is_file() else None
    if chat is None:
        raise SessionError("there is no such conversation: choose one from the list")
    return chat


def save_chat(visitor: Visitor, chat: DocumentChat) -> None:
    """Store a chat, in place of an earlier version of it.

    Raises:
        SessionError: the visitor has too many.
        RoleError: it cannot be written.
    """
    folder = _folder(visitor)
    path = folder / f"{chat.id}.json"
    if not path.is_file() and len(list(folder.glob("*.json"))) >= MAX_CHATS:
        raise SessionError(f"you have {MAX_CHATS} conversations about documents, which is the limit: delete some first")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(chat.model_dump(mode="json"), ensure_ascii=False).encode(), "conversation")


def delete_chat(visitor: Visitor, chat_id: str) -> None:
    """Delete a chat for good."""
    if _ID.fullmatch(chat_id):
        (_folder(visitor) / f"{chat_id}.json").unlink(missing_ok=True)


def rename_chat(visitor: Visitor, chat_id: str, title: str) -> None:
    """Give a chat a title.

    Raises:
        SessionError: the title is empty, or there is no such chat.
    """
    title = " ".join(title.split())[:80]
    if not title:
        raise SessionError("the title is empty: write one")
    save_chat(visitor, load_chat(visitor, chat_id).model_copy(update={"title": title}))


def pin_chat(visitor: Visitor, chat_id: str, pinned: bool) -> None:
    """Put a chat in front of the others in the list, or no longer.

    Raises:
        SessionError: there is no such chat.
    """
    save_chat(visitor, load_chat(visitor, chat_id).model_copy(update={"pinned": pinned}))


def chat_text(chat: DocumentChat) -> str:
    """The chat to read, in Markdown: questions, answers and the pages that these cite."""
    names = dict(zip(chat.documents, chat.names, strict=False))
    lines = [f"# {chat.title or ', '.join(chat.names) or '-'}"]
    for exchange in chat.exchanges:
        lines += ["", f"**{' '.join(exchange.question.split())}**"]
        if exchange.answer:
            lines += ["", exchange.answer.answer]
            for citation in exchange.answer.citations:
                quote = " ".join(citation.quote.split())
                lines += ["", f"> {quote} ({names.get(citation.source, citation.source)}, {citation.page})"]
    return "\n".join(lines) + "\n"


def export_name(chat: DocumentChat, extension: str) -> str:
    """A file name for a chat: its title or first question, and the day of its last one."""
    name = "".join(c if c.isalnum() else "-" for c in chat.label).strip("-")[:60]
    return f"{name or 'chat'}-{chat.at[:10]}.{extension}"


def export_chat(chat: DocumentChat, extension: str) -> bytes:
    """A chat as a file: "json" (everything) or "md" (to read)."""
    if extension == "md":
        return chat_text(chat).encode()
    return json.dumps(chat.model_dump(mode="json"), ensure_ascii=False, indent=2).encode()


def _folder(visitor: Visitor) -> Path:
    return visitor.folder / "chats"


def _read(path: Path) -> DocumentChat | None:
    """A stored chat; None where the file cannot be read, which is no reason to refuse the others."""
    try:
        return DocumentChat.model_validate(parse_json(read_bytes(path, "conversation"), path, "conversation"))
    except (RoleError, ValidationError):
        return None
