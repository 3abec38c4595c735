"""Tables of any format as lines of text: each row with its column names, ``Fluid: Engine oil | Every: 10,000 km``.

A row is one line, so that it is found, read and cited by itself. Readers give the cells of the grid; cells that span
several rows or columns are repeated in each of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_VALUE = re.compile(r"[\d％%]")
_LONGEST_HEADER = 60  # characters


def table_lines(rows: Sequence[Sequence[str]], headers: int | None = None, *, likely: bool = False) -> list[str]:
    """The lines of a table.

    Args:
        rows: the text of each cell; rows may be of different lengths.
        headers: number of the rows with column names at the top; None: recognized by their form.
        likely: whether the format says, not for certain, that the first row has the column names.

    Returns:
        A line for each row, its cells as ``name: text`` and joined by " | "; a row that is one text across all columns
        is that text; empty cells are left out.
    """
    grid = [[_cell(cell) for cell in row] for row in rows]
    columns = max(map(len, grid), default=0)
    grid = [[*row, *[""] * (columns - len(row))] for row in grid if any(row)]
    if headers is None:
        titles = _titles(grid)
        headers = titles + int(_has_header(grid[titles:], likely))
    else:
        titles = _titles(grid[:headers])
    names = column_names(grid[titles:headers], columns)
    lines = [row[0] for row in grid[:titles]]
    if headers == len(grid):  # nothing but the header
        return lines + [_joined(row) for row in grid[titles:]]
    for row in grid[headers:]:
        across = columns > 1 and row.count(row[0]) == columns
        lines.append(row[0] if across else _joined([labelled(n, c) for n, c in zip(names, row, strict=True)]))
    return lines


def labelled(name: str, cell: str) -> str:
    """A cell with its column name; an empty cell stays empty."""
    if not name or not cell or name == cell:
        return cell
    return f"{name}: {cell}" if name[-1].isascii() else f"{name}：{cell}"


def column_names(rows: Sequence[Sequence[str]], columns: int) -> list[str]:
    """The name of each column from the rows of a header, of which the upper ones may group columns."""
    names = []
    for column in range(columns):
        parts = [row[column].rstrip(":： ") for row in rows if column < len(row) and row[column]]
        names.append(" ".join(dict.fromkeys(parts)))
    return names


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def _joined(cells: Sequence[str]) -> str:
    return " | ".join(cell for cell in cells if cell)


def _titles(grid: Sequence[Sequence[str]]) -> int:
    """The number of rows above the header that are a title: one text in the first column, or across several."""

    def is_title(row: Sequence[str]) -> bool:
        return len(row) > 1 and bool(row[0]) and len({cell for cell in row if cell}) == 1

    count = next((n for n, row in enumerate(grid) if not is_title(row)), 0)
    return count if count + 1 < len(grid) else 0


def _has_header(grid: Sequence[Sequence[str]], likely: bool) -> bool:
    """Whether the first row names the columns: short texts without values, above a column of values."""
    if len(grid) < 2 or len(grid[0]) < 2:
        return False
    head, body = grid[0], grid[1:]
    if any(len(cell) > _LONGEST_HEADER or _VALUE.search(cell) for cell in head) or not all(head[1:]):
        return False
    if len(set(head)) < len(head):
        return False
    if likely:
        return True
    values = [sum(bool(_VALUE.search(row[column])) for row in body) for column in range(len(head))]
    return max(values) * 2 > len(body)
