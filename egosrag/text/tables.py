"""Table rows in text, as the document readers write them: one a line, the cells between bars."""

from __future__ import annotations

import re

_LABELLED = re.compile(r"[^:：|]+[:：]\s?[^|]*(?:\|[^:：|]+[:：]\s?[^|]*)+")
_OUTER_BARS = re.compile(r"^\s*\|?\s*|\s*\|?\s*$")


def cells(line: str) -> list[str]:
    """The cells of a table row, ``| Petrol | 52 litres |`` or ``Petrol | 52 litres``; none for any other line."""
    return [cell.strip() for cell in _OUTER_BARS.sub("", line).split("|")] if "|" in line else []


def header_above(text: str, offset: int) -> str:
    """The header of the table with the row at ``offset``: its first row; empty where that is it, or there is none."""
    lines = text[:offset].splitlines()
    first = ""
    while lines and cells(lines[-1]):
        first = lines.pop()
    return first if cells(text[offset:].partition("\n")[0]) else ""


def labelled_rows(text: str, language: str, *, starts_inside: bool = False) -> str:
    """``text`` with each table row as ``header: cell; header: cell.``, and without the headers' own rows.

    Rows that are labelled already (``Fluid: oil | Amount: 4.6 litres``) stay as they are.

    Args:
        text: lines of text and of tables; the first row of a table is its header.
        language: "zh" or "en", for the punctuation.
        starts_inside: whether the text may begin inside a table: its rows up to the next line of text are left.
    """
    colon, semicolon, stop = ("：", "；", "。") if language == "zh" else (": ", "; ", ".")
    header: list[str] | None = [] if starts_inside else None  # None: the next row is a header
    lines = []
    rows = text.split("\n")
    for n, line in enumerate(rows):
        row = [] if _LABELLED.fullmatch(line) else cells(line)
        if not row:
            header = None
            lines.append(line)
        elif header is None and n + 1 < len(rows) and len(cells(rows[n + 1])) == len(row):
            header = row
        elif header and len(header) == len(row):
            pairs = zip(header, row, strict=True)
            lines.append(semicolon.join(h + colon + cell if h else cell for h, cell in pairs if cell) + stop)
        else:
            lines.append(line)
    return "\n".join(lines)
