"""PDF pages are read by place: columns, tables with wrapped and merged cells, also over page breaks, and footnotes."""

from __future__ import annotations

from pathlib import Path

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, SimpleDocTemplate, Table, TableStyle

from egosrag.rag.documents.load import load_pages, read_text

GRID = TableStyle([("GRID", (0, 0), (-1, -1), 0.5, colors.black)])
LEFT = [
    "Checking the coolant. Let the engine",
    "cool down for half an hour. The level",
    "has to be between the two marks.",
]
RIGHT = [
    "Changing a wheel. Park the car on firm",
    "ground. Loosen the bolts half a turn.",
    "Lift the car at the marked sill only.",
]


def build(path: Path, *flow: object) -> Path:
    SimpleDocTemplate(str(path), pagesize=A4).build(list(flow))
    return path


def draw(path: Path, *pages: list[tuple[float, float, str, float]]) -> Path:
    """A PDF of texts at (x, y) in a size, in this order."""
    canvas = Canvas(str(path), pagesize=A4)
    for texts in pages:
        for x, y, text, size in texts:
            canvas.setFont("Helvetica", size)
            canvas.drawString(x, y, text)
        canvas.showPage()
    canvas.save()
    return path


def test_the_shared_cases(shared_cases: Path) -> None:
    cases = shared_cases / "documents"
    columns = read_text(cases / "two_col_interleaved.pdf")
    assert (
        "The level must stand between MIN and MAX. Add only coolant of type G13 to the reservoir.\nChanging" in columns
    )
    assert read_text(cases / "zh_table.pdf") == read_text(cases / "zh_table.md")


def test_columns_are_read_one_after_the_other_in_whatever_order_they_are_drawn(tmp_path: Path) -> None:
    rows = list(zip((700, 685, 670), LEFT, RIGHT, strict=True))
    across = [(60, 740, "What to do about the coolant and about the wheels of the car in this chapter", 10)]
    interleaved = [text for y, a, b in rows for text in ((320, y, b, 10), (60, y, a, 10))]
    page = [(60, 600, "What follows is as wide as the page and comes after both of the columns.", 10)]
    text = read_text(draw(tmp_path / "a.pdf", [*page, *interleaved, *across]))
    assert text.split("\n") == [across[0][2], " ".join(LEFT), " ".join(RIGHT), page[0][2]]


def test_wrapped_and_merged_cells_are_rows_under_their_header(tmp_path: Path) -> None:
    style = getSampleStyleSheet()["BodyText"]
    rows = [
        ["Load", "Front", "Rear"],
        ["Full load", Paragraph("2.5 bar with winter tyres of any kind", style), "2.8 bar"],
        ["Spare wheel", "4.2 bar", ""],
    ]
    merged = TableStyle([*GRID.getCommands(), ("SPAN", (1, 2), (2, 2))])
    text = read_text(build(tmp_path / "a.pdf", Table(rows, colWidths=[80, 80, 80], style=merged)))
    assert text.split("\n") == [
        "Load: Full load | Front: 2.5 bar with winter tyres of any kind | Rear: 2.8 bar",
        "Load: Spare wheel | Front: 4.2 bar | Rear: 4.2 bar",
    ]


def test_a_table_goes_on_under_its_header_on_the_next_page(tmp_path: Path) -> None:
    rows = [["Part", "Torque", "Tool"], *([f"P-{n}", f"{n} Nm", f"key {n}"] for n in range(60))]
    for repeated in (0, 1):
        pages = load_pages([build(tmp_path / f"{repeated}.pdf", Table(rows, style=GRID, repeatRows=repeated))])
        assert len(pages) == 2
        lines = [line for page in pages for line in page.text.split("\n")]
        assert lines == [f"Part: P-{n} | Torque: {n} Nm | Tool: key {n}" for n in range(60)]


def test_a_table_without_lines_is_found_by_its_columns(tmp_path: Path) -> None:
    rows = [("Fluid", "Type", "Amount"), ("Engine oil", "0W-20", "4.6 litres"), ("Coolant", "G13, mixed", "6.8 litres")]
    texts = [(60 + 120 * n, 700 - 20 * i, cell, 10.0) for i, row in enumerate(rows) for n, cell in enumerate(row)]
    wrapped = [
        (180, 648, "with water", 10.0),
        (60, 620, "Check the fluids once a month while the engine is cold.", 10.0),
    ]
    text = read_text(draw(tmp_path / "a.pdf", [*texts, *wrapped]))
    assert text.split("\n") == [
        "Fluid: Engine oil | Type: 0W-20 | Amount: 4.6 litres",
        "Fluid: Coolant | Type: G13, mixed with water | Amount: 6.8 litres",
        "Check the fluids once a month while the engine is cold.",
    ]


def test_a_raised_digit_is_a_superscript(tmp_path: Path) -> None:
    style = getSampleStyleSheet()["BodyText"]
    assert (
        read_text(build(tmp_path / "a.pdf", Paragraph("It stands 10<super>3</super> A.", style))) == "It stands 10³ A."
    )


def test_a_sentence_over_a_page_break_is_whole_on_the_first_page(tmp_path: Path) -> None:
    first = [(60, 700, "The first page of the manual ends in a sentence that is so long that it is", 10.0)]
    second = [(60, 780, "continued on the second page. There another one follows.", 10.0)]
    one, two = load_pages([draw(tmp_path / "a.pdf", first, second)])
    assert one.text.endswith("that it is continued on the second page.")
    assert two.text == "continued on the second page. There another one follows."


def test_a_footnote_is_apart_from_the_text_above_it(tmp_path: Path) -> None:
    body = [(60, 700, "The oil is changed every year, or as often as the workshop says about it,", 10.0)]
    note = [(60, 688, "1 In hot countries twice as often.", 7.0)]
    assert read_text(draw(tmp_path / "a.pdf", [*body, *note])).split("\n") == [body[0][2], note[0][2]]


def test_the_marks_of_list_items_stay_with_their_texts(tmp_path: Path) -> None:
    texts = [(x, 700 - 15 * n, text, 10.0) for n, row in enumerate(LEFT) for x, text in ((60, f"{n + 1}."), (90, row))]
    assert read_text(draw(tmp_path / "a.pdf", texts)).split("\n") == [f"{n}. {row}" for n, row in enumerate(LEFT, 1)]
