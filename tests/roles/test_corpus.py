"""A generated corpus of 700 cards in all formats, intact and damaged: each is read, or is one line of error.

A card that is read is rendered, its lorebook scanned, its notes placed, and it is written as V2 and V3. The fields of
an intact card V2 or V3 are written back as they were read, byte for byte.
"""

from __future__ import annotations

import base64
import json
import os
import zipfile
import zlib
from collections import Counter
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from egosrag.egos.organize import Organize
from egosrag.egos.view import ConversationView
from egosrag.errors import RoleError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.prompts import render
from egosrag.roles.cards import card_from_role
from egosrag.roles.files import load_role, read_role_file, save_role
from egosrag.schema import Persona, Turn
from tests.roles.test_cards import chunk, picture
from tests.roles.test_containers import AGNAI, RISU, backyard

FULL = os.environ.get("EGOSRAG_TEST_PROFILE") == "full"
CARDS = 700 * (10 if FULL else 1)
COUNT = ScriptedChatModel(responses=[]).count_tokens
# What comments say is longer than the free text: hypothesis draws constants of this file as text too.
PIECES = st.sampled_from([
    "{{char}}", "{{user}}", "{{random:a,b}}", "{{pick::Sit::Stand {{user}}}}", "{{roll:1d6}}", "{{// marginalia}}",
    "<START>",
    "{{#if user}}x{{/if}}", "{{getvar::x}}", "\n", '"', "“", "”", "<|im_end|>", "Ilka: ", "罗师傅：", "钟表", "clock ",
    "\0", "{{", "}}", "{{//marginalia}}", "{character}", "#{user}:",
    "{{user}}:\n", "@@depth 4\n", "King’s", "\u200b", "{{time}}", "[x]", "\ud800",
])  # fmt: skip
TEXT = st.lists(PIECES | st.text(max_size=6), max_size=8).map("".join)
ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.lists(TEXT, max_size=2)
    | st.builds(lambda: {"x": [1]})
)
ENTRY = st.fixed_dictionaries(
    {"keys": st.lists(TEXT, max_size=2) | TEXT, "content": TEXT},
    optional={
        "enabled": st.booleans(), "insertion_order": ODD, "constant": ODD, "use_regex": st.booleans(), "position": ODD,
        "extensions": st.dictionaries(
            st.sampled_from(["depth", "position", "probability", "sticky", "cooldown", "delay", "group", "role"]), ODD
        ),
    },
)  # fmt: skip
BOOK = st.fixed_dictionaries({"entries": st.lists(ENTRY, max_size=3)}, optional={"scan_depth": ODD, "name": TEXT})
TEXTS = ("description", "personality", "scenario", "first_mes", "mes_example", "post_history_instructions")


@st.composite
def v2_cards(draw: st.DrawFn) -> dict[str, Any]:
    data: dict[str, Any] = {"name": draw(st.sampled_from(["Ilka", "罗师傅", " Ann  Lee ", "K's"]))}
    data |= {key: draw(TEXT) for key in TEXTS if draw(st.booleans())}
    data["alternate_greetings"] = draw(st.lists(TEXT, max_size=2))
    data["extensions"] = draw(st.dictionaries(st.sampled_from(["depth_prompt", "world", "x"]), ODD, max_size=2))
    if draw(st.booleans()):
        data["character_book"] = draw(BOOK)
    version = draw(st.sampled_from([2, 3]))
    return {"spec": f"chara_card_v{version}", "spec_version": f"{version}.0", "data": data}


FOREIGN = st.sampled_from([
    AGNAI, RISU, backyard(), {"char_name": "Ilka", "char_persona": "x"},
    {"name": "Ilka", "context": "x", "greeting": "y"},
    {"name": "Ilka", "description": "x", "first_mes": "y"}, {"name": "Ilka", "background": ["x"]},
])  # fmt: skip
BYAF = st.fixed_dictionaries(
    {"name": st.sampled_from(["Ilka", "K's"])},
    optional={
        "persona": TEXT, "narrative": TEXT, "displayName": TEXT, "images": ODD,
        "firstMessages": st.lists(st.builds(lambda text: {"text": text}, TEXT), max_size=3),
        "loreItems": st.lists(st.builds(lambda key, text: {"key": key, "value": text}, TEXT, TEXT), max_size=3),
    },
)  # the character and its scenario in one  # fmt: skip
FORMATS = (
    "json",
    "utf-16",
    "gb18030",
    "bom",
    "tEXt",
    "zTXt",
    "iTXt",
    "plain",
    "eXIf",
    "webp",
    "jpg",
    "charx",
    "byaf",
    "yaml",
)


def mutated(draw: st.DrawFn, card: Any) -> Any:
    """The card with one to three values replaced by others."""
    card = deepcopy(card)
    for _ in range(draw(st.integers(1, 3))):
        at = card
        while isinstance(at, dict | list) and at:
            key: Any = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            if not isinstance(at[key], dict | list) or draw(st.booleans()):
                at[key] = draw(ODD)
                break
            at = at[key]
    return card


def packed(card: Any, form: str) -> tuple[str, bytes]:
    """The file of a card: its extension and its content."""
    text = json.dumps(card, ensure_ascii=True)
    data, b64 = text.encode(), base64.b64encode(text.encode())
    if form in ("utf-16", "gb18030"):
        return "json", json.dumps(card).encode(form)
    if form == "bom":
        return "json", b"\xef\xbb\xbf" + data
    if form in ("tEXt", "plain"):
        return "png", picture(chunk(b"tEXt", b"ccv3\0" + (b64.rstrip(b"=") if form == "tEXt" else data)))
    if form == "zTXt":
        return "png", picture(chunk(b"zTXt", b"chara\0\0" + zlib.compress(b64)))
    if form == "iTXt":
        return "png", picture(chunk(b"iTXt", b"chara\0\1\0\0\0" + zlib.compress(b64)))
    if form in ("webp", "jpg", "eXIf"):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + b64
        out = BytesIO()
        kind = {"webp": "WEBP", "jpg": "JPEG", "eXIf": "PNG"}[form]
        Image.new("RGB", (2, 2)).save(out, kind, exif=exif.tobytes())
        return ("png" if form == "eXIf" else form), out.getvalue()
    if form in ("charx", "byaf"):
        out = BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            if form == "byaf":
                archive.writestr("manifest.json", b'{"characters": ["a/b.json"], "scenarios": ["a/b.json"]}')
            archive.writestr("a/b.json" if form == "byaf" else "card.json", data)
        return form, out.getvalue()
    if form == "yaml":
        return form, yaml.safe_dump(json.loads(text.replace("\\ud800", "?"))).encode()
    return form, data


SEEN = Counter[str]()


@pytest.mark.parametrize("form", FORMATS)
@settings(
    max_examples=-(-CARDS // len(FORMATS)), deadline=None,
    derandomize=not FULL, database=None, phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)  # fmt: skip
@given(data=st.data())
def test_no_card_of_the_corpus_gives_a_traceback(form: str, data: st.DataObject, tmp_path: Path) -> None:
    draw = data.draw
    card = draw(BYAF if form == "byaf" else v2_cards() | FOREIGN)
    SEEN["drawn"] += 1
    damage = draw(st.sampled_from(["none", "values", "none", "bytes"]))
    if damage == "values":
        card = mutated(draw, card)  # type: ignore[arg-type]
    extension, content = packed(card, form)
    if damage == "bytes":
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(content) - 1))
            content = content[:at] + draw(st.binary(max_size=4)) + content[at + draw(st.integers(0, 4)) :]
    path = tmp_path / f"card.{extension}"
    path.write_bytes(content)
    try:
        file = read_role_file(path)
    except RoleError as error:
        assert damage != "none", error
        assert str(error) and "\n" not in str(error) and len(str(error)) < 1000
        SEEN["refused"] += 1
        return
    SEEN[form] += 1
    assert all(note and "\n" not in note for note in file.notes)
    role = file.role
    persona = Persona(name="Ann", description="{{user}} of {{char}}")
    turns = tuple(Turn(speaker=speaker, text=text) for speaker, text in (("Ann", "clock King's"), (role.name, "钟表")))
    view = ConversationView(role, (*turns, turns[0]), user="Ann", persona=persona, seed="s")
    composed = Organize(COUNT, 3000, history="multiple").run(view)
    shown = "".join(part.text for part in composed.parts).replace(role.name, "")
    assert composed.tokens <= 3000 and (damage == "bytes" or "marginalia" not in shown)
    assert "\n" not in next(part.text for part in composed.parts if part.name == "line")
    greeting = render.greeting(role, "en", persona)
    assert "{{user}}" not in greeting and (damage == "bytes" or "marginalia" not in greeting)
    for version in (2, 3):
        save_role(role, tmp_path / "out.json", version=version)  # type: ignore[arg-type]
        again = load_role(tmp_path / "out.json", notify=lambda note: None)
        own = {"character_card"} | ({"language"} if role.language is None else set())  # a card's is guessed
        assert again.model_dump(exclude=own) == role.model_dump(exclude=own)
    if damage == "none" and "spec" in card:
        expected = json.loads(json.dumps(card), parse_constant=lambda text: None)
        if "\\ud800" not in json.dumps(card) and form != "yaml":
            version = int(card["spec"][-1])
            assert json.dumps(card_from_role(role, version)) == json.dumps(_finite(expected))  # type: ignore[arg-type]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


def test_every_format_was_read() -> None:
    """Must run behind the test above."""
    if not SEEN:
        pytest.skip("the corpus was not drawn")
    assert SEEN["drawn"] >= CARDS and all(SEEN[form] >= 15 for form in FORMATS), SEEN
    assert SEEN["refused"] < CARDS // 2, SEEN
