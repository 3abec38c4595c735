"""Export and import of a conversation; the file's extension selects the format.

.json is the native format, lossless in both directions; .jsonl is a SillyTavern chat, in both directions with losses
(see ``sillytavern``); .md is Markdown to read, export only.
"""

from __future__ import annotations

import re
from pathlib import Path

from egosrag.errors import SessionError
from egosrag.sessions.archive import Archive, read_archive
from egosrag.sessions.sillytavern import from_jsonl, to_jsonl


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


def read(path: str | Path) -> Archive:
    """Reads a conversation: a SillyTavern chat from .jsonl, the native format from any other file.

    Raises:
        SessionError: the file cannot be read, or is not a conversation; the message names the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SessionError(f"{path.name}, line {line}: this is not UTF-8: save it as UTF-8") from error
    except OSError as error:
        raise SessionError(f"{path} cannot be read ({error.strerror}): give the path of a conversation") from error
    if path.suffix.lower() == ".jsonl":
        return from_jsonl(text, path.name)
    return read_archive(text, path.name)


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
