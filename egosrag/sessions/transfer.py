"""A conversation to a file and back: the file's ending tells the format.

Ours is .json, whole and both ways; SillyTavern's chat is .jsonl, both ways; .md is Markdown to read.
"""

from __future__ import annotations

import re
from pathlib import Path

from egosrag.errors import SessionError
from egosrag.sessions.archive import Archive, read_archive
from egosrag.sessions.sillytavern import from_jsonl, to_jsonl


def write(archive: Archive, path: str | Path) -> None:
    """Writes a conversation in the format that the path's ending names: .json, .jsonl (SillyTavern) or .md.

    Raises:
        SessionError: the ending is another one, or the file cannot be written.
    """
    path = Path(path)
    formats = {".json": Archive.text, ".jsonl": to_jsonl, ".md": to_markdown}
    make = formats.get(path.suffix.lower())
    if make is None:
        raise SessionError(f"{path} has no ending that tells its format: .json, .jsonl for SillyTavern, or .md to read")
    try:
        path.write_text(make(archive), encoding="utf-8")
    except OSError as error:
        raise SessionError(f"{path} cannot be written ({error.strerror}): give another path") from error


def read(path: str | Path) -> Archive:
    """Reads a conversation: ours from .json, SillyTavern's from .jsonl.

    Raises:
        SessionError: the file cannot be read, or is no conversation; the message tells the line.
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
    """The conversation to read: a paragraph a turn, the speaker in bold; the words are text and nothing else."""
    names = ", ".join(role.name for role in archive.roles)
    head = [f"# {_as_text(names)}"]
    return (
        "\n\n".join([*head, *(f"**{_as_text(turn.speaker)}:** {_as_text(turn.text)}" for turn in archive.turns)]) + "\n"
    )


def _as_text(text: str) -> str:
    """Text that Markdown shows as it is: no tags, links, headings or lists; emphasis stays, as in the prompt."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("[", "\\[").replace("`", "\\`")
    lines = (re.sub(r"^(\s*)([#>+=|~-]|\d+[.)])", r"\1\\\2", line) for line in text.splitlines())
    return "\n\n".join(line for line in lines if line.strip())
