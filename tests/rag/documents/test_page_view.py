"""The page of a citation: the quote highlighted in its text, and on the picture of a PDF's page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from egosrag.errors import SourceError
from egosrag.rag.documents.load import load_pages
from egosrag.rag.documents.page_view import Picture, locate_quote, page_view, render_page
from egosrag.rag.index.manual_index import ManualIndex
from tests.conftest import SAMPLES
from tests.rag.papers import CHINESE, write_pdf


def lines_of(picture: Picture) -> list[int]:
    """The boxes' lines, by the middle of each in lines of 20 points from the top (A4, first line at 800)."""
    scale = picture.pixels.shape[0] / 842
    return [round((842 - (top + bottom) / 2 / scale - 800) / -20) for _, top, _, bottom in picture.boxes]


def test_a_quote_across_lines_is_highlighted_on_each_of_them_in_english(tmp_path: Path) -> None:
    lines = [
        "Before the first journey every driver should read",
        "this manual from the first page to the last, since",
        "it tells what the lamps mean. Keep it in the boat.",
    ]
    file = write_pdf(tmp_path / "boat.pdf", [["Another page altogether."], lines])
    page = load_pages([file])[1]
    quote = "this manual from the first page to the last, since it tells what the lamps mean."
    shown = page_view(page, quote, file)
    assert page.text[shown.start : shown.end] == quote
    assert shown.picture
    assert lines_of(shown.picture) == [1, 2]


def test_a_quote_across_lines_is_highlighted_on_each_of_them_in_chinese(tmp_path: Path) -> None:
    lines = [
        "出发之前请检查机油，油位应在两条刻度之间",
        "，并且在平坦的地面上测量。不要在发动机运转时",
        "打开机油盖，以免烫伤。",
    ]
    file = write_pdf(tmp_path / "car.pdf", [lines], font=CHINESE)
    (page,) = load_pages([file])
    quote = "不要在发动机运转时打开机油盖，以免烫伤。"
    shown = page_view(page, quote, file)
    assert page.text[shown.start : shown.end] == quote
    assert shown.picture
    assert lines_of(shown.picture) == [1, 2]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_passage_of_the_sample_manual_is_located_on_its_page(
    language: str, manuals: dict[str, ManualIndex]
) -> None:
    file = SAMPLES / f"manual.{language}.pdf"
    for passage in manuals[language].passages[::9]:
        quote = passage.text.strip()
        shown = page_view(manuals[language].page(passage.source, passage.page), quote, file, width=200)
        assert shown.picture and shown.picture.boxes, quote
        assert shown.page.text[shown.start : shown.end] == quote


def test_only_the_quote_is_tinted_and_letters_stay_black(tmp_path: Path) -> None:
    file = write_pdf(tmp_path / "one.pdf", [["Close the sea cocks.", "Then go ashore and enjoy the evening."]])
    plain, marked = (render_page(file, 1, quote) for quote in ("", "Close the sea cocks."))
    assert not plain.boxes
    assert plain.pixels.shape == marked.pixels.shape == (1415, 1000, 3)
    ((left, top, right, bottom),) = marked.boxes
    inside, outside = marked.pixels[top:bottom, left:right], np.array(marked.pixels)
    outside[top:bottom, left:right] = plain.pixels[top:bottom, left:right]
    assert (outside == plain.pixels).all()
    assert inside.max(axis=(0, 1)).tolist() == [255, 229, 114], "the paper under the words is yellow"
    assert inside.min() < 30, "the words on it are not"


def test_a_quote_is_located_despite_hyphens_interruptions_and_ligatures() -> None:
    raw = list("the engi-\nneer checks\x02\nthe ﬁlter.\nPAGE HEAD\nThen he sails.")
    (span,) = locate_quote("the engineer checks", raw)
    assert "".join(raw[slice(*span)]) == "the engi-\nneer checks"
    (span,) = locate_quote("the filter.", raw)
    assert "".join(raw[slice(*span)]) == "the ﬁlter."
    assert ["".join(raw[a:b]) for a, b in locate_quote("the filter. Then he sails.", raw)] == [
        "the ﬁlter.",
        "Then he sails.",
    ]
    assert locate_quote("nothing of this stands here", raw) == []
    assert locate_quote("", raw) == []


def test_a_document_other_than_a_pdf_has_no_picture(tmp_path: Path) -> None:
    file = tmp_path / "m.md"
    file.write_text("# Oil\n\nUse `<b>SAE 30</b>`. Change it often.\n", encoding="utf-8")
    (page,) = load_pages([file])
    shown = page_view(page, "Use <b>SAE 30</b>.", file)
    assert shown.picture is None
    assert shown.page.text[shown.start : shown.end] == "Use <b>SAE 30</b>."
    lost = page_view(page, "It says no such thing.", file)
    assert lost.start == lost.end == 0


def test_a_very_long_page_is_rendered_small(tmp_path: Path) -> None:
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(tmp_path / "road.pdf"), pagesize=(100, 14000))
    canvas.drawString(10, 13000, "A road.")
    canvas.save()
    height, width, _ = render_page(tmp_path / "road.pdf", 1, "A road.").pixels.shape
    assert height <= 3001
    assert width < 30


def test_a_document_that_is_gone_or_changed_is_an_error(tmp_path: Path) -> None:
    file = write_pdf(tmp_path / "one.pdf", [["A page."]])
    with pytest.raises(SourceError, match="no page 7"):
        render_page(file, 7, "A page.")
    file.unlink()
    with pytest.raises(SourceError, match="cannot be opened"):
        render_page(file, 1, "A page.")
