"""Text that others wrote, made ready for places that read Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Readers of Markdown look for bare addresses and :icons: in what is left after escapes are taken away: a word joiner,
# which shows nothing, stands in the middle of them.
_JOINER = "\u2060"
_FOUND_LATER = re.compile(r":(?=\S)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
# All of ASCII's marks: CommonMark lets every one of them be escaped, and Streamlit adds meanings to some (`:`, `$`).
_MARKS = re.compile(r"([!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~])")


def as_markdown(text: str, most: int | None = None) -> str:
    """Markdown that shows ``text`` and nothing else: one line, with no link, picture, icon, colour or formula.

    Args:
        text: what others wrote.
        most: characters after which it is cut.
    """
    line = " ".join(text.split())
    if most is not None and len(line) > most:
        line = line[: most - 1].rstrip() + "…"
    joined = _FOUND_LATER.sub(lambda match: match.group() + _JOINER, line)
    return _MARKS.sub(r"\\\1", joined)


def distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels by their keys, the second of two that are the same with a number: a browser knows choices by label."""
    seen: dict[str, int] = {}
    found: dict[str, str] = {}
    for key, label in labels.items():
        count = seen[label] = seen.get(label, 0) + 1
        found[key] = label if count == 1 else f"{label} ({count})"
    return found
