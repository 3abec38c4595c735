"""Superscripts and subscripts as plain text: 10³ and H₂O, and never 103."""

from __future__ import annotations

import re

_UP = str.maketrans("0123456789+-−=()niab", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱᵃᵇ")
_DOWN = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")
# Ordinals, trade marks and marks of footnotes: read in the line as they are.
_PLAIN = re.compile(r"(?:st|nd|rd|th|er|re|e|o|TM|SM|®|©|™|℠|[*†‡§¶°º′″'\"]+|[\[(（［].*[\])）］])?", re.DOTALL)


def superscript(text: str) -> str:
    """A raised text: digits and signs as superscript characters, other texts as ``^(...)``."""
    return _shifted(text, _UP, "^")


def subscript(text: str) -> str:
    """A lowered text: digits and signs as subscript characters, other texts as ``_(...)``."""
    return _shifted(text, _DOWN, "_")


def _shifted(text: str, table: dict[int, int], mark: str) -> str:
    inner = text.strip()
    if _PLAIN.fullmatch(inner):
        return text
    if all(ord(character) in table for character in inner):
        return text.translate(table)
    if mark == "_" and inner.isalnum() and len(inner) < 4 and not any(c.isdigit() for c in inner):
        return text  # an index that is a word, such as P max
    return text.replace(inner, f"{mark}({inner})" if len(inner) > 1 else mark + inner)
