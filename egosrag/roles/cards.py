"""Character cards V1, V2 and V3 to our fields and back, as plain data, without losing a key.

Specifications: malfoyslastname/character-card-spec-v2 (spec_v2.md), kwaroran/character-card-spec-v3 (SPEC_V3.md).
A card that was read is kept whole beside the fields that were made of it. Written again, it is the same card but for
the fields that have changed since; what the format has no place for (evidence, the kinds of statements) goes into
``extensions.egos`` and counts only where the card's own text is still the one that it was written with.

What a card tells an assistant to do (``system_prompt``, ``post_history_instructions``) is kept and never followed: a
card describes somebody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Literal

from pydantic import ValidationError

from egosrag.prompts.render import USER
from egosrag.schema import Role, Statement
from egosrag.text.language import language_of, one_line

Version = Literal[2, 3]
SPECS = {"chara_card_v2": 2, "chara_card_v3": 3}
KEPT = "character_card"  # where the card as it was read is kept in a role
_V1 = ("description", "scenario", "first_mes", "mes_example", "personality")
_V2 = {
    "creator_notes": "", "system_prompt": "", "post_history_instructions": "", "alternate_greetings": [],
    "tags": [], "creator": "", "character_version": "", "extensions": {},
}  # fmt: skip
# A key of a card, and the fields of ours that it holds.
_HOLDS = {
    "name": ("name",),
    "description": ("background", "speaking_style", "relations"),
    "personality": ("personality",),
    "mes_example": ("sample_dialogue",),
    "first_mes": ("greeting",),
    "alternate_greetings": ("alternate_greetings",),
    "nickname": ("nickname",),
    "character_book": ("lorebook",),
}
_LINE = re.compile(r"^\s*(\{\{user\}\}|\{\{char\}\}|[^:：\n]{1,40}?)\s*[:：]\s*(.+)$", re.IGNORECASE)
_START = re.compile(r"<START>|\{\{(?:char|user)\}\}\s*[:：]", re.IGNORECASE)
_LABELS = {
    "en": {"speaking_style": "Speaking style: ", "relations": "Relations: "},
    "zh": {"speaking_style": "说话风格：", "relations": "关系："},
}


def is_card(data: dict[str, Any]) -> bool:
    """Whether ``data`` is a character card: V2 and V3 say so, V1 has its texts on the top and none of our fields."""
    return _known(data) or ("spec" not in data and any(key in data for key in ("first_mes", "description")))


def _known(data: dict[str, Any]) -> bool:
    spec = data.get("spec")
    return isinstance(spec, str) and spec in SPECS


def fields_of(card: dict[str, Any]) -> dict[str, Any]:
    """The fields of a :class:`Role` that a character card gives; the card itself is kept among them.

    Placeholders stay as they are: they are filled in when the card is rendered, by the names of that conversation.

    Raises:
        ValueError: the card is not made as its version asks; the message says where.
    """
    data = card.get("data") if _known(card) else card
    if not isinstance(data, dict):
        raise ValueError('it has no "data" object')
    texts = {key: _text(data, key) for key in ("name", *_V1, "nickname")}
    greetings = data.get("alternate_greetings") or []
    if not isinstance(greetings, list) or not all(isinstance(text, str) for text in greetings):
        raise ValueError("alternate_greetings must be a list of texts")
    told = "".join(texts[key] for key in ("description", "personality", "scenario", "first_mes", "mes_example"))
    fields: dict[str, Any] = {
        "name": texts["name"],
        "language": language_of(told or texts["name"]),
        "background": [texts[key] for key in ("description", "scenario") if texts[key]],
        "personality": [texts["personality"]] if texts["personality"] else [],
        "sample_dialogue": _dialogue(texts["mes_example"]),
        "greeting": texts["first_mes"] or None,
        "alternate_greetings": greetings,
        "nickname": texts["nickname"] or None,
        "lorebook": data.get("character_book"),
        KEPT: card,
    }
    return fields | _ours(data, texts)


def card_of(role: Role, version: Version) -> dict[str, Any]:
    """The role as a character card of that version; one that was read as such and not changed is the same card."""
    kept = (role.model_extra or {}).get(KEPT)
    card: dict[str, Any] = deepcopy(kept) if isinstance(kept, dict) else {}
    before = Role.model_validate(fields_of(card)) if card else None
    if card.get("spec") not in SPECS:
        card = {"data": card}  # V1, or none
    data = card["data"]
    changed = [
        key
        for key, fields in _HOLDS.items()
        if before is None or any(getattr(role, field) != getattr(before, field) for field in fields)
    ]
    written = _written(role)
    for key in changed:
        for place in (data, card) if key in card else (data,):  # some tools repeat V1's texts on the top
            if written[key] is None:
                place.pop(key, None)
            else:
                place[key] = written[key]
    if "description" in changed and data.get("scenario"):
        data["scenario"] = ""  # it is told in the background, which the description holds now
    if changed or (before is not None and role.language != before.language):
        extensions = data.get("extensions")
        data["extensions"] = (extensions if isinstance(extensions, dict) else {}) | {"egos": _own(role)}
    if SPECS.get(str(card.get("spec"))) != version:
        _complete(card, version)
    return card


def _complete(card: dict[str, Any], version: Version) -> None:
    """What the version asks for, where the card has it not."""
    card["spec"], card["spec_version"] = f"chara_card_v{version}", f"{version}.0"
    wanted: dict[str, Any] = (
        dict.fromkeys(_V1, "") | deepcopy(_V2) | ({"group_only_greetings": []} if version == 3 else {})
    )
    for key, value in wanted.items():
        card["data"].setdefault(key, value)


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} must be a text")
    return (value or "").strip()


def _dialogue(example: str) -> list[dict[str, str]]:
    """The spoken lines of ``mes_example``; a line that names nobody goes on with the one before it."""
    lines: list[dict[str, str]] = []
    for line in example.splitlines():
        match = _LINE.match(line)
        if match and match.group(2).strip():
            lines.append({"speaker": match.group(1), "text": match.group(2).strip()})
        elif lines and line.strip() and not _START.search(line):
            lines[-1]["text"] += "\n" + line.strip()
    return lines


def _written(role: Role) -> dict[str, Any]:
    """The keys of a card that hold our fields, as texts that other tools read."""
    labels = _LABELS[role.language or "en"]
    described = [one_line(s.text) for s in role.background]
    for field, label in labels.items():
        statements: Iterable[Statement] = getattr(role, field)
        described += [label + one_line(s.text) for s in statements]
    speakers = {role.name: "{{char}}", **dict.fromkeys(USER.values(), "{{user}}")}
    example = [f"{speakers.get(line.speaker, line.speaker)}: {line.text}" for line in role.sample_dialogue]
    book = role.lorebook
    return {
        "name": role.name,
        "description": "\n".join(described),
        "personality": "\n".join(s.text for s in role.personality),
        "mes_example": "\n".join(["<START>", *example]) if example else "",
        "first_mes": role.greeting or "",
        "alternate_greetings": list(role.alternate_greetings),
        "nickname": role.nickname,
        "character_book": _book(book.model_dump(mode="json", exclude_unset=True)) if book else None,
    }


def _book(book: dict[str, Any]) -> dict[str, Any]:
    """A lorebook with the keys that V2 and V3 ask for."""
    entry = {"keys": [], "content": "", "extensions": {}, "enabled": True, "insertion_order": 100, "use_regex": False}
    return book | {"extensions": book.get("extensions", {}), "entries": [entry | e for e in book.get("entries", [])]}


def _own(role: Role) -> dict[str, Any]:
    """Our fields as they are, for ``extensions.egos``; the lorebook and the kept card stand in the card itself."""
    extra = {key: value for key, value in (role.model_extra or {}).items() if key != KEPT}
    return role.model_dump(mode="json", exclude_defaults=True, exclude={"lorebook", KEPT, *extra}) | extra


def _ours(data: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    """Of the fields in ``extensions.egos`` those whose text has not been changed by another tool since."""
    extensions = data.get("extensions")
    own = extensions.get("egos") if isinstance(extensions, dict) else None
    if not isinstance(own, dict):
        return {}
    try:
        role = Role.model_validate(own)
    except ValidationError:
        return {}  # not written by us: an extension of that name is anybody's
    written = _written(role)
    same = {
        field
        for key, fields in _HOLDS.items()
        for field in fields
        if key in ("description", "personality", "mes_example", "first_mes")
        and (written[key] or "").strip() == texts[key]
        and not (key == "description" and texts["scenario"])
    }
    fields = {field: getattr(role, field) for field in same}
    extra = {key: value for key, value in (role.model_extra or {}).items() if key != KEPT}
    return extra | ({"language": role.language} if role.language else {}) | fields
