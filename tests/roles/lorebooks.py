"""Lorebooks for the tests, and which of their entries some lines activate."""

from __future__ import annotations

from typing import Any

from egosrag.roles.lorebook import entries_for
from egosrag.schema import Lorebook


def book(*entries: dict[str, Any], **fields: Any) -> Lorebook:
    return Lorebook.model_validate({"entries": entries, **fields})


def active(lore: Lorebook, *lines: str, budget: int = 1000) -> list[str]:
    return [entry.content for entry in entries_for(lore, lines, budget, len)]


def key_matches(key: str, line: str, **fields: Any) -> bool:
    return active(book({"keys": [key], "content": "x", **fields}), line) == ["x"]
