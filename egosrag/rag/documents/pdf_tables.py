"""Ruled tables of a PDF page: the cells that its lines enclose, with the text in them; a merged cell is repeated."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from egosrag.rag.documents.pdf_layout import Grid
from egosrag.rag.documents.pdf_objects import Character, Rule
from egosrag.rag.documents.pdf_text import cell_text

_NEAR = 3.0  # points within which lines are the same, and ends of lines touch
_MIN_CELL = 5.0  # points
_MAX_LINES = 400  # columns or rows of a table; more are a drawing


class _Frame(NamedTuple):
    """Lines that touch each other."""

    horizontal: list[Rule]
    vertical: list[Rule]


def ruled_tables(
    characters: Sequence[Character], horizontal: Sequence[Rule], vertical: Sequence[Rule]
) -> tuple[list[Grid], list[Character]]:
    """The ruled tables of a page, and the characters outside of them."""
    grids: list[Grid] = []
    rest = list(characters)
    for frame in _frames(_merged(horizontal), _merged(vertical)):
        xs, ys = _positions(frame.vertical), _positions(frame.horizontal)
        if not (3 <= len(xs) <= _MAX_LINES and 3 <= len(ys) <= _MAX_LINES):
            continue
        inside = [c for c in rest if xs[0] <= (c.left + c.right) / 2 <= xs[-1] and ys[0] <= _middle(c) <= ys[-1]]
        grid = _grid(inside, xs, ys, frame)
        if grid:
            grids.append(grid)
            taken = set(map(id, inside))
            rest = [character for character in rest if id(character) not in taken]
    return grids, rest


def _middle(character: Character) -> float:
    return (character.bottom + character.top) / 2


def _grid(characters: Sequence[Character], xs: list[float], ys: list[float], frame: _Frame) -> Grid | None:
    """The table of the cells between the lines; None if fewer than two columns or rows have text."""
    columns, rows = len(xs) - 1, len(ys) - 1
    cell_of = list(range(columns * rows))  # of each field of the grid the first field of its cell

    def first(field: int) -> int:
        while cell_of[field] != field:
            field = cell_of[field]
        return field

    for row in range(rows):
        for column in range(columns):
            field = row * columns + column
            if column and not _covered(frame.vertical, xs[column], ys[row], ys[row + 1]):
                cell_of[first(field)] = first(field - 1)
            if row and not _covered(frame.horizontal, ys[row], xs[column], xs[column + 1]):
                cell_of[first(field)] = first(field - columns)
    texts: dict[int, list[Character]] = {}
    for character in characters:
        column = min(bisect_right(xs, (character.left + character.right) / 2) - 1, columns - 1)
        row = min(bisect_right(ys, _middle(character)) - 1, rows - 1)
        texts.setdefault(first(row * columns + column), []).append(character)
    cells = {field: cell_text(inside) for field, inside in texts.items()}
    table = [[cells.get(first(row * columns + n), "") for n in range(columns)] for row in reversed(range(rows))]
    table = [row for row in table if any(row)]
    used = [n for n in range(columns) if any(row[n] for row in table)]
    if len(table) < 2 or len(used) < 2 or all(len(set(row)) == 1 for row in table):
        return None
    table = [[row[n] for n in used] for row in table]
    top = [c for c in characters if _middle(c) >= ys[-2] and not c.text.isspace()]
    below = [c for c in characters if _middle(c) < ys[-2] and not c.text.isspace()]
    styled = bool(top and below) and all(c.bold for c in top) and not all(c.bold for c in below)
    return Grid(table, [xs[n] for n in used] + [xs[-1]], ys[-1], ys[0], median(c.size for c in characters), styled)


def _covered(lines: Sequence[Rule], at: float, start: float, end: float) -> bool:
    """Whether lines at a position cover more than half of the range from ``start`` to ``end``."""
    length = sum(max(0.0, min(line.end, end) - max(line.start, start)) for line in lines if abs(line.at - at) <= _NEAR)
    return length * 2 > end - start


def _positions(lines: Sequence[Rule]) -> list[float]:
    """The distinct positions of lines, in order."""
    positions: list[float] = []
    for at in sorted(line.at for line in lines):
        if not positions or at - positions[-1] > _MIN_CELL:
            positions.append(at)
    return positions


def _merged(lines: Sequence[Rule]) -> list[Rule]:
    """Lines with the pieces of each as one."""
    merged: list[Rule] = []
    ordered = sorted(lines)
    # Lines at nearly the same position are brought to one before their pieces are joined.
    groups: list[list[Rule]] = []
    for line in ordered:
        if groups and line.at - groups[-1][0].at <= _NEAR:
            groups[-1].append(line)
        else:
            groups.append([line])
    for group in groups:
        at = group[0].at
        for line in sorted(group, key=lambda line: line.start):
            last = merged[-1] if merged else None
            if last and last.at == at and line.start <= last.end + _NEAR:
                merged[-1] = Rule(at, last.start, max(last.end, line.end))
            else:
                merged.append(Rule(at, line.start, line.end))
    return [line for line in merged if line.end - line.start >= _MIN_CELL]


def _frames(horizontal: Sequence[Rule], vertical: Sequence[Rule]) -> list[_Frame]:
    """The lines in groups that touch each other."""
    if not horizontal or not vertical or len(horizontal) * len(vertical) > 1_000_000:
        return []
    parent = list(range(len(horizontal) + len(vertical)))

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    for i, line in enumerate(horizontal):
        for j, other in enumerate(vertical):
            crosses = other.start - _NEAR <= line.at <= other.end + _NEAR
            if crosses and line.start - _NEAR <= other.at <= line.end + _NEAR:
                parent[root(i)] = root(len(horizontal) + j)
    groups: dict[int, _Frame] = {}
    for i, line in enumerate(horizontal):
        groups.setdefault(root(i), _Frame([], [])).horizontal.append(line)
    for j, line in enumerate(vertical):
        groups.setdefault(root(len(horizontal) + j), _Frame([], [])).vertical.append(line)
    return sorted(groups.values(), key=lambda frame: -max((line.at for line in frame.horizontal), default=0.0))
