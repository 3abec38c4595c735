"""A visitor's roles: uploaded, extracted, edited, exported and deleted."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from egosrag.console import Reporter
from egosrag.errors import RoleError, SourceError
from egosrag.host import cards
from egosrag.host.card_editor import apply_fields, card_to_fields
from egosrag.host.uploads import Upload, save_upload
from egosrag.host.visitors import Visitor, new_token, visitor_of
from egosrag.models.scripted import ScriptedChatModel
from egosrag.roles.files import load_role, save_role
from egosrag.roles.png import SIGNATURE, blank
from egosrag.schema import Evidence, Role, Statement
from egosrag.settings import Settings


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    return visitor_of(new_token(), tmp_path)


def upload(visitor: Visitor, name: str, data: bytes | str) -> Upload:
    return save_upload(visitor, name, data.encode() if isinstance(data, str) else data, cards.EXTENSIONS)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_every_visitor_has_the_samples_those_of_the_language_first(visitor: Visitor) -> None:
    assert [role.id for role in cards.list_roles(visitor, "zh")][0].endswith(".zh")
    edda = cards.find(visitor, "edda.en")
    assert (edda.name, edda.is_own) == ("Edda", False)
    assert [path.name for path in edda.sources] == ["edda.en.txt"]
    cards.delete(visitor, edda)
    assert edda.path.is_file()


def test_an_uploaded_card_is_accessible_to_its_visitor_only(visitor: Visitor, tmp_path: Path) -> None:
    stored = cards.add_upload(visitor, upload(visitor, "tim.json", '{"name": "Tim"}'))
    assert stored.is_own and stored.name == "Tim"
    assert cards.list_roles(visitor, "en")[0] == stored == cards.find(visitor, stored.id)
    other = visitor_of(new_token(), tmp_path)
    assert stored.id not in [role.id for role in cards.list_roles(other, "en")]
    with pytest.raises(RoleError, match="no longer exists"):
        cards.find(other, stored.id)
    cards.delete(visitor, stored)
    with pytest.raises(RoleError):
        cards.find(visitor, stored.id)


@pytest.mark.parametrize("role_id", ["../../../etc/passwd", "..", "", "manual.en.questions/..", "a" * 12, "*"])
def test_a_role_id_cannot_be_a_path(visitor: Visitor, role_id: str) -> None:
    with pytest.raises(RoleError, match="no longer exists"):
        cards.find(visitor, role_id)


def test_a_card_in_a_picture_keeps_its_picture(visitor: Visitor, tmp_path: Path) -> None:
    save_role(Role(name="Tim", greeting="Hello."), tmp_path / "tim.png")
    stored = cards.add_upload(visitor, upload(visitor, "tim.png", (tmp_path / "tim.png").read_bytes()))
    assert stored.picture is not None
    (tmp_path / "again.png").write_bytes(cards.export(stored, "png"))
    assert load_role(tmp_path / "again.png").greeting == "Hello."
    assert (tmp_path / "again.png").read_bytes()[:60] == blank()[:60]
    assert json.loads(cards.export(stored, "json"))["name"] == "Tim"


def bomb() -> bytes:
    """A picture of 60,000 by 60,000 pixels with a text that unpacks to 30 MB."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    text = chunk(b"zTXt", b"ccv3\0\0" + zlib.compress(b"A" * 30_000_000, 9))
    return SIGNATURE + header + text + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("bomb.png", bomb(), "unpacks to more than 16 MB"),
        ("cut.png", blank()[:-20], "is damaged"),
        ("no.png", b"\x00" * 64, "is empty"),
        ("deep.json", '{"name": ' + "[" * 5000 + "]" * 5000 + "}", "deep|not JSON"),
        ("none.json", '{"name": ""}', "cannot be used|has no name"),
        ("list.json", "[]", "is not a JSON object"),
    ],
)
def test_an_invalid_card_is_an_error_that_names_the_file(
    visitor: Visitor, name: str, data: bytes | str, message: str
) -> None:
    with pytest.raises(RoleError, match=message) as caught:
        cards.add_upload(visitor, upload(visitor, name, data))
    assert name in str(caught.value)
    assert str(visitor.folder) not in str(caught.value)


def test_html_and_paths_in_a_card_stay_text(visitor: Visitor) -> None:
    name = "<script>alert(1)</script> ../../x"
    stored = cards.add_upload(
        visitor, upload(visitor, "x.json", json.dumps({"name": name, "background": ["![a](http://b)"]}))
    )
    assert stored.name == name
    assert stored.path.parent.parent == visitor.folder / "roles"


def test_the_number_of_roles_is_limited(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "MAX_ROLES", 1)
    cards.add(visitor, Role(name="Tim"))
    with pytest.raises(RoleError, match="delete one"):
        cards.add(visitor, Role(name="Tom"))


def test_an_extracted_role_is_stored_with_its_texts(visitor: Visitor) -> None:
    reports: list[tuple[int, int]] = []

    class Recorder(Reporter):
        def __call__(self, what: str, done: int, total: int) -> None:
            reports.append((done, total))

    source = save_upload(visitor, "tim's life.txt", b"Tim is a baker. He bakes bread every day.", ["txt"])
    texts = cards.read_texts([source], "Tim lives in Hull.", "pasted")
    model = ScriptedChatModel(responses=["Background: Tim is a baker.\n", "Background: Tim lives in Hull.\n"])
    stored = cards.extract(Settings(), visitor, texts, "Tim", model, Recorder())
    role = load_role(stored.path)
    assert {e.source for s in role.background for e in s.evidence} <= {"tim's life.txt", "pasted"}
    assert any(s.evidence for s in role.background)
    assert [path.read_text(encoding="utf-8") for path in stored.sources] == [text for _, text in texts]
    assert reports[-1][0] == reports[-1][1] > 0


def test_an_unreadable_text_is_an_error_that_names_the_file(visitor: Visitor) -> None:
    with pytest.raises(SourceError, match=r"mine\.txt") as caught:
        cards.read_texts([save_upload(visitor, "mine.txt", b"\x00\x01\x02\xfe" * 9, ["txt"])])
    assert str(visitor.folder) not in str(caught.value)


EVIDENCE = Evidence(source="a", start=0, end=9, quote="He bakes.")
ROLE = Role(
    name="Tim",
    background=(Statement(text="He bakes.", evidence=(EVIDENCE,)), Statement(text="He is old.")),
    greeting="Hi",
    sample_dialogue=({"speaker": "Tim", "text": "Bread?"},),  # type: ignore[arg-type]
    creator="Ann",
)


def test_statements_that_were_not_edited_keep_their_evidence() -> None:
    fields = card_to_fields(ROLE)
    assert apply_fields(ROLE, fields) == ROLE
    fields["background"] = "He bakes.\n\nHe sings.\n"
    fields["sample_dialogue"] = "Tim: Bread?\nMe：两个"
    changed = apply_fields(ROLE, fields)
    assert changed.background[0] == ROLE.background[0]
    assert changed.background[1] == Statement(text="He sings.")
    assert [(line.speaker, line.text) for line in changed.sample_dialogue] == [("Tim", "Bread?"), ("Me", "两个")]
    assert (changed.model_extra or {})["creator"] == "Ann"


@pytest.mark.parametrize(
    ("field", "text", "message"), [("name", " ", "no name"), ("sample_dialogue", "words", "Ann: words")]
)
def test_an_edit_without_a_name_or_speaker_is_an_error(field: str, text: str, message: str) -> None:
    with pytest.raises(RoleError, match=message):
        apply_fields(ROLE, {field: text})


def test_an_edited_sample_is_stored_as_an_own_role(visitor: Visitor) -> None:
    sample = cards.find(visitor, "edda.en")
    role = apply_fields(load_role(sample.path), {"greeting": "Go away."})
    own = cards.update(visitor, sample, role)
    assert own.is_own and len(own.sources) == len(sample.sources)
    again = cards.update(visitor, own, apply_fields(role, {"greeting": "Come in."}))
    assert again.id == own.id
    assert load_role(own.path).greeting == "Come in."
    other = cards.update(visitor, own, apply_fields(role, {"name": "Else"}))
    assert other.id != own.id


def test_the_picture_of_a_card_is_shown_small_and_a_damaged_one_not_at_all(visitor: Visitor) -> None:
    large = io.BytesIO()
    Image.new("RGB", (900, 600), "navy").save(large, "PNG")
    stored = cards.add(visitor, ROLE, picture=large.getvalue())
    shown = stored.thumbnail()
    assert shown is not None and Image.open(io.BytesIO(shown)).size == (320, 213)
    assert cards.add(visitor, ROLE).thumbnail() is None
    assert cards.add(visitor, ROLE, picture=large.getvalue()[:60]).thumbnail() is None


def test_the_gallery_shows_macros_filled_in() -> None:
    role = Role.model_validate({
        "name": "Ilka", "greeting": "{{random:Evening,Evening}}, {{user}}. {{// note}}{{//more}}{{newline}}Sit.",
        "background": ["{{// of the writer}}", "{{char}} owes {{user}} {{pick:a coin,a coin}}{{comment: two}}."],
    })  # fmt: skip
    assert cards.about(role) == "Ilka owes the user a coin."
    assert cards.greeting_line(role) == "Evening, you. Sit."
    assert cards.about(Role(name="Ilka")) == cards.greeting_line(Role(name="Ilka")) == ""
