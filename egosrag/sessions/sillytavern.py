"""SillyTavern chat files (JSONL): a header line with the names, then one line per message, with its swipes.

Format: SillyTavern/SillyTavern, public/script.js (``saveChat``, ``getChatResult``): ``user_name``, ``character_name``,
``create_date``, ``chat_metadata``; then ``name``, ``is_user``, ``is_system``, ``send_date``, ``mes``, ``swipes``,
``swipe_id``, ``extra``. The id and the status of a turn, which the format does not have, are in ``extra.egosrag``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from egosrag.errors import SessionError
from egosrag.schema import Role, Turn
from egosrag.sessions.archive import Archive, problems
from egosrag.sessions.records import Branch, Swipes
from egosrag.text.encoding import is_text

_DATES = ("%B %d, %Y %I:%M%p", "%Y-%m-%d@%Hh%Mm%Ss", "%Y-%m-%d @%Hh %Mm %Ss %fms")


class _Extra(BaseModel):
    """Our own fields of a message, ``extra.egosrag``."""

    model_config = ConfigDict(extra="ignore")

    id: StrictStr = ""
    status: str = "complete"


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: StrictStr = Field(min_length=1)
    mes: StrictStr
    is_user: StrictBool = False
    is_system: StrictBool = False
    send_date: StrictStr | StrictInt = ""
    swipes: list[StrictStr] = []
    swipe_id: StrictInt = 0
    extra: dict[str, Any] = {}
    line: int = 0

    @property
    def ours(self) -> _Extra:
        try:
            return _Extra.model_validate(self.extra.get("egosrag") or {})
        except ValidationError:
            return _Extra()


def to_jsonl(archive: Archive) -> str:
    """The conversation as a SillyTavern chat; a sibling of a reply keeps its text, not the turns that followed it."""
    names = [role.name for role in archive.roles]
    user = archive.user or next((turn.speaker for turn in archive.turns if turn.speaker not in names), "User")
    created = archive.turns[0].at if archive.turns else ""
    header = {"user_name": user, "character_name": names[0], "create_date": created, "chat_metadata": {}}
    lines: list[dict[str, Any]] = [header]
    for turn in archive.turns:
        message: dict[str, Any] = {
            "name": turn.speaker,
            "is_user": turn.speaker not in names,
            "is_system": False,
            "send_date": turn.at,
            "mes": turn.text,
            "extra": {"egosrag": {"id": turn.id, "status": turn.status}},
        }
        texts = archive.record.texts(turn.id)
        if len(texts) > 1:
            message |= {"swipes": texts, "swipe_id": archive.record.siblings(turn.id).at}
        lines.append(message)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def from_jsonl(text: str, name: str) -> Archive:
    """Reads a SillyTavern chat, without the messages that are hidden from the model (``is_system``).

    Args:
        text: the file's text.
        name: the file's name for error messages.

    Raises:
        SessionError: the text is not such a chat; the message names the line.
    """
    rows = [(n, _object(line, f"{name}, line {n}")) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not rows or "mes" in rows[0][1] or not {"user_name", "character_name", "chat_metadata"} & set(rows[0][1]):
        raise SessionError(f'{name}, line 1: there is no "user_name": give a chat that SillyTavern exported as JSONL')
    header = rows[0][1]
    messages = [_message(row, f"{name}, line {n}", n) for n, row in rows[1:]]
    messages = [message for message in messages if not message.is_system]
    character = header.get("character_name")
    in_header = [character] if isinstance(character, str) else []
    speakers = [message.name for message in messages if not message.is_user]
    roles = list(dict.fromkeys(name.strip() for name in speakers or in_header if name.strip()))
    if not roles:
        raise SessionError(f"{name}, line 1: neither the first line nor a message names a character: export it again")
    user = next((m.name.strip() for m in messages if m.is_user), "")
    archive = _archive(messages, roles, user)
    for path, problem in problems(archive):
        number = path[1] if path[0] == "turns" else archive.record.index(archive.swipes[int(path[1])].id)
        raise SessionError(f"{name}, line {messages[int(number)].line}: {problem}; fix it")
    return archive


def _archive(messages: Sequence[_Message], roles: Sequence[str], user: str) -> Archive:
    turns: list[Turn] = []
    swipes: list[Swipes] = []
    seen: set[str] = set()
    for message in messages:
        ours = message.ours
        fields: dict[str, Any] = {"status": "interrupted"} if ours.status == "interrupted" else {}
        if ours.id and ours.id not in seen:
            fields["id"] = ours.id
        turn = Turn(speaker=message.name.strip(), text=message.mes.strip(), at=_iso_time(message.send_date), **fields)
        seen.add(turn.id)
        turns.append(turn)
        at = message.swipe_id
        if not message.is_user and len(message.swipes) > 1 and 0 <= at < len(message.swipes):
            branches = [
                Branch() if n == at else Branch(turns=(Turn(speaker=turn.speaker, text=text.strip(), at=turn.at),))
                for n, text in enumerate(message.swipes)
            ]
            swipes.append(Swipes(id=turn.id, at=at, branches=tuple(branches)))
    cards = tuple(Role(name=name) for name in roles)
    return Archive(user=user, roles=cards, turns=tuple(turns), swipes=tuple(swipes))


def _iso_time(date: str | int) -> str:
    """A ``send_date``, in any format that versions of SillyTavern write, as a turn's ``at``; empty if unreadable."""
    text = str(date).strip()
    try:
        if text.isdecimal():  # milliseconds
            return datetime.fromtimestamp(int(text) / 1000, UTC).isoformat(timespec="seconds")
        if "T" in text and datetime.fromisoformat(text):
            return text
    except (ValueError, OverflowError, OSError):
        return ""
    for date_format in _DATES:
        try:
            return datetime.strptime(text, date_format).replace(tzinfo=UTC).isoformat(timespec="seconds")
        except ValueError:
            continue
    return ""


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SessionError(f"{where}: this is not JSON ({error}); export the chat again") from error
    if not isinstance(row, dict):
        raise SessionError(f"{where}: this is not a JSON object: export the chat again")
    if not is_text(row):
        raise SessionError(
            f"{where}: half of a character (a lone \\ud800 to \\udfff): fix it, or export the chat again"
        )
    return cast("dict[str, Any]", row)


def _message(row: dict[str, Any], where: str, line: int) -> _Message:
    try:
        return _Message.model_validate({**row, "line": line})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise SessionError(f"{where}: {field}: {first['msg']}; fix it, or export the chat again") from error
