"""Cards in the keys of other programs and older versions, as character cards V2.

Read are Pygmalion and text-generation-webui (``char_name``, ``char_persona``, ...; ``context``), Agnai, RisuAI,
Character.AI and Backyard AI. What has no place in a card V2 is kept in ``extensions`` under the program's name.

Sources: oobabooga/text-generation-webui (modules/chat.py), agnaistic/agnai (common/types, CharacterJSON),
kwaroran/RisuAI (src/ts/characterCards.ts), SillyTavern/SillyTavern (src/endpoints/characters.js, the importers),
EliseWindbloom/Convert-BackyardAI-card-to-TavernAI-png-json (Backyard AI, once Faraday).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Keys of other programs for each key of a card, the most reliable first.
_ALTERNATIVES: dict[str, tuple[str, ...]] = {
    "name": ("name", "char_name", "aiName", "aiDisplayName", "participant__name", "title"),
    "description": ("char_persona", "context", "desc", "aiPersona", "persona", "description"),
    "personality": ("personality",),
    "scenario": ("scenario", "world_scenario"),
    "first_mes": ("first_mes", "char_greeting", "firstMessage", "first_message", "greeting"),
    "mes_example": ("mes_example", "example_dialogue", "sampleChat", "exampleMessage", "customDialogue", "definition"),
    "alternate_greetings": ("alternate_greetings", "alternateGreetings"),
    "creator_notes": ("creator_notes", "creatorNotes", "creatorcomment"),
    "system_prompt": ("system_prompt", "systemPrompt", "basePrompt"),
    "post_history_instructions": ("post_history_instructions", "postHistoryInstructions", "replaceGlobalNote"),
    "character_book": ("character_book", "characterBook", "globalLore", "loreItems"),
    "character_version": ("character_version", "characterVersion"),
    "creator": ("creator",),
    "tags": ("tags",),
    "nickname": ("nickname",),
}
# Keys that only cards of these programs have.
_PROGRAMS: tuple[tuple[str, frozenset[str]], ...] = (
    ("agnai", frozenset({"sampleChat"})),
    ("backyard", frozenset({"aiPersona", "aiDisplayName", "customDialogue", "aiName"})),
    ("risuai", frozenset({"firstMessage", "exampleMessage", "globalLore", "desc"})),
    ("characterai", frozenset({"participant__name", "definition"})),
    ("pygmalion", frozenset({"char_name", "char_persona", "char_greeting", "world_scenario", "example_dialogue"})),
    ("textgen", frozenset({"context"})),
)
_PROGRAMS_KEYS = dict(_PROGRAMS)
_BACKYARD_MACRO = re.compile(r"#?(?<!\{)\{(character|user)\}(?!\})", re.IGNORECASE)
_SPOKEN = re.compile(r"^\s*(?:\{\{(?:char|user|random_user_\d+)\}\}|[^:\n]{1,40})\s*:", re.IGNORECASE)


def program_of(data: Mapping[str, Any]) -> str:
    """The program that wrote a card in keys of its own; empty for a card V1 to V3 and for our own roles."""
    inner = data.get("character")
    if isinstance(inner, dict) and _PROGRAMS_KEYS["backyard"] & inner.keys():
        return "backyard"
    if isinstance(inner, dict) and {"definition", "greeting"} & inner.keys():
        return "characterai"
    if data.get("kind") == "character" and "persona" in data:
        return "agnai"
    if "spec" in data or "first_mes" in data:
        return ""
    return next((name for name, keys in _PROGRAMS if keys & data.keys()), "")


def card_v2(data: Mapping[str, Any], program: str) -> dict[str, Any]:
    """A card of another program as a character card V2.

    Args:
        data: the card.
        program: see :func:`program_of`.
    """
    if program in ("characterai", "backyard") and isinstance(data.get("character"), dict):
        data = data["character"]
    if program == "backyard":
        data = {key: _with_macros(value) for key, value in data.items()}
    used: set[str] = set()
    card: dict[str, Any] = {}
    for key, names in _ALTERNATIVES.items():
        for name in names:
            if data.get(name) not in (None, "", [], {}) and not isinstance(data[name], dict | bool | int | float):
                card[key] = data[name]
                used.add(name)
                break
    extensions: dict[str, Any] = dict(data["extensions"]) if isinstance(data.get("extensions"), dict) else {}
    used.add("extensions")
    if program == "agnai":
        _read_agnai(data, card, used)
    elif program == "characterai":
        _read_characterai(data, card)
    elif program == "risuai" and isinstance(data.get("additionalText"), str) and data["additionalText"].strip():
        card["description"] = "\n".join(filter(None, [str(card.get("description", "")), data["additionalText"]]))
        used.add("additionalText")
    insert = data.get("depth_prompt") if program == "risuai" else data.get("insert")
    if isinstance(insert, dict) and insert.get("prompt"):
        extensions["depth_prompt"] = {"role": "system", **insert}
        used.add("depth_prompt" if program == "risuai" else "insert")
    rest = {key: value for key, value in data.items() if key not in used and value not in (None, "", [], {})}
    if rest:
        extensions[program] = rest
    texts = dict.fromkeys(("name", "description", "personality", "scenario", "first_mes", "mes_example"), "")
    return {"spec": "chara_card_v2", "spec_version": "2.0", "data": texts | card | {"extensions": extensions}}


def _with_macros(value: Any) -> Any:
    """A value of a card of Backyard AI, with ``{{char}}`` for ``{character}`` and ``#{character}``."""
    if isinstance(value, str):
        return _BACKYARD_MACRO.sub(lambda m: "{{user}}" if m.group(1).lower() == "user" else "{{char}}", value)
    if isinstance(value, dict):
        return {key: _with_macros(item) for key, item in value.items()}
    return [_with_macros(item) for item in value] if isinstance(value, list) else value


def _read_agnai(data: Mapping[str, Any], card: dict[str, Any], used: set[str]) -> None:
    """Agnai's persona is the description of the character; its description is a note for users."""
    persona = data.get("persona")
    attributes = persona.get("attributes") if isinstance(persona, dict) else None
    if isinstance(attributes, dict):
        used.add("persona")
        card["description"] = "\n".join(
            text if key == "text" else f"{key}: {text}"
            for key, values in attributes.items()
            if (text := ", ".join(map(str, values)) if isinstance(values, list) else str(values or ""))
        )
    elif isinstance(persona, str):
        card["description"] = persona
    if isinstance(data.get("description"), str):
        card.setdefault("creator_notes", data["description"])
        used.add("description")
    book = data.get("characterBook")
    if isinstance(book, dict):
        card["character_book"] = book
        used.add("characterBook")


def _read_characterai(data: Mapping[str, Any], card: dict[str, Any]) -> None:
    """Character.AI's definition is free text: lines of dialogue, or a description."""
    definition = data.get("definition")
    short = [text for key in ("title", "description") if isinstance(text := data.get(key), str) and text.strip()]
    if isinstance(definition, str) and definition.strip() and not _SPOKEN.match(definition):
        card.pop("mes_example", None)
        short.append(definition)
    card["description"] = "\n".join(dict.fromkeys(short))
