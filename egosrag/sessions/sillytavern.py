"""SillyTavern chat files (JSONL): a header line with the names, then one line per message, with its swipes.

Format: SillyTavern/SillyTavern, public/script.js (``saveChat``, ``getChatResult``): ``user_name``, ``character_name``,
``create_date``, ``chat_metadata``; then ``name``, ``is_user``, ``is_system``, ``send_date``, ``mes``, ``swipes``,
``swipe_id``, ``swipe_info``, ``extra``. The id and the status of a turn, which the format does not have, are in
``extra.egosrag``.

Reading is lenient, as SillyTavern's own: a line that cannot be read is left out and named; null is absent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from egosrag.errors import SessionError
from egosrag.sessions.archive import Archive
from egosrag.sessions.chat_lines import ChatLine, clean, conversation

_NO_NAMES = ("", "unused", "None", "null")  # in the headers of group chats
_DECODER = json.JSONDecoder(strict=False)
_MESSAGE = re.compile(r'\{"(?:name|user_name|is_user|chat_metadata)":')  # the beginning of a line
_GAP = re.compile(r"[\0 \t\r]*")
_MAX_BROKEN = 1000  # messages that are broken off in one line; what is behind them is left out
_NARRATORS = ("Narrator", "System")  # speakers of lines that nobody says
Notify = Callable[[str], None]


def to_jsonl(archive: Archive) -> str:
    """The conversation as a SillyTavern chat; a sibling of a reply keeps its text, not the turns that followed it."""
    names = [role.name for role in archive.roles]
    user = archive.user or next((turn.speaker for turn in archive.turns if turn.speaker not in names), "User")
    dates = _dates(archive)
    metadata = {"note_prompt": archive.note, "note_interval": 1, "note_position": 1, "note_depth": 4}
    header = {
        "user_name": user,
        "character_name": names[0],
        "create_date": dates[0] if dates else "",
        "chat_metadata": metadata if archive.note else {},
    }
    lines: list[dict[str, Any]] = [header]
    for turn, date in zip(archive.turns, dates, strict=True):
        narrated = turn.speaker in _NARRATORS and turn.speaker not in (*names, user)
        extra: dict[str, Any] = {"type": "narrator"} if narrated else {}
        message: dict[str, Any] = {
            "name": turn.speaker,
            "is_user": turn.speaker not in names and not narrated,
            "is_system": False,
            "send_date": date,
            "mes": turn.text,
            "extra": extra | {"egosrag": {"id": turn.id, "status": turn.status}},
        }
        texts = archive.record.texts(turn.id)
        if len(texts) > 1:
            info: list[dict[str, Any]] = [
                {"send_date": date, "gen_started": None, "gen_finished": None, "extra": {}} for _ in texts
            ]
            at = archive.record.siblings(turn.id).at
            message |= {"swipe_id": at, "swipes": texts, "swipe_info": info}
        lines.append(message)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _dates(archive: Archive) -> list[str]:
    """When each turn was said; of one whose date is not known, that of the turn after it, else of the one before it."""
    dates = [turn.at for turn in archive.turns]
    for at in reversed(range(len(dates) - 1)):
        dates[at] = dates[at] or dates[at + 1]
    for at in range(1, len(dates)):
        dates[at] = dates[at] or dates[at - 1]
    return dates


def from_jsonl(text: str, name: str, notify: Notify, *, user: str = "", character: str = "") -> Archive:
    """Reads a SillyTavern chat, without the messages that are hidden from the model (``is_system``).

    Args:
        text: the file's text.
        name: the file's name for messages.
        notify: receives, in one line, what is left out.
        user: the user's name, where the chat does not state it.
        character: the character's name, where the chat does not state it.

    Raises:
        SessionError: the text is not such a chat.
    """
    return from_rows(_rows(text, name, notify), name, notify, user=user, character=character)


def from_rows(
    rows: Iterator[tuple[int, Any]], name: str, notify: Notify, *, user: str = "", character: str = ""
) -> Archive:
    """As :func:`from_jsonl`, of the values of the lines with their numbers."""
    header: Mapping[str, Any] = {}
    lines: list[ChatLine] = []
    is_chat = False
    for number, row in rows:
        where = f"{name}, line {number}"
        if not isinstance(row, dict):
            notify(f"{where}: this is not a message and is left out")
        elif (
            "mes" not in row
            and not lines
            and not header
            and {"user_name", "character_name", "chat_metadata"} & set(row)
        ):
            header, is_chat = row, True
        elif (line := _line(row, where, notify)) is not None:
            lines.append(line)
        is_chat = is_chat or (isinstance(row, dict) and "mes" in row)
    if not is_chat:
        raise SessionError(f'{name}, line 1: there is no "user_name": give a chat that SillyTavern exported as JSONL')
    metadata = header.get("chat_metadata")
    return conversation(
        lines,
        f"{name}, line 1",
        user=_named(header, "user_name") or user,
        character=_named(header, "character_name") or character,
        note=metadata.get("note_prompt") or "" if isinstance(metadata, dict) else "",
    )


def _rows(text: str, name: str, notify: Notify) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip("\ufeff\0 \t\r")
        at = broken = 0
        while at < len(line):  # a line that was broken off may have the next one behind it
            try:
                value, end = _DECODER.raw_decode(line, at)
                if end < len(line) and not isinstance(value, dict):
                    raise ValueError("it is no message")
                yield number, value
                at = _GAP.match(line, end).end()  # type: ignore[union-attr]  # it matches everywhere
            except (ValueError, RecursionError):
                if not broken:
                    notify(f"{name}, line {number}: this is not JSON and is left out")
                broken += 1
                begin = _MESSAGE.search(line, at + 1) if broken < _MAX_BROKEN else None
                at = begin.start() if begin else len(line)


def _line(row: Mapping[str, Any], where: str, notify: Notify) -> ChatLine | None:
    """A message; None where it is hidden from the model, or has no text."""
    extra = row["extra"] if isinstance(row.get("extra"), dict) else {}
    if isinstance(link := extra.get("bookmark_link"), str) and link:
        notify(f"{where}: a bookmark leads to the chat {clean(link)!r}, which is a file of its own")
    if row.get("is_system") is True:
        return None
    swipes = row["swipes"] if isinstance(row.get("swipes"), list) else []
    texts = [text for swipe in swipes if (text := _text(swipe)) is not None]
    mes, at = _text(row.get("mes")), _swipe_index(row.get("swipe_id"), swipes)
    if mes is None and at is not None:
        mes = _text(swipes[at])
    if mes is None:
        notify(f"{where}: the message has no text and is left out")
        return None
    if at is not None and (_text(swipes[at])) is not None:
        index = sum(_text(swipe) is not None for swipe in swipes[:at])
        texts[index] = mes  # the text may have been edited since
    elif mes in texts:
        index = texts.index(mes)
    else:
        index = len(texts)
        texts.append(mes)
    ours = extra["egosrag"] if isinstance(extra.get("egosrag"), dict) else {}
    return ChatLine(
        text=mes,
        is_user=row.get("is_user") is True or row.get("is_user") == 1,
        name=clean(row.get("name")),
        at=row.get("send_date"),
        swipes=texts if len(texts) > 1 else (),
        swipe=index,
        id=ours["id"] if isinstance(ours.get("id"), str) else "",
        interrupted=ours.get("status") == "interrupted",
        narrator=extra.get("type") == "narrator",
    )


def _text(value: Any) -> str | None:
    """The text of a message or a swipe, which Chub writes as an object."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("message", "mes", "text") if isinstance(value.get(key), str)), None)
    if isinstance(value, list):
        return "\n".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else None


def _swipe_index(value: Any, swipes: list[Any]) -> int | None:
    try:
        index = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return index if 0 <= index < len(swipes) else None


def _named(header: Mapping[str, Any], key: str) -> str:
    name = clean(header.get(key))
    return "" if name in _NO_NAMES else name
