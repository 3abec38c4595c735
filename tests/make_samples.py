"""Print the sample manuals as PDFs: python -m tests.make_samples [--font FILE].

The Chinese one embeds the glyphs that it uses of WenQuanYi Micro Hei (Apache-2.0; Debian: fonts-wqy-microhei),
so that it can be seen wherever it is opened. The same text gives the same bytes.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

SAMPLES = Path(__file__).resolve().parent.parent / "egosrag" / "data" / "samples"
FONT = "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"
TITLE = {"en": "Halden 5 Owner's Manual", "zh": "海登5用户手册"}
_MARK = re.compile(r"<!-- page (\d+) -->\n")
_DANGER = re.compile(r"(Warning!|Note:|警告！|注意：)")


def pages(markdown: str) -> dict[int, str]:
    """The Markdown's pages by number."""
    parts = _MARK.split(markdown)[1:]
    return {int(number): text.strip() for number, text in zip(parts[::2], parts[1::2], strict=True)}


def _styles(font: str, bold: str, language: str) -> dict[str, ParagraphStyle]:
    wrap = {"wordWrap": "CJK"} if language == "zh" else {}
    body = ParagraphStyle("body", fontName=font, fontSize=9, leading=13, spaceAfter=4, **wrap)
    return {
        "body": body,
        "##": ParagraphStyle("h1", body, fontName=bold, fontSize=14, leading=19, spaceAfter=6),
        "###": ParagraphStyle("h2", body, fontName=bold, fontSize=10.5, leading=15, spaceBefore=4, spaceAfter=3),
        "danger": ParagraphStyle("danger", body, backColor=colors.HexColor("#fff1d6"), borderPadding=3, spaceBefore=5),
        "cell": ParagraphStyle("cell", body, fontSize=8, leading=11, spaceAfter=0),
    }


def _table(lines: list[str], style: dict[str, ParagraphStyle]) -> Table:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows = [[Paragraph(escape(cell), style["cell"]) for cell in row] for n, row in enumerate(cells) if n != 1]
    grid = [("GRID", (0, 0), (-1, -1), 0.4, colors.grey), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    padding = [("TOPPADDING", (0, 0), (-1, -1), 2), ("BOTTOMPADDING", (0, 0), (-1, -1), 3)]
    return Table(rows, style=TableStyle(grid + padding), hAlign="LEFT", spaceAfter=5)


def _blocks(text: str, style: dict[str, ParagraphStyle]) -> Iterator[Flowable]:
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("|"):
            yield _table(lines, style)
        elif lines[0].startswith("#"):
            mark, title = lines[0].split(" ", 1)
            yield Paragraph(escape(title), style[mark])
        else:
            for line in lines:
                yield Paragraph(escape(line), style["danger" if _DANGER.match(line) else "body"])


def build(language: str, out: Path, font_file: str) -> None:
    """Write ``manual.<language>.md`` as a PDF whose pages are the Markdown's pages."""
    font, bold = ("Sample", "Sample") if language == "zh" else ("Helvetica", "Helvetica-Bold")
    if language == "zh":
        pdfmetrics.registerFont(TTFont("Sample", font_file))
    style = _styles(font, bold, language)
    texts = pages((SAMPLES / f"manual.{language}.md").read_text(encoding="utf-8"))
    story: list[Flowable] = []
    for number, text in texts.items():
        story += [*([PageBreak()] if number > 1 else []), *_blocks(text, style), Spacer(0, 0)]

    def furniture(canvas: Canvas, document: SimpleDocTemplate) -> None:
        canvas.setFont(font, 7)
        canvas.drawString(15 * mm, A5[1] - 9 * mm, TITLE[language])
        canvas.drawCentredString(A5[0] / 2, 8 * mm, str(document.page))

    margins = {"leftMargin": 15 * mm, "rightMargin": 15 * mm, "topMargin": 14 * mm, "bottomMargin": 13 * mm}
    document = SimpleDocTemplate(str(out), pagesize=A5, title=TITLE[language], invariant=1, **margins)
    document.build(story, onFirstPage=furniture, onLaterPages=furniture)
    if document.page != len(texts):
        raise SystemExit(f"{out}: {document.page} pages printed of {len(texts)} written: shorten the longest page")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--font", default=FONT, help="a TrueType font with Chinese glyphs")
    arguments = parser.parse_args()
    for language in ("en", "zh"):
        out = SAMPLES / f"manual.{language}.pdf"
        build(language, out, arguments.font)
        print(f"{out.name}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
