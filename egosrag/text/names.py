"""How texts mention a name: whole, or by a part of it; as a word of its own."""

from __future__ import annotations

import re


def names_of(name: str) -> list[str]:
    """The forms in which a text may mention ``name``: the whole name, and its parts without very short Latin ones."""
    parts = [part for part in re.split(r"[\s·•]+", name) if len(part) > 2 or not part.isascii()]
    return list(dict.fromkeys([name, *parts]))


def mention_pattern(name: str) -> re.Pattern[str]:
    """A pattern that finds ``name`` in a text; a Latin name only as a whole word."""
    # Not \b: in Chinese text a Latin name is between letters of another script.
    alternatives = (
        rf"(?<![A-Za-z0-9_]){re.escape(n)}(?![A-Za-z0-9_])" if n.isascii() else re.escape(n) for n in names_of(name)
    )
    return re.compile("|".join(alternatives))
