"""Character cards V1, V2 and V3: convert them to the fields of a :class:`Role` and back without losing a key.

Specifications: malfoyslastname/character-card-spec-v2 (spec_v2.md), kwaroran/character-card-spec-v3 (SPEC_V3.md).
The original card is kept whole beside the fields that were read from it. Written again, it is the same card except for
the fields that have changed since. What the format has no key for (evidence, or which statements are relations) goes
into ``extensions.egos``, and is used only as long as the text in the card is unchanged.

Reading is lenient: null is absent, a list is read where a text is expected and a text where a list is, numbers are
text. Instructions for the end of the prompt (``post_history_instructions``, ``depth_prompt``) are read by
``egosrag.roles.notes``; ``system_prompt`` is kept but not followed, since the quote mode needs its own instructions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Literal

from pydantic import ValidationError

from egosrag.prompts.render import USER
from egosrag.roles import foreign, sample_dialogue
from egosrag.roles.data import Notify
from egosrag.roles.lore_formats import character_book, lorebook_from
from egosrag.schema import Role, Statement
from egosrag.text.language import language_of, one_line

Version = Literal[2, 3]
SPECS = {"chara_card_v2": 2, "chara_card_v3": 3}
ORIGINAL_CARD = "character_card"  # the key of a role under which the card is kept as it was read
_V1_TEXTS = ("description", "scenario", "first_mes", "mes_example", "personality")
_V2_DEFAULTS = {
    "creator_notes": "", "system_prompt": "", "post_history_instructions": "", "alternate_greetings": [],
    "tags": [], "creator": "", "character_version": "", "extensions": {},
}  # fmt: skip
# Card key -> the fields of a Role that it holds.
_CARD_KEY_FIELDS = {
    "name": ("name",),
    "description": ("background", "speaking_style", "relations"),
    "personality": ("personality",),
    "mes_example": ("sample_dialogue",),
    "first_mes": ("greeting",),
    "alternate_greetings": ("alternate_greetings",),
    "nickname": ("nickname",),
    "character_book": ("lorebook",),
}
_COMMENT = re.compile(r"\{\{(?://|comment:)[^{}]*\}\}", re.IGNORECASE)
_LABELS = {
    "en": {"speaking_style": "Speaking style: ", "relations": "Relations: "},
    "zh": {"speaking_style": "说话风格：", "relations": "关系："},
}


def is_character_card(data: dict[str, Any]) -> bool:
    """Whether ``data`` is a character card: of V1 to V3, or of a program with keys of its own."""
    if _data(data) is not data:
        return True
    v1 = any(key in data for key in ("first_mes", "description"))
    return isinstance(data.get("spec"), str) or v1 or bool(foreign.program_of(data))


def format_of(data: dict[str, Any]) -> str:
    """The format of a card, for display: "character card V3", "pygmalion", ...; "role" for our own."""
    if ORIGINAL_CARD in data or not is_character_card(data):
        return "role"
    if _data(data) is data and (program := foreign.program_of(data)):
        return program
    spec = data.get("spec")
    version = SPECS.get(spec, 3) if isinstance(spec, str) else 1 if _data(data) is data else 2
    return f"character card V{version}"


def role_fields(card: dict[str, Any], notify: Notify | None = None) -> dict[str, Any]:
    """The fields of a :class:`Role` in a character card, and the card itself under ``ORIGINAL_CARD``.

    Macros such as ``{{char}}`` stay: they are replaced when the card is rendered, by the names in that conversation. A
    card in the keys of another program is converted to V2 first.

    Args:
        card: the card.
        notify: receives, in one line, what in it cannot be read.

    Raises:
        ValueError: the card does not follow its specification; the message says where.
    """
    data = _data(card)
    if data is card and (program := foreign.program_of(card)):
        card = foreign.card_v2(card, program)
        data = card["data"]
    if data is card and isinstance(card.get("spec"), str) and not any(key in card for key in ("name", *_V1_TEXTS)):
        raise ValueError('it has no "data" object')
    texts = {key: _text(data.get(key)) for key in ("name", *_V1_TEXTS, "nickname")}
    prose = "".join(texts[key] for key in ("description", "personality", "scenario", "first_mes", "mes_example"))
    name = _name(texts["name"]) or _name(_text(card.get("name"))) or _name(texts["nickname"])
    fields: dict[str, Any] = {
        "name": name,
        "language": language_of(prose or texts["name"]),
        "background": [texts[key] for key in ("description", "scenario") if texts[key]],
        "personality": [texts["personality"]] if texts["personality"] else [],
        "sample_dialogue": sample_dialogue.lines_of(texts["mes_example"], name),
        "greeting": texts["first_mes"] or None,
        "alternate_greetings": _texts(data.get("alternate_greetings")),
        "nickname": texts["nickname"] or None,
        "lorebook": lorebook_from(data.get("character_book"), notify or _ignore),
        ORIGINAL_CARD: card,
    }
    return fields | _fields_from_extension(data, texts)


def texts_of(card: dict[str, Any]) -> tuple[str, ...]:
    """The texts that every version of a card has, to compare two of them."""
    data = _data(card)
    return tuple(_text(data.get(key)) for key in ("name", *_V1_TEXTS))


def _data(card: dict[str, Any]) -> dict[str, Any]:
    """The object with the card's texts: ``data`` of V2 and V3, the card itself of V1."""
    data = card.get("data")
    known = ("name", *_V1_TEXTS)
    if isinstance(data, dict) and (isinstance(card.get("spec"), str) or any(key in data for key in known)):
        return data
    return card


def _ignore(text: str) -> None:
    pass


def card_from_role(role: Role, version: Version) -> dict[str, Any]:
    """The role as a character card of that version; a role read from a card and not changed gives the same card."""
    original = (role.model_extra or {}).get(ORIGINAL_CARD)
    card: dict[str, Any] = deepcopy(original) if isinstance(original, dict) else {}
    before = _role(card) if card else None
    if _data(card) is card:
        card = {"data": {key: value for key, value in card.items() if key != "spec"}}  # V1, or no card at all
    data = card["data"]
    changed = [
        key
        for key, fields in _CARD_KEY_FIELDS.items()
        if before is None or any(getattr(role, field) != getattr(before, field) for field in fields)
    ]
    values = _card_values(role)
    for key in changed:
        for target in (data, card) if key in card else (data,):  # some tools repeat V1's texts at the top level
            if values[key] is None:
                target.pop(key, None)
            else:
                target[key] = values[key]
    if "description" in changed and data.get("scenario"):
        data["scenario"] = ""  # it is part of the background, and so now of the description
    if changed or (before is not None and role.language != before.language):
        extensions = data.get("extensions")
        data["extensions"] = (extensions if isinstance(extensions, dict) else {}) | {"egos": _extension(role)}
    if SPECS.get(str(card.get("spec"))) != version:
        _add_required_keys(card, version)
    return card


def _role(card: dict[str, Any]) -> Role:
    """The role in a card as it was read; one without a name is not the role that was given one."""
    fields = role_fields(card)
    return Role.model_validate(fields | {"name": fields["name"] or "-"})


def _add_required_keys(card: dict[str, Any], version: Version) -> None:
    card["spec"], card["spec_version"] = f"chara_card_v{version}", f"{version}.0"
    required: dict[str, Any] = dict.fromkeys(_V1_TEXTS, "") | deepcopy(_V2_DEFAULTS)
    if version == 3:
        required["group_only_greetings"] = []
    for key, value in required.items():
        card["data"].setdefault(key, value)


def _text(value: Any) -> str:
    """A text of a card; of a list its lines, of a number its digits, of anything else nothing."""
    if isinstance(value, list):
        return "\n".join(filter(None, map(_text, value)))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value).strip()


def _name(text: str) -> str:
    """A name without comments and zero bytes."""
    return " ".join(_COMMENT.sub("", text.replace("\0", "")).split())


def _texts(value: Any) -> list[str]:
    """A list of texts, without what is no text; of a single text that one."""
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and text]


def _card_values(role: Role) -> dict[str, Any]:
    """The values of the card keys that hold fields of a role, as texts that other tools read."""
    labels = _LABELS[role.language or "en"]
    description = [one_line(s.text) for s in role.background]
    for field, label in labels.items():
        statements: Iterable[Statement] = getattr(role, field)
        description += [label + one_line(s.text) for s in statements]
    speakers = {role.name: "{{char}}", **dict.fromkeys(USER.values(), "{{user}}")}
    example = [f"{speakers.get(line.speaker, line.speaker)}: {line.text}" for line in role.sample_dialogue]
    book = role.lorebook
    return {
        "name": role.name,
        "description": "\n".join(description),
        "personality": "\n".join(s.text for s in role.personality),
        "mes_example": "\n".join(["<START>", *example]) if example else "",
        "first_mes": role.greeting or "",
        "alternate_greetings": list(role.alternate_greetings),
        "nickname": role.nickname,
        "character_book": character_book(book) if book else None,
    }


def _extension(role: Role) -> dict[str, Any]:
    """The role's own fields, for ``extensions.egos``; lorebook and original card are in the card itself already."""
    extra = {key: value for key, value in (role.model_extra or {}).items() if key != ORIGINAL_CARD}
    return role.model_dump(mode="json", exclude_defaults=True, exclude={"lorebook", ORIGINAL_CARD, *extra}) | extra


def _fields_from_extension(data: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    """The fields in ``extensions.egos`` whose text in the card no other tool has changed since."""
    extensions = data.get("extensions")
    own = extensions.get("egos") if isinstance(extensions, dict) else None
    if not isinstance(own, dict):
        return {}
    try:
        role = Role.model_validate(own)
    except ValidationError:
        return {}  # not written by us: anybody may use an extension of that name
    values = _card_values(role)
    unchanged = {
        field
        for key, fields in _CARD_KEY_FIELDS.items()
        for field in fields
        if key in ("description", "personality", "mes_example", "first_mes")
        and (values[key] or "").strip() == texts[key]
        and not (key == "description" and texts["scenario"])
    }
    extra = {key: value for key, value in (role.model_extra or {}).items() if key != ORIGINAL_CARD}
    kept = {name: getattr(role, name) for name in ("language", "timeline", "as_of") if getattr(role, name)}
    return extra | kept | {field: getattr(role, field) for field in unchanged}
