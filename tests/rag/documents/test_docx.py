"""DOCX: everything that a reader of the printed document sees, once, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docx
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from egosrag.rag.documents.load import load_pages, read_text

RUN = "<w:r><w:t xml:space='preserve'>{}</w:t></w:r>"


def body_of(document: Any, xml: str) -> None:
    """Insert XML at the end of the body of a document."""
    body = document.element.body
    names = nsdecls("w") + ' xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    names += ' xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    for element in parse_xml(f"<w:body {names}>{xml}</w:body>"):
        body.insert(len(body) - 1, element)


def test_the_shared_case(shared_cases: Path) -> None:
    text = read_text(shared_cases / "documents" / "a.docx")
    for expected in (
        "The relief valve opens at 4.5 bar and closes at 4.0 bar.",
        "Warning: never run the pump dry",
        "The serial number",
        "washed every second Monday",
        "Part: Seal | Interval: 1000 h if cold | Tool: Key 17 Grease G2 only",
        "2. Step text 1",
        "Doc 4711",
        "Hotline 0800-555",
    ):
        assert text.count(expected) == 1
    assert "3.0 bar" not in text


def test_changes_alternatives_and_hidden_text_are_read_as_they_are_shown(tmp_path: Path) -> None:
    document = docx.Document()
    moved = f"<w:moveFrom w:id='1'>{RUN.format('old ')}</w:moveFrom><w:moveTo w:id='2'>{RUN.format('new ')}</w:moveTo>"
    hidden = "<w:r><w:rPr><w:vanish/></w:rPr><w:t>secret</w:t></w:r>"
    field = "<w:r><w:instrText>PAGE</w:instrText></w:r>"
    power = "<w:r><w:rPr><w:vertAlign w:val='superscript'/></w:rPr><w:t>3</w:t></w:r>"
    body_of(document, f"<w:p>{moved}{hidden}{field}{RUN.format('10')}{power}{RUN.format(' A')}</w:p>")
    box = "<w:txbxContent><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:txbxContent>"
    alternatives = (
        f"<mc:Choice Requires='x'>{box.format('Box.')}</mc:Choice><mc:Fallback>{box.format('Box.')}</mc:Fallback>"
    )
    body_of(document, f"<w:p><w:r><mc:AlternateContent>{alternatives}</mc:AlternateContent></w:r></w:p>")
    document.save(str(tmp_path / "a.docx"))
    assert read_text(tmp_path / "a.docx") == "new 10³ A\nBox."


def test_numbers_of_lists_continue_and_sublists_have_their_own(tmp_path: Path) -> None:
    document = docx.Document()
    for text, style in (("Open.", "List Number"), ("Part.", "List Bullet"), ("Close.", "List Number")):
        document.add_paragraph(text, style=style)
    document.save(str(tmp_path / "a.docx"))
    assert read_text(tmp_path / "a.docx") == "1. Open.\n- Part.\n2. Close."


def test_merged_cells_are_repeated_in_each_row_and_column(tmp_path: Path) -> None:
    document = docx.Document()
    table = document.add_table(rows=3, cols=3)
    for row, texts in zip(
        table.rows, (("Part", "Front", "Rear"), ("Tyre", "2.3 bar", ""), ("", "2.5 bar", "2.8 bar")), strict=True
    ):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    table.cell(1, 0).merge(table.cell(2, 0))
    table.cell(1, 1).merge(table.cell(1, 2))
    document.save(str(tmp_path / "a.docx"))
    expected = "Part: Tyre | Front: 2.3 bar | Rear: 2.3 bar\nPart: Tyre | Front: 2.5 bar | Rear: 2.8 bar"
    assert read_text(tmp_path / "a.docx") == expected


def test_a_header_is_read_once_and_pictures_are_named(tmp_path: Path) -> None:
    document = docx.Document()
    document.add_paragraph("Body.")
    document.add_section().header.paragraphs[0].text = "Handbook"
    document.sections[0].header.paragraphs[0].text = "Handbook"
    picture = "<pic:pic xmlns:pic='http://schemas.openxmlformats.org/drawingml/2006/picture'/>"
    body_of(document, f"<w:p><w:r><w:drawing>{picture}</w:drawing></w:r></w:p>")
    document.save(str(tmp_path / "a.docx"))
    notes: list[str] = []
    (page,) = load_pages([tmp_path / "a.docx"], on_skip=notes.append)
    assert page.text == "Handbook\nBody."
    assert notes == ["a.docx: not read: 1 picture"]
