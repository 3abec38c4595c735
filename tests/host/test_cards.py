"""A visitor's roles: uploaded, extracted, edited, taken out again."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest

from egosrag.console import Reporter
from egosrag.errors import RoleError, SourceError
from egosrag.host import cards
from egosrag.host.edit import as_texts, edited
from egosrag.host.uploads import Upload, keep
from egosrag.host.visitors import Visitor, new_token, visitor_of
from egosrag.models.scripted import ScriptedChatModel
from egosrag.roles.files import load_role, save_role
from egosrag.roles.png import SIGNATURE, blank
from egosrag.schema import Evidence, Role, Statement
from egosrag.settings import Settings


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    return visitor_of(new_token(), tmp_path)


def given(visitor: Visitor, name: str, data: bytes | str) -> Upload:
    return keep(visitor, name, data.encode() if isinstance(data, str) else data, cards.ENDINGS)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_the_samples_are_there_for_everybody_those_of_the_language_first(visitor: Visitor) -> None:
    assert [kept.id for kept in cards.roles(visitor, "zh")][0].endswith(".zh")
    edda = cards.find(visitor, "edda.en")
    assert (edda.name, edda.own) == ("Edda", False)
    assert [path.name for path in edda.sources] == ["edda.en.txt"]
    cards.remove(visitor, edda)
    assert edda.path.is_file()


def test_an_uploaded_card_is_the_visitors_alone(visitor: Visitor, tmp_path: Path) -> None:
    kept = cards.add(visitor, given(visitor, "tim.json", '{"name": "Tim"}'))
    assert kept.own and kept.name == "Tim"
    assert cards.roles(visitor, "en")[0] == kept == cards.find(visitor, kept.id)
    other = visitor_of(new_token(), tmp_path)
    assert kept.id not in [role.id for role in cards.roles(other, "en")]
    with pytest.raises(RoleError, match="not there any more"):
        cards.find(other, kept.id)
    cards.remove(visitor, kept)
    with pytest.raises(RoleError):
        cards.find(visitor, kept.id)


@pytest.mark.parametrize("role_id", ["../../../etc/passwd", "..", "", "manual.en.questions/..", "a" * 12, "*"])
def test_an_id_is_no_path(visitor: Visitor, role_id: str) -> None:
    with pytest.raises(RoleError, match="not there any more"):
        cards.find(visitor, role_id)


def test_a_card_in_a_picture_keeps_its_picture(visitor: Visitor, tmp_path: Path) -> None:
    save_role(Role(name="Tim", greeting="Hello."), tmp_path / "tim.png")
    shown = blank()
    kept = cards.add(visitor, given(visitor, "tim.png", (tmp_path / "tim.png").read_bytes()))
    assert kept.picture is not None
    (tmp_path / "again.png").write_bytes(cards.download(kept, "png"))
    assert load_role(tmp_path / "again.png").greeting == "Hello."
    assert (tmp_path / "again.png").read_bytes()[:60] == shown[:60]
    assert json.loads(cards.download(kept, "json"))["name"] == "Tim"


def bomb() -> bytes:
    """A picture of 60,000 by 60,000 pixels with a text that unpacks to 30 MB."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    text = chunk(b"zTXt", b"ccv3\0\0" + zlib.compress(b"A" * 30_000_000, 9))
    return SIGNATURE + header + text + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("bomb.png", bomb(), "contains no character card"),
        ("cut.png", blank()[:-20], "is damaged"),
        ("no.png", b"\x00" * 64, "neither UTF-8 text nor PNG|is not JSON"),
        ("deep.json", '{"name": ' + "[" * 5000 + "]" * 5000 + "}", "deep|not JSON"),
        ("none.json", '{"name": ""}', "cannot be used|has no name"),
        ("list.json", "[]", "is not a JSON object"),
    ],
)
def test_what_is_no_card_is_refused_with_a_reason_that_names_the_file(
    visitor: Visitor, name: str, data: bytes | str, told: str
) -> None:
    with pytest.raises(RoleError, match=told) as caught:
        cards.add(visitor, given(visitor, name, data))
    assert name in str(caught.value)
    assert str(visitor.folder) not in str(caught.value)


def test_hostile_texts_in_a_card_are_texts(visitor: Visitor) -> None:
    name = "<script>alert(1)</script> ../../x"
    kept = cards.add(visitor, given(visitor, "x.json", json.dumps({"name": name, "background": ["![a](http://b)"]})))
    assert kept.name == name
    assert kept.path.parent.parent == visitor.folder / "roles"


def test_there_is_an_end_to_roles(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "MOST", 1)
    cards.keep(visitor, Role(name="Tim"))
    with pytest.raises(RoleError, match="delete one"):
        cards.keep(visitor, Role(name="Tom"))


def test_a_role_is_extracted_and_its_texts_are_kept_with_it(visitor: Visitor) -> None:
    told: list[tuple[int, int]] = []

    class Told(Reporter):
        def __call__(self, what: str, done: int, total: int) -> None:
            told.append((done, total))

    upload = keep(visitor, "tim's life.txt", b"Tim is a baker. He bakes bread every day.", ["txt"])
    texts = cards.read([upload], "Tim lives in Hull.", "pasted")
    model = ScriptedChatModel(responses=["Background: Tim is a baker.\n", "Background: Tim lives in Hull.\n"])
    kept = cards.extract(Settings(), visitor, texts, "Tim", model, Told())
    role = load_role(kept.path)
    assert {e.source for s in role.background for e in s.evidence} <= {"tim's life.txt", "pasted"}
    assert any(s.evidence for s in role.background)
    assert [path.read_text(encoding="utf-8") for path in kept.sources] == [text for _, text in texts]
    assert told[-1][0] == told[-1][1] > 0


def test_a_text_that_cannot_be_read_is_named(visitor: Visitor) -> None:
    with pytest.raises(SourceError, match=r"mine\.txt") as caught:
        cards.read([keep(visitor, "mine.txt", b"\xff\xfe\x00\x01\x02" * 9, ["txt"])])
    assert str(visitor.folder) not in str(caught.value)


STANDS = Evidence(source="a", start=0, end=9, quote="He bakes.")
ROLE = Role(
    name="Tim",
    background=(Statement(text="He bakes.", evidence=(STANDS,)), Statement(text="He is old.")),
    greeting="Hi",
    sample_dialogue=({"speaker": "Tim", "text": "Bread?"},),  # type: ignore[arg-type]
    creator="Ann",
)


def test_what_was_not_edited_keeps_its_evidence() -> None:
    texts = as_texts(ROLE)
    assert edited(ROLE, texts) == ROLE
    texts["background"] = "He bakes.\n\nHe sings.\n"
    texts["sample_dialogue"] = "Tim: Bread?\nMe：两个"
    changed = edited(ROLE, texts)
    assert changed.background[0] == ROLE.background[0]
    assert changed.background[1] == Statement(text="He sings.")
    assert [(line.speaker, line.text) for line in changed.sample_dialogue] == [("Tim", "Bread?"), ("Me", "两个")]
    assert (changed.model_extra or {})["creator"] == "Ann"


@pytest.mark.parametrize(
    ("field", "text", "told"), [("name", " ", "no name"), ("sample_dialogue", "words", "Ann: words")]
)
def test_an_edit_that_is_no_card_is_refused(field: str, text: str, told: str) -> None:
    with pytest.raises(RoleError, match=told):
        edited(ROLE, {field: text})


def test_an_edited_sample_becomes_the_visitors_own(visitor: Visitor) -> None:
    sample = cards.find(visitor, "edda.en")
    role = edited(load_role(sample.path), {"greeting": "Go away."})
    own = cards.change(visitor, sample, role)
    assert own.own and len(own.sources) == len(sample.sources)
    again = cards.change(visitor, own, edited(role, {"greeting": "Come in."}))
    assert again.id == own.id
    assert load_role(own.path).greeting == "Come in."
    other = cards.change(visitor, own, edited(role, {"name": "Else"}))
    assert other.id != own.id
