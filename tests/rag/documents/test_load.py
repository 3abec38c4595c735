"""Documents become clean pages: text without running heads and page numbers, with headings; errors of one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import docx
import pytest

from egosrag.errors import SourceError
from egosrag.rag.documents import readers
from egosrag.rag.documents.load import find_files, load_document, load_pages, read_text
from tests.rag.papers import CHINESE, write_pdf

BODY = "This sentence is long enough to be the body of a page and to reach the edge of"


def page_of(chapter: str, number: int, *body: str | tuple[str, int]) -> list[str | tuple[str, int]]:
    return [chapter, *body, f"- {number} -"]


@pytest.fixture
def manual(tmp_path: Path) -> Path:
    pages = [page_of("Doors", n, BODY, f"its column number {n * 7}.") for n in range(1, 4)]
    pages += [page_of("Engine", n, (f"Oil {n}", 16), BODY, f"its column number {n * 7}.") for n in range(4, 8)]
    return write_pdf(tmp_path / "manual.pdf", pages)


def test_a_pdf_loses_its_running_heads_and_page_numbers_and_keeps_its_pages(manual: Path) -> None:
    pages = load_pages([manual])
    assert [p.page for p in pages] == [1, 2, 3, 4, 5, 6, 7]
    assert {p.source for p in pages} == {"manual.pdf"}
    assert pages[1].text == f"{BODY} its column number 14."


def test_a_running_head_that_changes_names_the_chapter_and_large_type_a_heading(manual: Path) -> None:
    pages = load_pages([manual])
    assert pages[0].section == "Doors"
    assert pages[4].section.startswith("Engine")
    (heading,) = pages[4].headings
    assert (heading.title, heading.level) == ("Oil 5", 1)
    assert pages[4].text[heading.start :].startswith("Oil 5\nThis sentence")


def test_chinese_lines_are_joined_without_a_space(tmp_path: Path) -> None:
    lines = [
        "打开前机舱盖之前，请先确认发动机已经熄火并且冷却下来，还要",
        "确保机舱盖上方没有障碍物。",
        "■第二条说明。",
    ]
    (page,) = load_pages([write_pdf(tmp_path / "zh.pdf", [lines], font=CHINESE)])
    assert page.text == "".join(lines[:2]) + "\n■第二条说明。"


def test_a_word_hyphenated_at_the_line_end_is_joined_unless_it_is_written_with_its_hyphen(tmp_path: Path) -> None:
    rows = [
        {"page": 1, "text": "The instrument cluster shows the most important infor-\nmation about the car to all."},
        {
            "page": 2,
            "text": "The four-wheel drive is on. A car with the well known four-\nwheel drive climbs any hill.",
        },
    ]
    path = tmp_path / "pages.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    first, second = load_pages([path])
    assert "important information about" in first.text
    assert "known four-wheel drive" in second.text


def test_the_table_of_contents_marks_headings_without_larger_type(tmp_path: Path) -> None:
    contents = "目录\n打开车门........1\n更换电池.......... 2\n加注机油.......... 3"
    texts = [contents, "前一句话。\n更换电池\n请先断开负极", "加注机油\n请使用规定的机油。"]
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(json.dumps({"page": n, "text": t}) for n, t in enumerate(texts, 1)), encoding="utf-8")
    pages = load_pages([path])
    assert [h.title for h in pages[1].headings] == ["更换电池"]
    assert pages[2].section == "更换电池"
    assert pages[0].headings == ()


def test_control_characters_and_private_use_glyphs_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"page": 1, "text": "按\ue001下\x07按\u200b钮。\u2f64手"}), encoding="utf-8")
    assert load_pages([path])[0].text == "按下按钮。用手"


def test_markdown_keeps_its_headings_list_items_and_table_rows(tmp_path: Path) -> None:
    path = tmp_path / "m.md"
    path.write_text(
        "# Car\nIntro that is\nbroken.\n\n## Oil\n- one\n- two\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n```\n# none\n```\n",
        encoding="utf-8",
    )
    (page,) = load_pages([path])
    assert [(h.level, h.title) for h in page.headings] == [(1, "Car"), (2, "Oil")]
    for heading in page.headings:
        assert page.text[heading.start :].startswith(heading.title)
    assert "Intro that is broken.\nOil\n- one\n- two\na: 1 | b: 2" in page.text
    assert "# none" in page.text


def test_a_page_comment_starts_a_page_of_markdown_and_other_comments_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "m.md"
    path.write_text("<!-- page 3 -->\n## A\nOne.\n<!-- a\nnote -->\n<!-- page 4 -->\nTwo.\n", encoding="utf-8")
    pages = load_pages([path])
    assert [(p.page, p.text, p.section) for p in pages] == [(3, "A\nOne.", ""), (4, "Two.", "A")]


def test_html_gives_headings_and_table_rows_and_no_script(tmp_path: Path) -> None:
    path = tmp_path / "m.html"
    path.write_text(
        "<head><title>t</title></head><h1>Car</h1><p>One <b>bold</b>\nword.</p><script>x()</script>"
        "<table><tr><td>a</td><td>b</td></tr></table><ul><li>x</li><li>y</li></ul>",
        encoding="utf-8",
    )
    (page,) = load_pages([path])
    assert page.text == "Car\nOne bold word.\na | b\nx\ny"
    assert [h.title for h in page.headings] == ["Car"]


def test_docx_gives_headings_and_table_rows_in_their_order(tmp_path: Path) -> None:
    document = docx.Document()
    document.add_heading("Doors", level=2)
    document.add_paragraph("Pull the handle.")
    table = document.add_table(rows=1, cols=2)
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    document.save(str(tmp_path / "m.docx"))
    (page,) = load_pages([tmp_path / "m.docx"])
    assert page.text == "Doors\nPull the handle.\nleft | right"
    assert [(h.level, h.title) for h in page.headings] == [(2, "Doors")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"])
def test_text_is_read_in_its_own_encoding(tmp_path: Path, encoding: str) -> None:
    text = "孙悟空是花果山的美猴王。\n他会七十二变，一个筋斗十万八千里。\n"
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    assert read_text(tmp_path / "a.txt") == text.strip()


def test_wrapped_lines_are_joined_and_the_lines_of_a_script_are_kept(tmp_path: Path) -> None:
    wrapped = (
        "In my younger and more vulnerable years my father gave me some advice\n"
        "that I have been turning over in my mind ever since, and which I keep\nto this day.\n\n"
        "Whenever you feel like criticizing anyone, he told me, just remember\nit.\n\n"
    )
    (tmp_path / "w.txt").write_text(wrapped * 3, encoding="utf-8")
    assert read_text(tmp_path / "w.txt").split("\n")[0].endswith("which I keep to this day.")
    (tmp_path / "s.txt").write_text("Tim: hello\nMe: who are you\nTim: I am Tim\nMe: aha\nTim: yes", encoding="utf-8")
    assert read_text(tmp_path / "s.txt").count("\n") == 4


def test_pages_without_text_are_skipped_and_reported_by_number(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "m.pdf", [["One."], [], ["Three."], []])
    notes: list[str] = []
    assert [p.page for p in load_pages([path], on_skip=notes.append)] == [1, 3]
    assert len(notes) == 1
    assert "2, 4" in notes[0]


def encrypted(path: Path) -> Path:
    return write_pdf(path.with_suffix(".pdf"), [["Secret."]], password="pw")


def pictures(path: Path) -> Path:
    return write_pdf(path.with_suffix(".pdf"), [[], []])


def holding(suffix: str, data: bytes) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path = path.with_suffix(suffix)
        path.write_bytes(data)
        return path

    return make


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.with_suffix(".pdf"), "there is no file"),
        (holding(".txt", b""), "is empty"),
        (holding(".md", b" \n \n"), "is empty"),
        (holding(".pdf", b"%PDF-1.4 nonsense"), "not a PDF that can be read"),
        (holding(".docx", b"PK\x03\x04 nonsense"), "not a DOCX"),
        (holding(".txt", b"\x00\x01\x02\xff\xfe\x00\x9c" * 99), "binary"),
        (holding(".md", b"\x89PNG\r\n\x1a\n" + bytes(range(256))), "binary"),
        (holding(".txt", "é".encode() + b"\xff\xfe\xfa\x81\x8d\x8f\x90\x9d" * 9), "encoding|binary"),
        (holding(".txt", b"\xff\xfea\x00b"), "damaged utf-16"),
        (holding(".xlsx", b"PK"), "not supported"),
        (holding(".jsonl", b'{"page": 2}\n'), "line 1"),
        (holding(".jsonl", b'{"page": 0, "text": "a"}\n'), "line 1"),
        (encrypted, "encrypted"),
        (pictures, "OCR"),
    ],
)
def test_an_unreadable_file_is_an_error_of_one_line_with_its_name(
    tmp_path: Path, make: Callable[[Path], Path], says: str
) -> None:
    path = make(tmp_path / "document")
    with pytest.raises(SourceError, match=f"(?s){says}") as raised:
        load_pages([path])
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_wrong_line_of_jsonl_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    lines = ['{"page": 1, "text": "One."}', '{"page": 2}', "{", '{"page": 1, "text": "b"}', '{"page": 3, "text": null}']
    (tmp_path / "m.jsonl").write_text("\n".join([*lines, '{"page": 4, "text": "Four."}']), encoding="utf-8")
    notes: list[str] = []
    pages = load_pages([tmp_path / "m.jsonl"], on_skip=notes.append)
    assert [(page.page, page.text) for page in pages] == [(1, "One."), (4, "Four.")]
    assert [n for n in range(1, 7) if any(f"not read: line {n}" in note for note in notes)] == [2, 3, 4]


def test_a_file_that_cannot_be_read_is_named_and_the_rest_of_its_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Text.", encoding="utf-8")
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4 nonsense")
    (tmp_path / "c.txt").write_text("", encoding="utf-8")
    notes: list[str] = []
    assert [page.source for page in load_pages([tmp_path], on_skip=notes.append)] == ["a.md"]
    assert ["b.pdf" in notes[0], "c.txt" in notes[1], len(notes)] == [True, True, 2]


def test_unreadable_characters_are_replaced_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"page": 1, "text": "half \\ud800 a pair\\u0000."}', encoding="utf-8")
    (tmp_path / "b.txt").write_bytes(
        "第一行是统一码。\n".encode() + "第二行是国标码。\n".encode("gb18030") + "三。".encode()
    )
    (tmp_path / "c.txt").write_bytes("Größe und Länge über ".encode() + b"\xff" + " alles, schön.".encode())
    notes: list[str] = []
    texts = [page.text for page in load_pages([tmp_path], on_skip=notes.append)]
    assert texts == [
        "half \ufffd a pair\ufffd.",
        "第一行是统一码。\n第二行是国标码。\n三。",
        "Größe und Länge über \ufffd alles, schön.",
    ]
    assert [note.split(" unreadable")[0] for note in notes] == ["a.jsonl: 2", "c.txt: 1"]


def test_a_long_text_is_in_parts_that_are_whole_and_a_form_feed_starts_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_LONG_TEXT", 1000)
    monkeypatch.setattr(readers, "_PART", 200)
    paragraphs = [f"Paragraph {n} says what it has to say about the pump." for n in range(40)]
    (tmp_path / "a.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")
    pages = load_pages([tmp_path / "a.txt"])
    assert [line for page in pages for line in page.text.split("\n")] == paragraphs
    assert [page.page for page in pages] == list(range(1, len(pages) + 1))
    assert max(len(page.text) for page in pages) < 300
    (tmp_path / "b.txt").write_text("word " * 500, encoding="utf-8")
    assert len(load_pages([tmp_path / "b.txt"])) > 5
    (tmp_path / "c.txt").write_text("One.\n\fTwo.\n", encoding="utf-8")
    assert [page.text for page in load_pages([tmp_path / "c.txt"])] == ["One.", "Two."]


def test_the_progress_of_a_large_document_moves_and_what_it_raises_ends_the_reading(tmp_path: Path) -> None:
    rows = [json.dumps({"page": n, "text": f"Page {n}."}) for n in range(1, 300)]
    (tmp_path / "m.jsonl").write_text("\n".join(rows), encoding="utf-8")
    seen: list[int] = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        assert total == 299
        if len(seen) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_document(tmp_path / "m.jsonl", "m", progress=progress)
    assert seen == sorted(seen) and seen[-1] > 150


def test_a_folder_gives_its_supported_files_sorted(tmp_path: Path) -> None:
    for name in ("b.md", "a.txt", "sub/c.html", "x.bin", ".git/d.md"):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("<p>Text.</p>", encoding="utf-8")
    assert list(find_files([tmp_path / "docs"])) == ["a.txt", "b.md", "c.html"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError, match="no file to read"):
        find_files([empty])


def test_files_of_the_same_name_are_distinguished_and_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.md").write_text("Text.", encoding="utf-8")
    found = find_files([tmp_path / "one", tmp_path / "two" / "m.md", tmp_path / "one" / "m.md"])
    assert list(found) == ["one/m.md", "two/m.md"]


def test_a_source_name_is_the_shortest_distinct_end_of_its_path(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a/x/m.md", "b/x/m.md", "b/y/m.md", "n.md")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Text.", encoding="utf-8")
    assert find_files(paths) == dict(zip(["a/x/m.md", "b/x/m.md", "y/m.md", "n.md"], paths, strict=True))
