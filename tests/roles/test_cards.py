"""Character cards V1, V2 and V3, as JSON and PNG, round-trip without losing a key; hostile files are one error."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egosrag.errors import RoleError
from egosrag.limits import CARD_BYTES
from egosrag.prompts import render
from egosrag.roles import png
from egosrag.roles.cards import card_from_role, role_fields
from egosrag.roles.files import load_role, save_role
from egosrag.schema import Persona, Role

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAME = TEXT.filter(lambda text: bool(text.strip()))
ENTRY = st.fixed_dictionaries(
    {"keys": st.lists(TEXT, max_size=3), "content": TEXT, "extensions": st.dictionaries(TEXT, ANY, max_size=2)},
    optional={
        "enabled": st.booleans(), "insertion_order": st.integers(-9, 9), "constant": st.none() | st.booleans(),
        "id": ANY, "case_sensitive": st.none() | st.booleans(), "position": TEXT, "use_regex": st.booleans(),
    },
)  # fmt: skip
BOOK = st.fixed_dictionaries(
    {"entries": st.lists(ENTRY, max_size=3)},
    optional={
        "scan_depth": st.none() | st.integers(0, 99),
        "name": TEXT,
        "token_budget": st.integers(0, 9999),
        "x": ANY,
    },
)
UNKNOWN = st.dictionaries(TEXT.map("x_".__add__), ANY, max_size=3)


@st.composite
def character_cards(draw: st.DrawFn) -> dict[str, Any]:
    keys = ("description", "personality", "scenario", "first_mes", "mes_example", "creator_notes", "system_prompt")
    data: dict[str, Any] = {key: draw(TEXT) for key in keys if draw(st.booleans())}
    data["name"] = draw(NAME)
    if draw(st.booleans()):
        data["alternate_greetings"] = draw(st.lists(TEXT, max_size=2))
    if draw(st.booleans()):
        data["character_book"] = draw(BOOK)
    if draw(st.booleans()):
        data["extensions"] = draw(st.dictionaries(TEXT | st.just("egos"), ANY, max_size=3))
    version = draw(st.sampled_from([2, 3]))
    data |= draw(UNKNOWN)
    top = draw(UNKNOWN)
    return {"spec": f"chara_card_v{version}", "spec_version": f"{version}.0", "data": data, **top}


FULL: dict[str, Any] = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "name": "Edda",
    "data": {
        "name": "Edda",
        "description": "{{char}} keeps the lighthouse for {{user}}.",
        "personality": "stubborn",
        "scenario": "",
        "first_mes": "Wipe your feet, {{user}}.",
        "mes_example": "<START>\n{{user}}: Were you a captain?\n{{char}}: I was a cook.\nOn the Swan.\n<START>",
        "alternate_greetings": ["Up again?"],
        "character_book": {"entries": [{"keys": ["lamp"], "content": "The lamp is old.", "x": 1}], "extensions": {}},
        "extensions": {"depth_prompt": {"depth": 4}},
        "unheard_of": [1, 2],
    },
}
OWN = Role.model_validate(
    {
        "name": "Edda",
        "background": [
            {"text": "Edda keeps the light.", "evidence": [{"source": "a", "start": 0, "end": 2, "quote": "Ed"}]}
        ],
        "personality": ["stubborn", "kind"],
        "speaking_style": ["short sentences"],
        "relations": ["Tom is her brother."],
        "sample_dialogue": [{"speaker": "Me", "text": "Who: you?"}, {"speaker": "Edda", "text": "Me."}],
        "greeting": "Yes?",
        "lorebook": {"entries": [{"keys": ["lamp"], "content": "The lamp is old."}]},
        "voice": {"pitch": 3},
    }
)


def role_of(card: dict[str, Any]) -> Role:
    return Role.model_validate(role_fields(card))


@settings(max_examples=150, deadline=None)
@given(character_cards())
def test_an_unchanged_card_round_trips(card: dict[str, Any]) -> None:
    role = role_of(deepcopy(card))
    version = 2 if card["spec"].endswith("2") else 3
    assert card_from_role(role, version) == card
    other = card_from_role(role, 5 - version)  # type: ignore[arg-type]
    assert {key: value for key, value in other["data"].items() if key in card["data"]} == card["data"]
    assert {key for key in card if key not in ("spec", "spec_version")} <= set(other)
    assert other["spec_version"] == f"{5 - version}.0"


@settings(max_examples=60, deadline=None)
@given(card=character_cards())
def test_a_card_round_trips_through_json_and_png(
    card: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cards")
    role = role_of(deepcopy(card))
    save_role(role, folder / "own.json")
    assert load_role(folder / "own.json") == role
    version = 2 if card["spec"].endswith("2") else 3
    save_role(role, folder / "card.json", version=version)
    assert json.loads((folder / "card.json").read_text(encoding="utf-8")) == card
    save_role(role, folder / "card.png")
    again = load_role(folder / "card.png")
    assert card_from_role(again, version)["data"].items() >= card["data"].items()
    hidden = {"character_card"}
    assert again.model_dump(exclude=hidden) == role.model_dump(exclude=hidden)


def test_only_the_fields_that_changed_are_written() -> None:
    role = role_of(FULL).model_copy(update={"greeting": "Oh, {{user}}!"})
    card = card_from_role(role, 2)
    own = card["data"]["extensions"].pop("egos")
    assert own["greeting"] == "Oh, {{user}}!"
    assert card["data"].pop("first_mes") == "Oh, {{user}}!"
    expected = deepcopy(FULL)
    del expected["data"]["first_mes"]
    assert card == expected


@pytest.mark.parametrize("version", [2, 3])
def test_our_own_role_round_trips_through_a_character_card(version: Any) -> None:
    card = card_from_role(OWN, version)
    assert card["data"]["description"] == (
        "Edda keeps the light.\nSpeaking style: short sentences\nRelations: Tom is her brother."
    )
    assert card["data"]["mes_example"] == "<START>\n{{user}}: Who: you?\n{{char}}: Me."
    assert ("group_only_greetings" in card["data"]) == (version == 3)
    again = role_of(json.loads(json.dumps(card)))
    fields = ("name", "background", "personality", "speaking_style", "relations", "sample_dialogue", "greeting")
    for field in fields:
        assert getattr(again, field) == getattr(OWN, field), field
    assert again.model_extra is not None
    assert again.model_extra["voice"] == {"pitch": 3}
    assert again.lorebook is not None
    assert again.lorebook.entries[0].keys == ("lamp",)


def test_changes_by_another_tool_win() -> None:
    card = card_from_role(OWN, 2)
    card["data"]["description"] = "Edda left the light."
    role = role_of(card)
    assert [s.text for s in role.background] == ["Edda left the light."]
    assert role.background[0].evidence == ()
    assert role.relations == ()
    assert role.personality == OWN.personality


def test_a_foreign_extension_of_our_name_is_kept_and_ignored() -> None:
    for egos in ("x", {"name": 3}, {"name": "Tim", "background": [4]}):
        card = deepcopy(FULL)
        card["data"]["extensions"]["egos"] = egos
        role = role_of(card)
        assert [s.text for s in role.background] == ["{{char}} keeps the lighthouse for {{user}}."]
        assert card_from_role(role, 2) == card


def test_a_card_of_version_1_is_read(tmp_path: Path) -> None:
    (tmp_path / "v1.json").write_text(json.dumps({"name": "Tim", "description": "A baker.", "first_mes": "Hi!"}))
    role = load_role(tmp_path / "v1.json")
    assert ([s.text for s in role.background], role.greeting) == (["A baker."], "Hi!")
    card = card_from_role(role, 3)
    assert (card["spec"], card["data"]["description"], card["data"]["creator"]) == ("chara_card_v3", "A baker.", "")


def test_placeholders_are_replaced_when_the_card_is_rendered() -> None:
    role = role_of(FULL)
    assert "Edda keeps the lighthouse for the user." in render.card(role, "en")
    assert 'Me: "Were you a captain?" Edda: "I was a cook. On the Swan."' in render.card(role, "en")
    ann = Persona(name="Ann {{char}}", description="{{user}} sails with {{CHAR}}.\nTim: hm")
    text = render.card(role, "en", ann)
    assert "Edda keeps the lighthouse for Ann {{char}}." in text
    assert text.splitlines()[-1] == "Talks with: Ann {{char}}: Ann {{char}} sails with Edda. Tim: hm"
    assert 'Ann {{char}}: "Were you a captain?"' in text
    assert render.greeting(role, "en") == "Wipe your feet, you."
    assert render.greeting(role, "zh", Persona(name="安")) == "Wipe your feet, 安."
    nicked = role.model_copy(update={"nickname": "Ed", "greeting": "{{char}}{{// hidden }} <USER> {{roll:d1}} {{x}}"})
    assert render.greeting(nicked, "en", Persona(name="Ann")) == "Ed Ann 1 {{x}}"
    assert render.unknown_macros(nicked) == ["{{x}}"]


def test_a_card_without_placeholders_or_persona_is_rendered_as_it_is() -> None:
    assert render.card(Role(name="Tim"), "en") == "Name: Tim"
    assert render.card(Role(name="悟空"), "zh", Persona(name="我")) == "姓名：悟空\n对话者：我"


def chunk(kind: bytes, content: bytes, *, crc: int | None = None, length: int | None = None) -> bytes:
    checked = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content) if length is None else length) + kind + content + struct.pack(">I", checked)


def picture(*extra: bytes) -> bytes:
    blank = png.blank()
    return blank[:-12] + b"".join(extra) + blank[-12:]


def texts_of(data: bytes) -> dict[str, str]:
    """The text chunks of an intact picture by keyword."""
    texts, problems = png.texts(data, 1_000_000)
    assert not problems
    return {keyword: text.decode("latin-1") for keyword, text in texts}


def card_chunk(keyword: bytes, card: object) -> bytes:
    return chunk(b"tEXt", keyword + b"\0" + base64.b64encode(json.dumps(card).encode()))


def test_the_picture_is_kept_and_both_card_chunks_are_written(tmp_path: Path) -> None:
    other = chunk(b"tEXt", b"Comment\0by Ann"), chunk(b"zTXt", b"chara\0\0" + zlib.compress(b"old"))
    source = tmp_path / "in.png"
    source.write_bytes(picture(*other, card_chunk(b"Chara", FULL)) + b"after the end")
    role = load_role(source)
    save_role(role, tmp_path / "out.png", picture=source)
    written = (tmp_path / "out.png").read_bytes()
    kinds = [chunk.kind for chunk in png.chunks(written)]
    assert kinds == [b"IHDR", b"IDAT", b"tEXt", b"tEXt", b"tEXt", b"IEND"]
    texts = texts_of(written)
    assert texts["comment"] == "by Ann"
    assert json.loads(base64.b64decode(texts["chara"])) == FULL
    newer = json.loads(base64.b64decode(texts["ccv3"]))
    assert (newer["spec"], newer["data"]["group_only_greetings"]) == ("chara_card_v3", [])
    save_role(role.model_copy(update={"greeting": "Hm."}), tmp_path / "out.png")
    again = texts_of((tmp_path / "out.png").read_bytes())
    assert again["comment"] == "by Ann"
    assert load_role(tmp_path / "out.png").greeting == "Hm."


def test_the_newer_chunk_is_read(tmp_path: Path) -> None:
    newer = deepcopy(FULL) | {"spec": "chara_card_v3"}
    newer["data"]["name"] = "New"
    (tmp_path / "c.png").write_bytes(picture(card_chunk(b"chara", FULL), card_chunk(b"ccv3", newer)))
    assert load_role(tmp_path / "c.png").name == "New"


def test_written_pictures_open_in_an_image_library(tmp_path: Path) -> None:
    from PIL import Image

    save_role(OWN, tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as image:
        image.load()
        assert image.size == (400, 600)
        assert set(image.info) >= {"chara", "ccv3"}


GOOD = picture(card_chunk(b"chara", FULL))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (picture(), "contains no character card"),
        (picture(chunk(b"tEXt", b"chara\0")), "contains no character card"),
        (picture(chunk(b"zTXt", b"chara\0\0" + zlib.compress(b"A" * 50_000_000))), "unpacks to more than 16 MB"),
        (picture(chunk(b"iTXt", b"chara\0\1\0\0\0" + zlib.compress(b"A" * 50_000_000))), "unpacks to more than 16 MB"),
        (picture(chunk(b"tEXt", b"chara\0" + b"%%%%")), "is not base64"),
        (picture(chunk(b"tEXt", b"chara\0" + base64.b64encode(b"\xff\xfe\xfa"))), "neither UTF-8 text"),
        (picture(card_chunk(b"chara", [1])), "not a JSON object"),
        (picture(card_chunk(b"chara", {"spec": "chara_card_v2"})), 'no "data" object'),
        (picture(card_chunk(b"chara", {"a": 1})), "has no name"),
        (picture(chunk(b"tEXt", b"chara\0aaaa", crc=7)), "checksum of its chunk b'tEXt' is wrong"),
        (picture(chunk(b"tEXt", b"chara\0aaaa", length=0x7FFFFFFF)), "claims 2,147,483,647 bytes, more than the file"),
        (picture(chunk(b"tEXt", b"chara\0aaaa", length=0xFFFFFFFF)), "more than the file"),
        (GOOD[:9], "truncated"),
        (png.SIGNATURE, "truncated"),
        (b"\x89PNG" + b"\xff" * 100, "neither UTF-8 text nor PNG"),
        (b"GIF89a" + b"\xff" * 100, "it is no picture that can be read"),
        (b"\xff\xd8\xff" + b"\xff" * 100, "it is no picture that can be read"),
        (b"RIFF\0\0\0\0WEBP" + b"\xff" * 100, "it is no picture that can be read"),
        (b"PK\x03\x04" + b"\xff" * 100, "it is not a zip file"),
    ],
)
def test_hostile_pictures_are_one_line_of_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(RoleError) as error:
        load_role(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_over_the_size_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(RoleError, match=f"has 50 MB, the limit is {CARD_BYTES // 2**20}"):
        load_role(path)


def test_a_file_that_is_not_a_png_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(b"not a picture")
    with pytest.raises(RoleError, match="it is not a PNG file"):
        save_role(OWN, tmp_path / "out.png", picture=tmp_path / "in.png")
    assert not (tmp_path / "out.png").exists()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_picture_is_read_or_an_error(data: st.DataObject) -> None:
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(8, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
    for keyword, text in png.texts(bytes(content), 1_000_000).texts:
        assert len(keyword) + len(text) < len(content)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["chara", "ccv3", "Comment"]), st.text(st.characters(max_codepoint=255, min_codepoint=1))
    )
)
def test_text_chunks_round_trip(texts: dict[str, str]) -> None:
    once = png.with_texts(GOOD, texts)
    assert texts_of(once) == {**texts_of(GOOD), **{key.lower(): value for key, value in texts.items()}}
    assert png.with_texts(once, texts) == once
    assert [c for c in png.chunks(once) if c.kind == b"IDAT"] == [c for c in png.chunks(GOOD) if c.kind == b"IDAT"]
