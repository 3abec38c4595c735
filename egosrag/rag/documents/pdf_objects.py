"""What PDFium says about a page: its characters with their boxes, and the ruled lines."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any, NamedTuple

_MAX_PATHS = 20_000  # drawn objects of a page that are looked at; more are a drawing and no table
_MAX_DEPTH = 4  # of forms in forms
_THIN = 2.5  # points: a filled rectangle that is thinner is a line


class Character(NamedTuple):
    """One character with its box in points from the lower left corner of the page; ``bottom`` is below the baseline."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    size: float
    bold: bool


class Rule(NamedTuple):
    """A horizontal or a vertical line: its constant coordinate, and where it starts and ends in the other one."""

    at: float
    start: float
    end: float


def characters(textpage: Any) -> Iterator[Character]:
    """The characters of a page in the order of the file; line ends and characters without a place are left out."""
    import pypdfium2.raw as pdfium

    box, flags = pdfium.FS_RECTF(), ctypes.c_int()
    name = ctypes.create_string_buffer(128)
    bold, styled = False, (-1.0, -1)
    for i in range(textpage.count_chars()):
        code = pdfium.FPDFText_GetUnicode(textpage.raw, i)
        if code in (0, 10, 13) or not pdfium.FPDFText_GetLooseCharBox(textpage.raw, i, box):
            continue
        size = float(pdfium.FPDFText_GetFontSize(textpage.raw, i))
        style = (size, pdfium.FPDFText_GetFontWeight(textpage.raw, i))
        if style != styled:  # the font's name is read where something else changes too
            pdfium.FPDFText_GetFontInfo(textpage.raw, i, name, len(name), ctypes.byref(flags))
            bold, styled = style[1] >= 600 or b"bold" in name.value.lower(), style
        text = chr(code) if code <= 0x10FFFF else "\ufffd"
        yield Character(text, box.left, box.bottom, box.right, box.top, size, bold)


def rules(page: Any) -> tuple[list[Rule], list[Rule]]:
    """The horizontal and the vertical lines that are drawn on a page, those of rectangles included."""
    import pypdfium2.raw as pdfium

    horizontal, vertical = list[Rule](), list[Rule]()
    page_objects = (page.raw, pdfium.FPDFPage_CountObjects, pdfium.FPDFPage_GetObject)
    for count, (path, matrix) in enumerate(_paths(*page_objects, (1, 0, 0, 1, 0, 0), 0)):
        if count == _MAX_PATHS:
            return [], []
        for (x0, y0), (x1, y1) in _edges(path, matrix):
            if abs(y0 - y1) <= _THIN and abs(x0 - x1) > _THIN:
                horizontal.append(Rule((y0 + y1) / 2, min(x0, x1), max(x0, x1)))
            elif abs(x0 - x1) <= _THIN and abs(y0 - y1) > _THIN:
                vertical.append(Rule((x0 + x1) / 2, min(y0, y1), max(y0, y1)))
    return horizontal, vertical


Matrix = tuple[float, float, float, float, float, float]
Point = tuple[float, float]


def _paths(parent: Any, count: Any, get: Any, matrix: Matrix, depth: int) -> Iterator[tuple[Any, Matrix]]:
    """The paths among the objects of a page, or of a form on it, each with the matrix of the form."""
    import pypdfium2.raw as pdfium

    for i in range(min(count(parent), _MAX_PATHS)):
        item = get(parent, i)
        kind = pdfium.FPDFPageObj_GetType(item)
        if kind == pdfium.FPDF_PAGEOBJ_PATH:
            yield item, matrix
        elif kind == pdfium.FPDF_PAGEOBJ_FORM and depth < _MAX_DEPTH:
            inner = _product(_matrix(item), matrix)
            yield from _paths(item, pdfium.FPDFFormObj_CountObjects, pdfium.FPDFFormObj_GetObject, inner, depth + 1)


def _edges(path: Any, outer: Matrix) -> Iterator[tuple[Point, Point]]:
    """The straight lines of a path that is painted; a thin rectangle gives its long sides."""
    import pypdfium2.raw as pdfium

    fill, stroke = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDFPath_GetDrawMode(path, ctypes.byref(fill), ctypes.byref(stroke))
    if not fill.value and not stroke.value:
        return
    matrix = _product(_matrix(path), outer)
    x, y = ctypes.c_float(), ctypes.c_float()
    start = last = (0.0, 0.0)
    for i in range(min(pdfium.FPDFPath_CountSegments(path), _MAX_PATHS)):
        segment = pdfium.FPDFPath_GetPathSegment(path, i)
        pdfium.FPDFPathSegment_GetPoint(segment, ctypes.byref(x), ctypes.byref(y))
        a, b, c, d, e, f = matrix
        point = (a * x.value + c * y.value + e, b * x.value + d * y.value + f)
        kind = pdfium.FPDFPathSegment_GetType(segment)
        if kind == pdfium.FPDF_SEGMENT_MOVETO:
            start = point
        elif kind == pdfium.FPDF_SEGMENT_LINETO:
            yield last, point
        last = point
        if pdfium.FPDFPathSegment_GetClose(segment):
            yield last, start
            last = start


def _matrix(item: Any) -> Matrix:
    import pypdfium2.raw as pdfium

    matrix = pdfium.FS_MATRIX()
    pdfium.FPDFPageObj_GetMatrix(item, ctypes.byref(matrix))
    return (matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f)


def _product(one: Matrix, two: Matrix) -> Matrix:
    """The transformation by ``one`` and then by ``two``."""
    a, b, c, d, e, f = one
    p, q, r, s, t, u = two
    return (a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s, e * p + f * r + t, e * q + f * s + u)
