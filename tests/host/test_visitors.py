"""Visitors, their files, and text that they brought."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from egosrag.errors import SourceError
from egosrag.host import uploads
from egosrag.host.shown import as_markdown, distinct
from egosrag.host.uploads import called, keep, remove, shown_name
from egosrag.host.visitors import Visitor, is_token, new_token, visitor_of


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    return visitor_of(new_token(), tmp_path)


def test_a_token_is_new_each_time_and_nothing_else_is_one() -> None:
    assert new_token() != new_token()
    assert is_token(new_token())
    assert not any(map(is_token, ("", "x", "../" + "a" * 29, new_token().upper() + "\n", new_token() + "0")))


def test_what_is_kept_bears_no_token(tmp_path: Path) -> None:
    token = new_token()
    one = visitor_of(token, tmp_path)
    assert token not in str(one.folder) and token[:24] not in one.key
    assert one == visitor_of(token, tmp_path)
    assert one.key != visitor_of(new_token(), tmp_path).key


def test_an_upload_lies_under_a_name_of_our_own_and_shows_its_own(visitor: Visitor) -> None:
    upload = keep(visitor, "../../etc/手册 <b>.PDF", b"%PDF", ["pdf"])
    assert re.fullmatch(r"[0-9a-f]{24}\.pdf", upload.path.name)
    assert upload.path.parent == visitor.folder / "uploads"
    assert upload.name == "手册 <b>.PDF"
    assert keep(visitor, "again.pdf", b"%PDF", ["pdf"]).path == upload.path
    assert [(u.path, u.name) for u in uploads.uploads(visitor, ["pdf"])] == [(upload.path, "again.pdf")]
    assert uploads.uploads(visitor, ["txt"]) == []


def test_uploads_have_limits(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data, told in (
        ("a.exe", b"x", "no file of these kinds"),
        ("a", b"x", "no file of these kinds"),
        ("a.txt", b"", "is empty"),
    ):
        with pytest.raises(SourceError, match=told):
            keep(visitor, name, data, ["txt"])
    monkeypatch.setattr(uploads, "UPLOAD_BYTES", 10)
    with pytest.raises(SourceError, match="split it"):
        keep(visitor, "a.txt", b"x" * 11, ["txt"])
    monkeypatch.setattr(uploads, "VISITOR_FILES", 2)
    keep(visitor, "a.txt", b"1", ["txt"])
    second = keep(visitor, "b.txt", b"2", ["txt"])
    with pytest.raises(SourceError, match="remove some"):
        keep(visitor, "c.txt", b"3", ["txt"])
    keep(visitor, "b.txt", b"2", ["txt"])  # it is there already
    remove(visitor, second)
    keep(visitor, "c.txt", b"3", ["txt"])


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as bomb:
        bomb.writestr("word/document.xml", b" " * 3_000_000)
    assert len(packed.getvalue()) < 10_000
    keep(visitor, "a.docx", packed.getvalue(), ["docx"])
    monkeypatch.setattr(uploads, "UPLOAD_UNPACKED_BYTES", 2**20)
    with pytest.raises(SourceError, match="a.docx unpacks to 3 MB, more than 1"):
        keep(visitor, "a.docx", packed.getvalue(), ["docx"])
    keep(visitor, "b.docx", b"PK\x03\x04 nonsense", ["docx"])  # its reader says that it is none


def test_what_is_not_the_visitors_stays(visitor: Visitor, tmp_path: Path) -> None:
    other = keep(visitor_of(new_token(), tmp_path), "a.txt", b"1", ["txt"])
    remove(visitor, other)
    assert other.path.is_file()


def test_an_error_speaks_of_the_file_by_its_own_name(visitor: Visitor) -> None:
    upload = keep(visitor, "mine.txt", b"1", ["txt"])
    with pytest.raises(SourceError, match=r"^mine\.txt is broken$"), called(upload):
        raise SourceError(f"{upload.path} is broken")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("C:\\a\\b.txt", "b.txt"),
        ("..", "file"),
        ("a\x00\u202eb.txt", "ab.txt"),
        ("x" * 300 + ".pdf", "x" * 70 + ".pdf"),
    ],
)
def test_names_are_shown_without_folders_and_tricks(name: str, shown: str) -> None:
    assert shown_name(name) == shown


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://x.y/z.png)",
        "[a](http://b)",
        "<img src=x>",
        ":material/home:",
        ":red[a]",
        "$x$",
        "**b** _i_ `c`",
        "# h",
    ],
)
def test_markdown_marks_are_all_escaped(text: str) -> None:
    shown = as_markdown(text)
    assert re.sub(r"\\(.)", "", shown).replace("\u2060", "").isalnum() or " " in shown
    assert re.sub(r"\\(.)", r"\1", shown).replace("\u2060", "") == text


def test_addresses_do_not_stay_in_one_piece() -> None:
    shown = re.sub(r"\\(.)", r"\1", as_markdown("see http://a.b www.a.b me@a.b :smile:"))
    assert not any(found in shown for found in ("http://", "www.", "me@", ":smile"))


def test_long_text_is_one_line_and_cut() -> None:
    assert as_markdown("a\nb   c") == "a b c"
    assert as_markdown("word " * 9, 10) == "word word…"


def test_no_two_labels_are_alike() -> None:
    assert distinct({"a": "x", "b": "y", "c": "x"}) == {"a": "x", "b": "y", "c": "x (2)"}
