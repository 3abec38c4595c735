"""Export and import of a conversation; the file's extension selects the format.

.json is the native format, lossless in both directions, or the chat of another program (``foreign_chats``); .jsonl is a
SillyTavern chat, in both directions with losses (see ``sillytavern``); .md is Markdown to read, export only.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from egosrag.errors import SessionError
from egosrag.schema import Role, Turn
from egosrag.sessions.archive import FORMAT, Archive, read_archive
from egosrag.sessions.foreign_chats import Names, read_chats
from egosrag.sessions.sillytavern import from_jsonl, from_rows, to_jsonl

Notify = Callable[[str], None]
_log = logging.getLogger(__name__)


def write(archive: Archive, path: str | Path) -> None:
    """Writes a conversation to a .json, .jsonl (SillyTavern) or .md file.

    Raises:
        SessionError: the extension is none of these, or the file cannot be written.
    """
    path = Path(path)
    formats = {".json": Archive.text, ".jsonl": to_jsonl, ".md": to_markdown}
    serialize = formats.get(path.suffix.lower())
    if serialize is None:
        raise SessionError(
            f"{path} does not end with a known format: give .json, .jsonl (for SillyTavern) or .md (Markdown to read)"
        )
    try:
        path.write_text(serialize(archive), encoding="utf-8")
    except OSError as error:
        raise SessionError(f"{path} cannot be written ({error.strerror}): give another path") from error


def read(path: str | Path, notify: Notify = _log.warning) -> Archive:
    """Reads the conversation of a file; of several the first one. See :func:`read_all`."""
    return read_all(path, notify)[0]


def read_all(
    path: str | Path, notify: Notify = _log.warning, *, user: str = "", role: Role | None = None
) -> list[Archive]:
    """Reads the conversations of a file: our own JSON, a SillyTavern chat, or a chat of another program.

    Args:
        path: the file.
        notify: receives, in one line, what of the file is left out; the log by default.
        user: the user's name, where the file does not state it.
        role: the card of the character; a conversation with a single one gets it, and its name.

    Raises:
        SessionError: the file cannot be read, or is not a conversation; the message names the line.
    """
    path = Path(path)
    character = role.name if role else ""
    text = _text(path, notify)
    if path.suffix.lower() == ".jsonl":
        archives = [from_jsonl(text, path.name, notify, user=user, character=character)]
    else:
        archives = _from_json(text, path.name, notify, Names(user, character))
    return [with_role(archive, role) for archive in archives] if role else archives


def with_role(archive: Archive, role: Role) -> Archive:
    """A conversation with another card, and its name, for its character; one with several characters stays as it is."""
    if len(archive.roles) != 1:
        return archive
    old = archive.roles[0].name

    def renamed(turns: Iterable[Turn]) -> tuple[Turn, ...]:
        return tuple(t.model_copy(update={"speaker": role.name}) if t.speaker == old else t for t in turns)

    swipes = tuple(
        s.model_copy(update={"branches": tuple(b.model_copy(update={"turns": renamed(b.turns)}) for b in s.branches)})
        for s in archive.swipes
    )
    return archive.model_copy(update={"roles": (role,), "turns": renamed(archive.turns), "swipes": swipes})


def _from_json(text: str, name: str, notify: Notify, names: Names) -> list[Archive]:
    try:
        data = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict) and data.get("format") == FORMAT:
        return [read_archive(text, name)]
    if data is None and text.lstrip().startswith("{") and "\n{" in text:  # JSONL under another name
        return [from_jsonl(text, name, notify, user=names.user, character=names.character)]
    rows = data if isinstance(data, list) else []
    if any(isinstance(row, dict) and "mes" in row for row in rows):
        return [from_rows(enumerate(rows, 1), name, notify, user=names.user, character=names.character)]
    return read_chats(data, name, names) or [read_archive(text, name)]


def _text(path: Path, notify: Notify) -> str:
    """The text of a file: UTF-8 or UTF-16; in a JSONL file, bytes that are neither become U+FFFD."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SessionError(f"{path} cannot be read ({error.strerror}): give the path of a conversation") from error
    encoding = json.detect_encoding(data[:4]) if data else "utf-8"
    try:
        return data.decode(encoding if encoding.startswith(("utf-16", "utf-32")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = f"{path.name}, line {line}: this is not UTF-8"
        if path.suffix.lower() != ".jsonl":
            raise SessionError(f"{problem}: save it as UTF-8") from error
        notify(f"{problem}; characters that cannot be read are \ufffd")
        return data.decode("utf-8-sig", "replace")


def to_markdown(archive: Archive) -> str:
    """The conversation as Markdown: a paragraph per turn, the speaker in bold, the text escaped."""
    names = ", ".join(role.name for role in archive.roles)
    head = [f"# {_escaped(names)}"]
    return (
        "\n\n".join([*head, *(f"**{_escaped(turn.speaker)}:** {_escaped(turn.text)}" for turn in archive.turns)]) + "\n"
    )


def _escaped(text: str) -> str:
    """Text in which Markdown sees no tags, links, headings or lists; emphasis stays, as in the prompt."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("[", "\\[").replace("`", "\\`")
    lines = (re.sub(r"^(\s*)([#>+=|~-]|\d+[.)])", r"\1\\\2", line) for line in text.splitlines())
    return "\n\n".join(line for line in lines if line.strip())
