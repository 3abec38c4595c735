"""Markdown, HTML and tables are read as they are displayed: every text, each cell under its header."""

from __future__ import annotations

from pathlib import Path

import pytest

from egosrag.caller import Caller, Cancelled, calling
from egosrag.rag.documents.load import load_document, load_pages, read_text
from egosrag.rag.documents.superscripts import subscript, superscript
from egosrag.rag.documents.tables import table_lines


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("front.md", "Pump handbook\nPump\nThe relief valve opens at 4.5 bar."),
        ("rule_after_heading.md", "Pump\nThe relief valve opens at 4.5 bar."),
        ("exp.html", "The fuse stands 10³ A for 2 ms."),
        ("dup.csv", "Part: P-001 | Value: 21 Nm | Value: 3 EUR"),
    ],
)
def test_the_shared_cases(name: str, text: str, shared_cases: Path) -> None:
    assert read_text(shared_cases / "documents" / name) == text


def test_the_shared_case_of_a_table_with_a_title(shared_cases: Path) -> None:
    lines = read_text(shared_cases / "documents" / "titled.csv").split("\n")
    assert lines[0] == "Spare parts list 2025"
    assert lines[2] == "Part: P-001 | Maker: Brisk | Torque: 21 Nm | Price: 4 EUR"
    assert len(lines) == 61


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("---\n---\nText.", "Text."),
        ("---\ntags:\n  - a\n...\n\nText.", "Text."),
        ("+++\ntitle = 'Oil'\n+++\nText.", "Oil\nText."),
        ("---\nA sentence, and no front matter.\n\n---\nText.", "A sentence, and no front matter.\nText."),
        ("Oil\n===\nText\nagain.\n\n***\n\nMore\n----\n", "Oil\nText again.\nMore"),
        ("| | A |\n|-|-|\n| x | 1 |\n| y \\| z | **2** |", "x | A: 1\ny / z | A: 2"),
        ("3. Open.\n4. Close.\n   - Now.\n\n   Then.", "3. Open.\n4. Close.\n- Now.\nThen."),
        ("Use 10<sup>3</sup> A, **never** [more](x.md).\n\nPress <ENTER>.", "Use 10³ A, never more.\nPress <ENTER>."),
        ("<table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table>", "A: 1 | B: 2"),
        ("机油每年\n更换一次。", "机油每年更换一次。"),
        ("\\* no list\n\n    code\n\n> quoted", "* no list\ncode\nquoted"),
    ],
)
def test_markdown(source: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "m.md").write_text(source, encoding="utf-8")
    assert read_text(tmp_path / "m.md") == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<details><summary>Oil</summary>SAE 30</details><aside>Note.</aside>After", "Oil\nSAE 30\nNote.\nAfter"),
        ("H<sub>2</sub>O, 1<sup>st</sup>, m<sup>-2</sup>, x<sup>n+1</sup>", "H₂O, 1st, m⁻², xⁿ⁺¹"),
        (
            "<table><tr><th rowspan=2>Load</th><th colspan=2>Pressure</th></tr><tr><th>Front</th><th>Rear</th></tr>"
            "<tr><td>Full</td><td>2.5</td><td>2.8</td></tr><tr><td>Spare</td><td colspan=2>4.2</td></tr></table>",
            "Load: Full | Pressure Front: 2.5 | Pressure Rear: 2.8\n"
            "Load: Spare | Pressure Front: 4.2 | Pressure Rear: 4.2",
        ),
        (
            "<table><caption>Oils</caption><tr><td>Part</td><td>Amount</td></tr><tr><td rowspan=2>Engine</td>"
            "<td>4 l</td></tr><tr><td>5 l</td></tr></table>",
            "Oils\nPart: Engine | Amount: 4 l\nPart: Engine | Amount: 5 l",
        ),
        (
            "<table><tr><td>Tank</td><td>52 l</td></tr><tr><td>Oil</td><td>4 l</td></tr></table>",
            "Tank | 52 l\nOil | 4 l",
        ),
        ("<table><tr><td><h2>Left</h2>a</td><td>b</td></tr></table>", "Left\na\nb"),
        ("<ol start=4><li>Open.<li>Close.<ul><li>Now.</ul></ol>", "4. Open.\n5. Close.\nNow."),
        ("<pre>one\ntwo</pre><p hidden>x</p><p style='display:none'>y</p>", "one\ntwo"),
        (
            "A long text with a\x00b and &#xD800; in it, and more text here.",
            "A long text with a\ufffdb and \ufffd in it, and more text here.",
        ),
        ("<div>" * 5000 + "deep", "deep"),
    ],
)
def test_html(source: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "m.html").write_text(source, encoding="utf-8")
    assert read_text(tmp_path / "m.html") == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Name,Text\nTank,52 litres\nOil,4 litres\n", "Name: Tank | Text: 52 litres\nName: Oil | Text: 4 litres"),
        ("speaker,line,torque\nP1,x,20 Nm\n", "speaker: P1 | line: x | torque: 20 Nm"),
        ("A,B\n1,2,3\n4\n", "A: 1 | B: 2 | 3\nA: 4"),
        ("Prices\n\n,2024,2025\nOil,1,2\n", "Prices\nOil | 2024: 1 | 2025: 2"),
        ("1,2\n3,4\n", "1 | 2\n3 | 4"),
        ("油液;容量\n机油;4,6升\n", "油液：机油 | 容量：4,6升"),
    ],
)
def test_every_cell_of_a_table_is_read_under_its_header(source: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(source, encoding="utf-8")
    assert read_text(tmp_path / "t.csv") == text


def test_rows_of_a_group_and_empty_cells() -> None:
    rows = [["Item", "Value"], ["Engine", ""], ["Oil", "4 l"], ["", ""], ["Filter", "1"]]
    assert table_lines(rows) == ["Item: Engine", "Item: Oil | Value: 4 l", "Item: Filter | Value: 1"]
    assert table_lines([["a", "b"]], 1) == ["a | b"]
    assert table_lines([]) == []


def test_superscripts_are_never_read_as_digits_of_the_number() -> None:
    assert [superscript(text) for text in ("2", "-3", "st", "[1]", "n", "")] == ["²", "⁻³", "st", "[1]", "ⁿ", ""]
    assert [subscript(text) for text in ("2", "max", "i+1")] == ["₂", "max", "_(i+1)"]


def test_a_page_mark_inside_markdown_starts_a_page(tmp_path: Path) -> None:
    (tmp_path / "m.md").write_text("# A\n<!-- page 2 -->\nB.", encoding="utf-8")
    assert [(page.page, page.text) for page in load_pages([tmp_path / "m.md"])] == [(1, "A"), (2, "B.")]


@pytest.mark.parametrize("suffix", ["txt", "md"])
def test_a_log_whose_lines_are_one_paragraph_is_joined_in_one_pass(suffix: str, tmp_path: Path) -> None:
    """Each line was joined to all before it: 20,000 lines took two hours."""
    line = "On day {n} the engine took {m} litres of oil and the lamp of the cabin was lit for a long-\n"
    file = tmp_path / f"log.{suffix}"
    file.write_text("".join(line.format(n=n, m=n % 97) for n in range(30_000)), encoding="utf-8")
    (page,) = load_document(file, file.name)
    assert page.text.startswith(
        "On day 0 the engine took 0 litres of oil and the lamp of the cabin was lit for a long-"
    )
    assert page.text.count("On day") == 30_000 and "\n" not in page.text


def test_joining_a_long_paragraph_ends_when_its_caller_leaves(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    file.write_text(
        "On day one the engine took some oil and the lamp of the cabin was lit for long\n" * 9, encoding="utf-8"
    )
    caller = Caller()
    caller.cancel()
    with calling(caller), pytest.raises(Cancelled):
        load_document(file, file.name)
