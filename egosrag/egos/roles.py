"""Role cards in and out: our own JSON, and character cards V2 and V3 (JSON), without losing unknown fields.

Specifications: malfoyslastname/character-card-spec-v2 (spec_v2.md), kwaroran/character-card-spec-v3 (SPEC_V3.md).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from egosrag.errors import RoleError
from egosrag.prompts.render import USER, language_of
from egosrag.schema import Role

SPECS = ("chara_card_v2", "chara_card_v3")
_USER = {"en": "the user", "zh": "用户"}
_LINE = re.compile(r"^\s*(\{\{user\}\}|\{\{char\}\}|[^:：\n]{1,40}?)\s*[:：]\s*(.+)$", re.IGNORECASE)


def load_role(path: str | Path) -> Role:
    """The role card at ``path``: ours (``{"name": ...}`` is enough) or a character card V2 or V3 as JSON.

    Keys that are not known are kept in the card and written back by :func:`save_role`.

    Raises:
        RoleError: there is no such file, or it is not a role card.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RoleError(f"the role card {path} is not UTF-8 text: save it as JSON in UTF-8") from error
    except OSError as error:
        raise RoleError(
            f"the role card {path} cannot be read ({error.strerror}): give the path of a JSON file"
        ) from error
    if not text.strip():
        raise RoleError(f'the role card {path} is empty: write at least {{"name": "..."}}')
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RoleError(f"the role card {path} is not JSON ({error}): mend it there") from error
    if not isinstance(data, dict):
        raise RoleError(f'the role card {path} is not a JSON object: write at least {{"name": "..."}}')
    if data.get("spec") in SPECS:
        if not isinstance(data.get("data"), dict):
            raise RoleError(f'the character card {path} has no "data" object: export it again')
        data = _from_character(data)
    try:
        return Role.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if where == "name":
            raise RoleError(f'the role card {path} has no name: add "name": "..."') from error
        raise RoleError(f"the role card {path} cannot be used: {where}: {first['msg']}; mend it there") from error


def save_role(role: Role, path: str | Path) -> None:
    """Writes ``role`` as our JSON, in one go: a failure leaves what stood at ``path`` before.

    Raises:
        RoleError: the file cannot be written.
    """
    path = Path(path)
    text = json.dumps(_plain(role), ensure_ascii=False, indent=2) + "\n"
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as file:
            temporary = file.name
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)
        raise RoleError(f"the role card {path} cannot be written ({error.strerror}): give another path") from error


def _plain(role: Role) -> dict[str, Any]:
    """The card as JSON; a statement that has no evidence is written as the string that it may be read from."""
    data = role.model_dump(mode="json", exclude_defaults=True)
    for key in ("background", "personality", "speaking_style", "relations"):
        if key in data:
            data[key] = [s["text"] if set(s) == {"text"} else s for s in data[key]]
    return data


def _from_character(card: dict[str, Any]) -> dict[str, Any]:
    """A character card as our fields; the whole card is kept beside them, so that nothing of it is lost."""
    data = card["data"]
    name = str(data.get("name") or "")
    language = language_of("".join(str(data.get(key) or "") for key in ("description", "personality", "first_mes")))
    told = {
        key: _filled(data.get(key), name, language) for key in ("description", "scenario", "personality", "first_mes")
    }
    return {
        "name": name,
        "background": [told[key] for key in ("description", "scenario") if told[key]],
        "personality": [told["personality"]] if told["personality"] else [],
        "sample_dialogue": _dialogue(str(data.get("mes_example") or ""), name, language),
        "greeting": told["first_mes"] or None,
        "character_card": card,
    }


def _filled(value: Any, name: str, language: str) -> str:
    """A text of a character card, its macros for the two names replaced."""
    text = re.sub(r"\{\{char\}\}|<BOT>", lambda _: name, str(value or ""), flags=re.IGNORECASE)
    return re.sub(r"\{\{user\}\}|<USER>", _USER[language], text, flags=re.IGNORECASE).strip()


def _dialogue(example: str, name: str, language: str) -> list[dict[str, str]]:
    speakers = {"{{char}}": name, "{{user}}": USER[language]}
    found = (_LINE.match(line) for line in example.splitlines())
    return [
        {"speaker": speakers.get(m.group(1).lower(), m.group(1)), "text": _filled(m.group(2), name, language)}
        for m in found
        if m
    ]
