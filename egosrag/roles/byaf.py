"""Backyard AI's archives (BYAF): a zip with ``manifest.json``, a character, and scenarios with its greetings.

Format: backyard-ai/byaf (its JSON schemas): the manifest has the paths of the character and of the scenarios; the
pictures of a character are beside it. Of several characters the first is read.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MANIFEST = "manifest.json"
Read = Callable[[str], dict[str, Any]]
"""The object in the JSON file of that name in the archive; empty where there is none."""


def card_of(manifest: Mapping[str, Any], read: Read) -> dict[str, Any]:
    """The character and its scenarios as a card in the keys that Backyard AI has in its pictures.

    The first scenario is that of the card; the greetings of the others are alternate ones.

    Args:
        manifest: the archive's manifest.
        read: reads a file of the archive.

    Raises:
        ValueError: it names no character.
    """
    path = character_path(manifest)
    if not path or not (character := read(path)):
        raise ValueError(f"its {MANIFEST} names no character")
    scenarios = [read(name) for name in _names(manifest.get("scenarios"))]
    first = scenarios[0] if scenarios else {}
    greetings = [text for scenario in scenarios for text in _texts(scenario.get("firstMessages"))]
    card = {
        "aiName": character.get("name"),
        "aiDisplayName": character.get("displayName"),
        "aiPersona": character.get("persona"),
        "scenario": first.get("narrative"),
        "firstMessage": greetings[0] if greetings else None,
        "alternateGreetings": greetings[1:],
        "customDialogue": "\n<START>\n".join(_texts(first.get("exampleMessages"))),
        "basePrompt": first.get("formattingInstructions"),
        "loreItems": character.get("loreItems"),
        "manifest": {key: manifest[key] for key in ("author", "createdAt") if key in manifest},
    }
    return {"character": card}


def character_path(manifest: Mapping[str, Any]) -> str:
    """The path of the first character; empty where there is none."""
    return next(_names(manifest.get("characters")), "")


def picture_paths(character: str, data: Mapping[str, Any]) -> Iterator[str]:
    """The paths of a character's pictures, the main one first.

    Args:
        character: the path of the character.
        data: the character.
    """
    images = data.get("images")
    for image in images if isinstance(images, list) else ():
        if isinstance(image, dict) and isinstance(path := image.get("path"), str):
            yield posixpath.join(posixpath.dirname(character), path)


def _names(value: Any) -> Iterator[str]:
    return (name for name in value if isinstance(name, str)) if isinstance(value, list) else iter(())


def _texts(value: Any) -> list[str]:
    """The texts of a list of messages, which are objects."""
    rows = value if isinstance(value, list) else []
    return [row["text"] for row in rows if isinstance(row, dict) and isinstance(row.get("text"), str) and row["text"]]
