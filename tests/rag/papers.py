"""Documents made for the tests: real PDFs with running heads, page numbers, headings and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

CHINESE = "STSong-Light"


def write_pdf(
    path: Path,
    pages: Sequence[Sequence[str | tuple[str, int]]],
    *,
    font: str = "Helvetica",
    password: str | None = None,
) -> Path:
    """A PDF of lines; a line that is (text, size) has that font size, others 10; a page without lines is a picture."""
    if font == CHINESE:
        pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))
    canvas = Canvas(str(path), encrypt=StandardEncryption(password) if password else None)
    for lines in pages:
        y = 800
        for line in lines:
            text, size = line if isinstance(line, tuple) else (line, 10)
            canvas.setFont(font, size)
            canvas.drawString(50, y, text)
            y -= 20
        if not lines:
            canvas.rect(100, 100, 300, 300, fill=1)
        canvas.showPage()
    canvas.save()
    return path
