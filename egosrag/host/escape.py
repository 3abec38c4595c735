"""Untrusted text as labels: escaped for places that render Markdown, and made unique for lists of choices."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Streamlit's Markdown looks for bare addresses and :icons: after escapes are resolved: an invisible word joiner inside
# them keeps it from finding any.
_WORD_JOINER = "\u2060"
_AUTOLINK = re.compile(r":(?=\S)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
# All ASCII punctuation: CommonMark allows each to be escaped, and Streamlit gives a meaning to more of it (`:`, `$`).
_PUNCTUATION = re.compile(r"([!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~])")


def escape_markdown(text: str, max_length: int | None = None) -> str:
    """Markdown that renders as ``text``: one line, without links, pictures, icons, colours or formulas.

    Args:
        text: untrusted text.
        max_length: characters; longer text is cut and ends in an ellipsis.
    """
    line = " ".join(text.split())
    if max_length is not None and len(line) > max_length:
        line = line[: max_length - 1].rstrip() + "…"
    joined = _AUTOLINK.sub(lambda match: match.group() + _WORD_JOINER, line)
    return _PUNCTUATION.sub(r"\\\1", joined)


def unique_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels by key, with a number added to repeated ones: a select box identifies its options by label."""
    counts: dict[str, int] = {}
    unique: dict[str, str] = {}
    for key, label in labels.items():
        count = counts[label] = counts.get(label, 0) + 1
        unique[key] = label if count == 1 else f"{label} ({count})"
    return unique
