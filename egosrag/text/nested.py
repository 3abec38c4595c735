"""A JSON value as text: the fields of profiles and descriptions that other programs write."""

from __future__ import annotations

from typing import Any


def nested_text(value: Any) -> str:
    """A JSON value as one text, with all that is nested in it; of a statement of a card, its text alone.

    Args:
        value: a text, a number, or lists and objects of these; anything else (null) is an empty text.
    """
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            return nested_text(value["text"])
        return "；".join(f"{name}: {text}" for name, one in value.items() if (text := nested_text(one)))
    if isinstance(value, list):
        return "；".join(filter(None, map(nested_text, value)))
    return str(value) if isinstance(value, str | int | float) and str(value).strip() else ""
