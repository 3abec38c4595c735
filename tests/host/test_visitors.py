"""Visitors and their tokens, uploaded files and their limits, and escaped text."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from egosrag.errors import SourceError
from egosrag.host import uploads
from egosrag.host.escape import escape_markdown, unique_labels
from egosrag.host.uploads import delete_upload, display_name, display_names_in_errors, save_upload
from egosrag.host.visitors import Visitor, is_token, new_token, visitor_of


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    return visitor_of(new_token(), tmp_path)


def test_tokens_are_random_and_other_texts_are_no_tokens() -> None:
    assert new_token() != new_token()
    assert is_token(new_token())
    assert not any(map(is_token, ("", "x", "../" + "a" * 29, new_token().upper() + "\n", new_token() + "0")))


def test_keys_and_folders_do_not_contain_the_token(tmp_path: Path) -> None:
    token = new_token()
    one = visitor_of(token, tmp_path)
    assert token not in str(one.folder) and token[:24] not in one.key
    assert one == visitor_of(token, tmp_path)
    assert one.key != visitor_of(new_token(), tmp_path).key


def test_an_upload_is_stored_under_a_hash_and_shown_by_its_name(visitor: Visitor) -> None:
    upload = save_upload(visitor, "../../etc/手册 <b>.PDF", b"%PDF", ["pdf"])
    assert re.fullmatch(r"[0-9a-f]{24}\.pdf", upload.path.name)
    assert upload.path.parent == visitor.folder / "uploads"
    assert upload.name == "手册 <b>.PDF"
    assert save_upload(visitor, "again.pdf", b"%PDF", ["pdf"]).path == upload.path
    assert [(u.path, u.name) for u in uploads.list_uploads(visitor, ["pdf"])] == [(upload.path, "again.pdf")]
    assert uploads.list_uploads(visitor, ["txt"]) == []


def test_uploads_have_limits(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data, message in (
        ("a.exe", b"x", "none of the supported types"),
        ("a", b"x", "none of the supported types"),
        ("a.txt", b"", "is empty"),
    ):
        with pytest.raises(SourceError, match=message):
            save_upload(visitor, name, data, ["txt"])
    monkeypatch.setattr(uploads, "UPLOAD_BYTES", 10)
    with pytest.raises(SourceError, match="split it"):
        save_upload(visitor, "a.txt", b"x" * 11, ["txt"])
    monkeypatch.setattr(uploads, "VISITOR_FILES", 2)
    save_upload(visitor, "a.txt", b"1", ["txt"])
    second = save_upload(visitor, "b.txt", b"2", ["txt"])
    with pytest.raises(SourceError, match="delete some"):
        save_upload(visitor, "c.txt", b"3", ["txt"])
    save_upload(visitor, "b.txt", b"2", ["txt"])  # stored already
    delete_upload(visitor, second)
    save_upload(visitor, "c.txt", b"3", ["txt"])


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as bomb:
        bomb.writestr("word/document.xml", b" " * 3_000_000)
    assert len(packed.getvalue()) < 10_000
    save_upload(visitor, "a.docx", packed.getvalue(), ["docx"])
    monkeypatch.setattr(uploads, "UPLOAD_UNPACKED_BYTES", 2**20)
    with pytest.raises(SourceError, match="a.docx unpacks to 3 MB, more than the limit of 1 MB"):
        save_upload(visitor, "a.docx", packed.getvalue(), ["docx"])
    save_upload(visitor, "b.docx", b"PK\x03\x04 nonsense", ["docx"])  # no ZIP file: its reader reports that


def test_files_of_other_visitors_cannot_be_deleted(visitor: Visitor, tmp_path: Path) -> None:
    other = save_upload(visitor_of(new_token(), tmp_path), "a.txt", b"1", ["txt"])
    delete_upload(visitor, other)
    assert other.path.is_file()


def test_an_error_names_the_file_as_the_visitor_does(visitor: Visitor) -> None:
    upload = save_upload(visitor, "mine.txt", b"1", ["txt"])
    with pytest.raises(SourceError, match=r"^mine\.txt is broken$"), display_names_in_errors(upload):
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
def test_display_names_have_no_folders_or_control_characters(name: str, shown: str) -> None:
    assert display_name(name) == shown


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
def test_all_markdown_punctuation_is_escaped(text: str) -> None:
    shown = escape_markdown(text)
    assert re.sub(r"\\(.)", "", shown).replace("\u2060", "").isalnum() or " " in shown
    assert re.sub(r"\\(.)", r"\1", shown).replace("\u2060", "") == text


def test_addresses_are_not_recognized_as_links() -> None:
    shown = re.sub(r"\\(.)", r"\1", escape_markdown("see http://a.b www.a.b me@a.b :smile:"))
    assert not any(found in shown for found in ("http://", "www.", "me@", ":smile"))


def test_long_text_becomes_one_line_and_is_cut() -> None:
    assert escape_markdown("a\nb   c") == "a b c"
    assert escape_markdown("word " * 9, 10) == "word word…"


def test_labels_are_made_unique() -> None:
    assert unique_labels({"a": "x", "b": "y", "c": "x"}) == {"a": "x", "b": "y", "c": "x (2)"}
