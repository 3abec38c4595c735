"""The formats of lorebooks: those of cards V2 and V3, and of SillyTavern, Agnai, RisuAI and NovelAI.

Each entry gets the keys of a card's ``character_book``, and in ``extensions`` the names that SillyTavern gives its own
settings when it embeds them in a card (public/scripts/world-info.js, ``convertCharacterBook``); its other keys stay.
An entry that cannot be read is left out and named, the others are read.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from egosrag.roles.data import Notify
from egosrag.schema import Lorebook, LoreEntry

_log = logging.getLogger(__name__)
# Keys of other programs, and what a character book calls the same.
_ENTRY_KEYS = {
    "key": "keys", "keysecondary": "secondary_keys", "secondkey": "secondary_keys", "keywords": "keys",
    "order": "insertion_order", "insertorder": "insertion_order", "caseSensitive": "case_sensitive",
    "alwaysActive": "constant", "forceActivation": "constant", "entry": "content", "text": "content",
    "useRegex": "use_regex", "displayName": "name", "value": "content",
}  # fmt: skip
_EXTENSIONS = {
    "scanDepth": "scan_depth", "selectiveLogic": "selectiveLogic", "excludeRecursion": "exclude_recursion",
    "preventRecursion": "prevent_recursion", "delayUntilRecursion": "delay_until_recursion", "depth": "depth",
    "probability": "probability", "useProbability": "useProbability", "sticky": "sticky", "cooldown": "cooldown",
    "delay": "delay", "group": "group", "groupOverride": "group_override", "groupWeight": "group_weight",
    "useGroupScoring": "use_group_scoring", "role": "role", "matchWholeWords": "match_whole_words",
    "matchPersonaDescription": "match_persona_description", "matchScenario": "match_scenario",
    "matchCharacterDescription": "match_character_description", "matchCreatorNotes": "match_creator_notes",
    "matchCharacterPersonality": "match_character_personality", "activationPercent": "probability",
}  # fmt: skip
_RECURSION = frozenset({"exclude_recursion", "prevent_recursion", "delay_until_recursion"})
_KEY = re.compile(r"\s*(/(?:\\.|[^/\\])+/[a-z]*|[^,，]+)\s*(?:[,，]|$)")  # a regular expression may have commas
_FLAGS = ("enabled", "constant", "selective", "case_sensitive", "use_regex")
_NUMBERS = ("insertion_order", "priority")


def character_book(book: Lorebook) -> dict[str, Any]:
    """A lorebook with the keys that V2 and V3 require."""
    data = book.model_dump(mode="json", exclude_unset=True)
    entry = {"keys": [], "content": "", "extensions": {}, "enabled": True, "insertion_order": 100, "use_regex": False}
    return data | {"extensions": data.get("extensions", {}), "entries": [entry | e for e in data.get("entries", [])]}


def lorebook_from(data: Any, notify: Notify = _log.warning) -> Lorebook | None:
    """The lorebook in a value of any of the formats; None if it is none.

    Args:
        data: a lorebook, or the list of its entries.
        notify: receives, in one line, what in it cannot be read.
    """
    if isinstance(data, list):
        data = {"entries": data}
    if not isinstance(data, Mapping):
        return None
    entries = data.get("entries", data.get("worldinfo"))  # a story of KoboldAI has its world info in it
    if isinstance(entries, Mapping):
        entries = list(entries.values())
    if not isinstance(entries, list):
        return None
    read = tuple(_entries(entries, notify))
    recursive = flag(data.get("recursive_scanning", data.get("recursiveScan")))
    if recursive is None and any(_RECURSION & entry.extensions.keys() for entry in read):
        recursive = True  # SillyTavern's own default: its files do not state it
    settings = dict(data) | {
        "scan_depth": _count(data, "scan_depth", "scanDepth"),
        "token_budget": _count(data, "token_budget", "tokenBudget"),
        "recursive_scanning": recursive,
        "entries": read,
    }
    return Lorebook.model_validate(settings)


def _entries(entries: list[Any], notify: Notify) -> Iterator[LoreEntry]:
    for number, entry in enumerate(entries, 1):
        if entry is None:
            continue
        if not isinstance(entry, Mapping):
            notify(f"entry {number} of the lorebook is not an object: it is left out")
            continue
        try:
            yield LoreEntry.model_validate(_entry(entry))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            notify(f"entry {number} of the lorebook is left out: {where}: {first['msg']}")


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with the keys of a character book beside its own, and values of their types."""
    clean = dict(entry)
    for own, key in _ENTRY_KEYS.items():
        if own in entry and clean.get(key) in (None, "", []):
            clean[key] = entry[own]
    extensions = {_EXTENSIONS[key]: value for key, value in entry.items() if key in _EXTENSIONS and value is not None}
    if (position := _number(entry.get("position"))) is not None:
        extensions["position"] = int(position)
    own_extensions = entry.get("extensions")
    clean["extensions"] = extensions | (dict(own_extensions) if isinstance(own_extensions, Mapping) else {})
    context = entry.get("contextConfig")
    if isinstance(context, Mapping) and "insertion_order" not in clean:
        clean["insertion_order"] = context.get("budgetPriority")  # of NovelAI
    if "disable" in entry and "enabled" not in entry:
        clean["enabled"] = not flag(entry["disable"])
    if "secondkey" in entry and "selective" not in entry:
        clean["selective"] = bool(entry["secondkey"])
    for key in ("keys", "secondary_keys"):
        if clean.get(key) is not None:
            clean[key] = _keys(clean[key])
    if clean.get("content") is not None:
        clean["content"] = _joined(clean["content"])
    for key in _FLAGS:
        if key in clean:
            clean[key] = flag(clean[key])
    for key in _NUMBERS:
        if key in clean:
            clean[key] = _number(clean[key])
    return {key: value for key, value in clean.items() if value is not None or key in entry}


def _keys(value: Any) -> list[str]:
    """A list of keys; one text has them separated by commas, but a regular expression ``/.../`` is one key."""
    if isinstance(value, str):
        return [key for match in _KEY.finditer(value) if (key := match.group(1).strip())]
    values = value if isinstance(value, list | tuple) else [value]
    return [str(key) for key in values if isinstance(key, str | int | float) and not isinstance(key, bool)]


def _joined(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def flag(value: Any) -> bool | None:
    """A truth value, which may be written as a number or a text; None for anything else."""
    if isinstance(value, str):
        return value.strip().lower() in ("true", "yes", "on") or bool(_number(value))
    return bool(value) if isinstance(value, bool | int | float) else None


def _number(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, str) else value if isinstance(value, int | float) else None
    except ValueError:
        return None
    return number if number is None or math.isfinite(number) else None


def _count(data: Mapping[str, Any], *keys: str) -> int | None:
    for key in keys:
        number = _number(data.get(key))
        if number is not None and number >= 0:
            return int(number)
    return None
