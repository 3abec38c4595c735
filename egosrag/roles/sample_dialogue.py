"""The spoken lines in a card's ``mes_example``, which every program and writer lays out in another way.

Speakers are macros (``{{char}}:``, ``<BOT>:``), also in bold type, in brackets or in a list, or names. ``You`` is the
user, as Pygmalion and text-generation-webui write; so is ``{{random_user_1}}`` of Character.AI.
"""

from __future__ import annotations

import re

_START = re.compile(r"<START>|^[ \t]*END_OF_DIALOG[ \t]*$", re.IGNORECASE | re.MULTILINE)
_MACRO = re.compile(
    r"(?P<before>[-*>#\[(]*)\s*(?P<name>\{\{\w+\}\}|<(?:user|bot|char)>)(?P<aside>\s*\([^()]{1,40}\))?"
    r"[*]*\s*[:：][*]*\s*(?P<text>.*)",
    re.IGNORECASE,
)
# A full stop in a name ends a short word: "Dr. Bo".
_NAME = re.compile(
    r"(?P<name>[^\W\d_](?:[^:：.!?,;。！？，；\"“”]|(?<![^\W\d_]{4})\.(?=\s?[^\W\d_])){0,39}?)\s*[:：]\s*(?P<text>.*)"
)
_MAX_WORDS = 4  # of a name
_RULE = re.compile(r"[*=_~#-]{2,}|#+\s.*")  # a separating line, or a heading of Markdown
_RANDOM_USER = re.compile(r"\{\{random_user_\d+\}\}", re.IGNORECASE)
_USER = "{{user}}"


def lines_of(example: str, character: str = "") -> list[dict[str, str]]:
    """The lines of ``mes_example`` as ``{"speaker", "text"}``; a line without a speaker continues the one before it.

    Text in front of the first speaker of a dialogue (after ``<START>``) is said by the character.

    Args:
        example: the text.
        character: the name of the character.
    """
    lines: list[dict[str, str]] = []
    for dialogue in _START.split(example):
        first, waiting = len(lines), ""  # the speaker of a line that says nothing yet
        for line in map(str.strip, dialogue.splitlines()):
            speaker, text = _split(line, character)
            if speaker and text:
                lines.append({"speaker": speaker, "text": text})
                waiting = ""
            elif speaker:
                waiting = speaker
            elif not text or _RULE.fullmatch(line):
                continue
            elif waiting or len(lines) == first:
                lines.append({"speaker": waiting or "{{char}}", "text": text})
                waiting = ""
            else:
                lines[-1]["text"] += "\n" + text
    return lines


def _split(line: str, character: str) -> tuple[str, str]:
    """The speaker and the text of a line; the speaker is empty where it has none."""
    if match := _MACRO.fullmatch(line):
        text = match["text"].strip()
        if match["before"].endswith(("[", "(")):
            text = text.removesuffix("]" if match["before"].endswith("[") else ")").rstrip()
        name = _RANDOM_USER.sub(_USER, match["name"])
        return name + (match["aside"] or ""), text
    match = _NAME.fullmatch(line)
    if match is None or not _is_name(match["name"], match["text"], character):
        return "", line
    return _USER if match["name"] == "You" != character else match["name"], match["text"].strip()


def _is_name(name: str, text: str, character: str) -> bool:
    """Whether what is in front of a colon is a name, and not the words of a sentence, a time or an address."""
    if name in ("You", character):
        return True
    is_time = name[-1].isdigit() and text[:1].isdigit()
    return bool(text) and not text.startswith("//") and not is_time and len(name.split()) <= _MAX_WORDS
