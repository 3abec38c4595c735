"""What a card can be in: PNG chunks of all kinds, WebP and JPEG, CHARX, YAML, JSON in other encodings and keys."""

from __future__ import annotations

import base64
import json
import zipfile
import zlib
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from egosrag.errors import RoleError
from egosrag.roles import png
from egosrag.roles.files import RoleFile, load_role, read_role_file, save_role
from egosrag.roles.pictures import as_png, extension_of
from egosrag.schema import Role
from tests.roles.test_cards import FULL, chunk, picture

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "cards"
JSON = json.dumps(FULL, ensure_ascii=False).encode()
B64 = base64.b64encode(JSON)


def read(tmp_path: Path, content: bytes, name: str = "card.png") -> RoleFile:
    (tmp_path / name).write_bytes(content)
    return read_role_file(tmp_path / name)


def itxt(text: bytes, compressed: bool) -> bytes:
    return chunk(
        b"iTXt", b"chara\0" + bytes([compressed, 0]) + b"en\0k\0" + (zlib.compress(text) if compressed else text)
    )


@pytest.mark.parametrize(
    "content",
    [
        chunk(b"tEXt", b"chara\0" + B64),
        chunk(b"zTXt", b"chara\0\0" + zlib.compress(B64)),
        itxt(B64, False),
        itxt(B64, True),
        itxt(JSON, True),
        chunk(b"tEXt", b"CHARA\0" + B64.rstrip(b"=")),
        chunk(b"tEXt", b"chara\0" + b"\r\n".join(B64[n : n + 76] for n in range(0, len(B64), 76))),
        chunk(b"tEXt", b"chara\0" + base64.urlsafe_b64encode(JSON)),
        chunk(b"tEXt", b"chara\0data:application/json;base64," + B64),
        chunk(b"tEXt", b"chara\0" + JSON),
        chunk(b"tEXt", b"chara\0\xef\xbb\xbf" + JSON),
        chunk(b"tEXt", b"chara\0" + base64.b64encode(json.dumps(FULL).encode("utf-16"))),
        chunk(b"tEXt", b"chara\0" + base64.b64encode(JSON + b"\0\0")),
        chunk(b"tEXt", b"ccv3\0") + chunk(b"tEXt", b"chara\0" + B64),
    ],
)  # fmt: skip
def test_every_kind_of_chunk_is_read(content: bytes, tmp_path: Path) -> None:
    file = read(tmp_path, picture(content))
    assert file.role.greeting == FULL["data"]["first_mes"]
    assert (file.format, file.notes) == ("character card V2 in png", ())
    assert file.picture == (tmp_path / "card.png").read_bytes()


def test_a_damaged_picture_is_read_and_the_damage_named(tmp_path: Path) -> None:
    wrong = read(tmp_path, picture(chunk(b"tEXt", b"chara\0" + B64, crc=7)))
    assert (wrong.role.name, wrong.notes) == ("Edda", ("the checksum of its chunk b'tEXt' is wrong",))
    cut = read(tmp_path, picture(chunk(b"tEXt", b"chara\0" + B64))[:-12])
    assert (cut.role.name, cut.notes) == ("Edda", ("it is truncated",))
    notes: list[str] = []
    load_role(tmp_path / "card.png", notify=notes.append)
    assert notes == [f"{tmp_path / 'card.png'}: it is truncated"]
    (tmp_path / "wrong.png").write_bytes(picture(chunk(b"tEXt", b"x\0y", crc=7)))
    save_role(wrong.role, tmp_path / "out.png", picture=tmp_path / "wrong.png")
    assert read_role_file(tmp_path / "out.png").notes == ()


def test_the_second_chunk_is_read_where_the_first_is_broken(tmp_path: Path) -> None:
    file = read(tmp_path, picture(chunk(b"tEXt", b"chara\0" + B64), chunk(b"tEXt", b"ccv3\0!!!")))
    assert file.role.name == "Edda"
    assert file.notes == ("the card in its chunk ccv3 cannot be read, the next one is",)


def exif(comment: bytes, tag: int = 0x9286) -> Image.Exif:
    data = Image.Exif()
    if tag == 0x9286:
        data.get_ifd(0x8769)[tag] = comment
    else:
        data[tag] = comment.decode()
    return data


def test_cards_of_a_picture_that_differ_are_named(tmp_path: Path) -> None:
    def both(other: dict[str, Any]) -> RoleFile:
        ccv3 = chunk(b"tEXt", b"ccv3\0" + base64.b64encode(json.dumps(other).encode()))
        return read(tmp_path, picture(chunk(b"tEXt", b"chara\0" + B64) + ccv3))

    newer = deepcopy(FULL) | {"spec": "chara_card_v3", "spec_version": "3.0"}
    newer["data"]["group_only_greetings"] = []
    assert both(newer).notes == ()
    newer["data"]["description"] = "Another one."
    file = both(newer)
    assert file.role.background[0].text == "Another one."
    assert file.notes == ("it contains cards that differ: the one in its chunk ccv3 is read",)


@pytest.mark.parametrize("content", [[FULL], json.dumps(FULL)])
def test_a_card_in_a_list_or_written_as_json_twice(content: Any, tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps(content).encode(), "card.json").role.name == "Edda"


@pytest.mark.parametrize("kind", ["WEBP", "JPEG"])
@pytest.mark.parametrize(
    "data",
    [
        exif(JSON), exif(b"ASCII\0\0\0" + JSON), exif(b"UNICODE\0" + json.dumps(FULL).encode("utf-16-be")),
        exif(B64), exif(",".join(map(str, JSON)).encode()), exif(JSON, 0x010E),
    ],
)  # fmt: skip
def test_webp_and_jpeg_have_the_card_in_exif(kind: str, data: Image.Exif, tmp_path: Path) -> None:
    out = BytesIO()
    Image.new("RGB", (4, 6), "red").save(out, kind, exif=data)
    file = read(tmp_path, out.getvalue(), f"card.{kind.lower()}")
    assert file.role.greeting == FULL["data"]["first_mes"]
    assert file.picture == out.getvalue()
    save_role(file.role, tmp_path / "out.png", picture=tmp_path / f"card.{kind.lower()}")
    again = read_role_file(tmp_path / "out.png")
    assert again.picture is not None
    assert Image.open(BytesIO(again.picture)).size == (4, 6)
    assert again.role.greeting == file.role.greeting


def backyard() -> dict[str, Any]:
    return {"character": {
        "aiName": "Ilka", "aiDisplayName": "Ilka, Clockmaker", "aiPersona": "{character} mends clocks for {user}.",
        "scenario": "{{user}} enters {character}'s shop.", "firstMessage": "You are late, {user}.", "basePrompt": "x",
        "customDialogue": "#{user}: Open?\n#{character}: Always.", "isNSFW": False, "temperature": 1.2,
        "loreItems": [{"id": "1", "order": "1", "key": "gear, cog", "value": "{character}'s gears are brass."}],
    }, "version": 4}  # fmt: skip


def is_backyards(role: Role) -> None:
    assert role.name == "Ilka"
    assert [s.text for s in role.background] == [
        "{{char}} mends clocks for {{user}}.",
        "{{user}} enters {{char}}'s shop.",
    ]
    assert role.greeting == "You are late, {{user}}."
    assert [(line.speaker, line.text) for line in role.sample_dialogue] == [
        ("{{user}}", "Open?"), ("{{char}}", "Always."),
    ]  # fmt: skip
    assert role.lorebook is not None
    assert [(e.keys, e.content) for e in role.lorebook.entries] == [(("gear", "cog"), "{{char}}'s gears are brass.")]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "AVIF"])
def test_backyards_cards_are_in_the_exif_data_of_pictures(kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + base64.b64encode(json.dumps(backyard()).encode())
    out = BytesIO()
    Image.new("RGB", (4, 6), "red").save(out, kind, exif=exif.tobytes())
    file = read(tmp_path, out.getvalue(), f"card.{kind.lower()}")
    assert (file.format, file.picture) == (f"backyard in {kind.lower().replace('jpeg', 'jpg')}", out.getvalue())
    is_backyards(file.role)
    is_backyards(read(tmp_path, json.dumps(backyard()).encode(), "card.json").role)


def test_windows_comment_of_a_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x9C9C] = JSON.decode().encode("utf-16-le")
    out = BytesIO()
    Image.new("RGB", (4, 6), "red").save(out, "JPEG", exif=exif.tobytes())
    assert read(tmp_path, out.getvalue(), "card.jpg").role.greeting == FULL["data"]["first_mes"]


def byaf(**changed: Any) -> bytes:
    card = backyard()["character"]
    scenario = {
        "narrative": card["scenario"], "firstMessages": [{"characterID": "1", "text": card["firstMessage"]}],
        "exampleMessages": [{"text": line} for line in card["customDialogue"].split("\n")], "messages": [],
    }  # fmt: skip
    files: dict[str, Any] = {
        "manifest.json": {"schemaVersion": 1, "characters": ["characters/1/character.json"],
                          "scenarios": ["scenarios/a.json", "scenarios/b.json", "scenarios/none.json"]},
        "characters/1/character.json": {"name": "Ilka", "displayName": "Ilka, Clockmaker", "persona": card["aiPersona"],
                                        "loreItems": card["loreItems"], "images": [{"path": "images/m%201.png"}]},
        "scenarios/a.json": scenario,
        "scenarios/b.json": {"firstMessages": [{"text": "Sit, {user}."}]},
    }  # fmt: skip
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (files | {name.replace("_", "/"): value for name, value in changed.items()}).items():
            archive.writestr(name, json.dumps(content))
        archive.writestr("characters/1/images/m 1.png", png.blank())
    return out.getvalue()


def test_backyards_archive_has_the_greetings_of_its_scenarios(tmp_path: Path) -> None:
    file = read(tmp_path, byaf(), "card.byaf")
    is_backyards(file.role)
    assert (file.format, file.picture) == ("backyard in byaf", png.blank())
    assert file.role.alternate_greetings == ("Sit, {{user}}.",)
    save_role(file.role, tmp_path / "out.charx", picture=tmp_path / "card.byaf")
    again = read_role_file(tmp_path / "out.charx")
    is_backyards(again.role)
    assert (again.picture, again.assets) == (png.blank(), 1)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [({}, "names no character"), ({"characters": ["../x.json", 3]}, "names no character"), ([1], "names no character"),
     ({"characters": ["manifest.json"]}, "has no name")],
)  # fmt: skip
def test_a_damaged_archive_of_backyard_is_one_line_of_error(manifest: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(RoleError, match=message) as error:
        read(tmp_path, byaf(**{"manifest.json": manifest}), "card.byaf")
    assert "\n" not in str(error.value)


def test_a_bomb_of_many_scenarios_is_not_unpacked(tmp_path: Path) -> None:
    names = [f"scenarios/{n}.json" for n in range(30)]
    manifest = {"characters": ["characters/1/character.json"], "scenarios": names}
    big = {"firstMessages": [{"text": "A" * 1_000_000}]}
    with pytest.raises(RoleError, match="unpack to more than 16 MB"):
        read(tmp_path, byaf(**{"manifest.json": manifest} | dict.fromkeys(names, big)), "card.byaf")


def test_a_jpeg_has_the_card_in_its_comment(tmp_path: Path) -> None:
    out = BytesIO()
    Image.new("RGB", (4, 6)).save(out, "JPEG", comment=JSON)
    assert read(tmp_path, out.getvalue(), "card.jpg").role.name == "Edda"


def charx(card: Any = None, **files: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("card.json", JSON if card is None else json.dumps(card))
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_png", ".png"), content)
    return out.getvalue()


def with_assets() -> dict[str, Any]:
    card = deepcopy(FULL) | {"spec": "chara_card_v3", "spec_version": "3.0"}
    card["data"]["assets"] = [
        {"type": "icon", "uri": "embeded://assets/icon/b.png", "name": "happy", "ext": "png"},
        {"type": "icon", "uri": "embeded://assets/icon/a.png", "name": "main", "ext": "png"},
    ]
    return card


def test_charx_has_a_card_and_assets(tmp_path: Path) -> None:
    first, second = png.blank(), as_png(picture())
    content = charx(with_assets(), assets__icon__a_png=first, assets__icon__b_png=b"no picture", module_risum=b"\0x")
    file = read(tmp_path, content, "card.charx")
    assert (file.role.name, file.format, file.assets) == ("Edda", "character card V3 in charx", 3)
    assert file.picture == first == second
    save_role(file.role, tmp_path / "again.charx", picture=tmp_path / "card.charx")
    with zipfile.ZipFile(tmp_path / "again.charx") as archive:
        assert json.loads(archive.read("card.json")) == with_assets()
        assert archive.read("assets/icon/a.png") == first
        assert archive.read("module_risum") == b"\0x"
    save_role(file.role, tmp_path / "own.png", picture=tmp_path / "card.charx")
    assert read_role_file(tmp_path / "own.png").role.name == "Edda"
    assert read(tmp_path, b"\xff\xd8\xff\xe0 a picture" + content, "card.jpeg").role.name == "Edda"


def test_a_charx_file_packed_by_hand_has_its_card_in_a_folder(tmp_path: Path) -> None:
    card = with_assets()
    card["data"]["assets"][0]["uri"] = "embedded://Assets/my%20icon.PNG"
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("deeper/in/card.json", json.dumps({"name": "Other"}))
        archive.writestr("Edda/Card.json", json.dumps(card))
        archive.writestr("Edda/assets/my icon.png", png.blank())
    file = read(tmp_path, out.getvalue(), "card.charx")
    assert (file.role.name, file.picture) == ("Edda", png.blank())
    save_role(file.role, tmp_path / "again.charx", picture=tmp_path / "card.charx")
    again = read_role_file(tmp_path / "again.charx")
    assert (again.role.name, again.picture) == ("Edda", png.blank())


def test_a_picture_becomes_the_icon_of_a_charx_file(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(png.blank())
    save_role(load_role(read_path(tmp_path)), tmp_path / "out.charx", picture=tmp_path / "in.png")
    file = read_role_file(tmp_path / "out.charx")
    assert (file.picture, file.assets) == (png.blank(), 1)


def read_path(tmp_path: Path) -> Path:
    (tmp_path / "full.json").write_bytes(JSON)
    return tmp_path / "full.json"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (charx()[:-30], "is not a zip file"),
        (charx(card=[1]), "is not a JSON object"),
        (charx(card={"spec": "chara_card_v3"}), 'no "data" object'),
        (b"PK\x03\x04" + b"\0" * 100, "is not a zip file"),
    ],
)
def test_a_damaged_charx_file_is_one_line_of_error(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(RoleError, match=message) as error:
        read(tmp_path, content, "card.charx")
    assert "\n" not in str(error.value)


def test_a_charx_bomb_is_not_unpacked(tmp_path: Path) -> None:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("card.json", b'{"name": "' + b"A" * 40_000_000 + b'"}')
    with pytest.raises(RoleError, match="unpacks to more than 16 MB"):
        read(tmp_path, out.getvalue(), "card.charx")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"])
def test_json_is_read_in_every_encoding(encoding: str, tmp_path: Path) -> None:
    text = json.dumps({"name": "罗师傅", "description": "他在镇上修钟表，话不多。"}, ensure_ascii=False)
    assert read(tmp_path, text.encode(encoding), "card.json").role.name == "罗师傅"


def test_yaml_of_text_generation_webui(tmp_path: Path) -> None:
    text = "name: Ilka\ngreeting: |-\n  You are late.\n  Sit.\ncontext: |-\n  Ilka mends clocks.\nborn: 2001-02-03\n"
    file = read(tmp_path, text.encode(), "ilka.yaml")
    assert (file.role.name, file.role.greeting, file.format) == ("Ilka", "You are late.\nSit.", "textgen")
    assert [s.text for s in file.role.background] == ["Ilka mends clocks."]
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"b{n}: &b{n} [*a,*a,*a,*a]\n" for n in range(9))
    for hostile in (bomb, "name: !!python/object/apply:os.system ['true']", "{" * 3000, "- a", "name: [", "\t"):
        with pytest.raises(RoleError) as error:
            read(tmp_path, hostile.encode(), "bad.yml")
        assert "\n" not in str(error.value)


AGNAI = {
    "kind": "character", "name": "Ilka", "description": "made for a test", "greeting": "You are late.",
    "persona": {"kind": "attributes", "attributes": {"trade": ["clockmaker"], "mood": ["dry", "kind"]}},
    "sampleChat": "{{user}}: Open?\n{{char}}: Always.", "scenario": "a shop", "alternateGreetings": ["Well?"],
    "insert": {"depth": 3, "prompt": "Ilka is tired."}, "culture": "en-us",
    "characterBook": {"kind": "memory", "entries": [{"name": "g", "entry": "Gears are brass.", "keywords": ["gear"],
                                                     "priority": 3, "weight": 1, "enabled": True}]},
}  # fmt: skip
RISU = {
    "type": "character", "name": "Ilka", "firstMessage": "You are late.", "desc": "Ilka mends clocks.",
    "exampleMessage": "{{user}}: Open?\n{{char}}: Always.", "scenario": "a shop", "alternateGreetings": ["Well?"],
    "globalLore": [{"key": "gear, cog", "secondkey": "", "insertorder": 7, "comment": "g", "mode": "normal",
                    "content": "Gears are brass.", "alwaysActive": False, "selective": False}],
    "depth_prompt": {"depth": 3, "prompt": "Ilka is tired."},
}  # fmt: skip


@pytest.mark.parametrize(
    ("card", "program"),
    [
        ({"char_name": "Ilka", "char_persona": "Ilka mends clocks.", "char_greeting": "You are late.",
          "world_scenario": "a shop", "example_dialogue": "{{user}}: Open?\n{{char}}: Always."}, "pygmalion"),
        (AGNAI, "agnai"),
        (RISU, "risuai"),
        ({"character": {"name": "Ilka", "title": "Ilka mends clocks.", "greeting": "You are late.",
                        "definition": "{{user}}: Open?\n{{char}}: Always.", "description": ""}}, "characterai"),
        ({"aiName": "Ilka", "aiDisplayName": "Ilka", "aiPersona": "Ilka mends clocks.", "scenario": "a shop",
          "firstMessage": "You are late.", "customDialogue": "{{user}}: Open?\n{{char}}: Always."}, "backyard"),
        ({"name": "Ilka", "context": "Ilka mends clocks.", "greeting": "You are late.",
          "example_dialogue": "{{user}}: Open?\n{{char}}: Always."}, "pygmalion"),
    ],
)  # fmt: skip
def test_the_keys_of_other_programs(card: dict[str, Any], program: str, tmp_path: Path) -> None:
    file = read(tmp_path, json.dumps(card).encode(), "card.json")
    role = file.role
    assert (role.name, role.greeting, file.format) == ("Ilka", "You are late.", program)
    assert [line.text for line in role.sample_dialogue] == ["Open?", "Always."]
    assert role.background and ("clock" in role.background[0].text)
    if "alternateGreetings" in card:
        assert role.alternate_greetings == ("Well?",)
        assert role.lorebook is not None
        assert role.lorebook.entries[0].content == "Gears are brass."
        assert role.lorebook.entries[0].keys[0] == "gear"
    save_role(role, tmp_path / "again.json", version=2)
    again = load_role(tmp_path / "again.json")
    assert again.model_dump() == role.model_dump()


def test_a_card_without_a_name_gets_that_of_its_file(tmp_path: Path) -> None:
    file = read(
        tmp_path, b'{"spec": "chara_card_v2", "data": {"description": "Mends clocks.", "name": ""}}', "Ilka.json"
    )
    assert file.role.name == "Ilka" and "no name" in file.notes[0]


def test_a_picture_beside_a_card_is_its_picture(tmp_path: Path) -> None:
    (tmp_path / "ilka.png").write_bytes(png.blank())
    assert read(tmp_path, JSON, "ilka.json").picture == png.blank()
    assert extension_of(png.blank()) == "png"


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not on this machine")
def test_the_shared_cases_are_read() -> None:
    for file in sorted(CASES.iterdir()):
        assert read_role_file(file).role.name == "Ilka" or file.name == "pil_zip.png", file.name
