"""The segments of a PDF page in reading order: by their place on it, whatever order the file draws them in.

A page is cut at gutters into columns, and read one column after the other; what crosses a gutter separates bands. Rows
of short segments above each other are tables without lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from egosrag.rag.documents.pdf_text import SAME_LINE, Segment, width, wrapped

_GUTTER = 0.9  # in sizes of the type: the least gap between columns
_PARAGRAPH_GAP = 1.45  # of the usual distance of lines: a larger one starts a paragraph


class Grid(NamedTuple):
    """A table of a page.

    Attributes:
        rows: the text of each cell.
        columns: the x coordinates of the sides of its columns, in points.
        top: the y coordinate of its upper side.
        bottom: the y coordinate of its lower side.
        size: the size of most of its type.
        styled: whether its first row has a style of its own.
    """

    rows: list[list[str]]
    columns: list[float]
    top: float
    bottom: float
    size: float
    styled: bool

    @property
    def left(self) -> float:
        """The x coordinate of its left side."""
        return self.columns[0]

    @property
    def right(self) -> float:
        """The x coordinate of its right side."""
        return self.columns[-1]


Item = Segment | Grid


def in_reading_order(items: Sequence[Item]) -> list[Item | None]:
    """Segments and tables in reading order; None is the space between two paragraphs or blocks."""
    ordered: list[Item | None] = []
    for block in _blocks(list(items), 0):
        if ordered and block:
            ordered.append(None)
        ordered += _with_gaps(block)
    return ordered


def _blocks(items: list[Item], depth: int) -> Iterator[list[Item]]:
    """The items in blocks that are read one after the other."""
    gutter = _gutter(items) if depth < 4 else None
    if gutter is None:
        yield from _with_tables(items)
        return
    left: list[Item] = []
    right: list[Item] = []
    between: list[Item] = []
    for item in sorted(items, key=lambda item: -item.top):
        if item.left < gutter < item.right:
            if left or right:
                yield from _blocks(left, depth + 1)
                yield from _blocks(right, depth + 1)
                left, right = [], []
            between.append(item)
            continue
        if between:
            yield from _with_tables(between)
            between = []
        (left if item.right <= gutter else right).append(item)
    yield from _with_tables(between)
    yield from _blocks(left, depth + 1)
    yield from _blocks(right, depth + 1)


def _gutter(items: Sequence[Item]) -> float | None:
    """The x coordinate of the space between two columns of text; None where there is none.

    On both sides there are lines of text, about as wide as their column: a table has short cells.
    """
    texts = [item for item in items if isinstance(item, Segment)]
    if len(texts) < 6:
        return None
    start, end = min(item.left for item in texts), max(item.right for item in texts)
    best: tuple[int, float] | None = None
    for candidate in sorted({round(item.left, 1) for item in texts}):
        if not start + 0.2 * (end - start) < candidate < end - 0.15 * (end - start):
            continue
        x = candidate - 0.5
        left = [item for item in texts if item.right <= x]
        right = [item for item in texts if item.left >= x]
        crossing = len(texts) - len(left) - len(right)
        if len(left) < 3 or len(right) < 3 or crossing > 0.4 * len(texts):
            continue
        # Only text beside text separates columns.
        beside = [item for item in left if any(o.bottom < item.top and o.top > item.bottom for o in right)]
        gap = x - max(item.right for item in left)
        if len(beside) < 3 or gap < _GUTTER * median(item.size for item in texts):
            continue
        if not (_is_prose(left) and _is_prose(right)):
            continue
        if best is None or (crossing, -gap) < best:
            best = (crossing, -gap)
            found = x - gap / 2
    return None if best is None else found


def _is_prose(items: Sequence[Segment]) -> bool:
    """Whether these are lines of running text: many are about as wide as the widest, and not short."""
    widest = max(item.right - item.left for item in items)
    full = [item for item in items if item.right - item.left >= 0.7 * widest]
    letters = median(width(item.text) for item in full)
    return letters >= 20 and len(full) * 2 >= len(items)


def _with_tables(items: Sequence[Item]) -> Iterator[list[Item]]:
    """The items of one column from the top, rows of short segments as tables."""
    lines: list[list[Item]] = []
    for item in sorted(items, key=lambda item: -item.top):
        line = lines[-1] if lines else []
        level = line[0] if line else None
        if (
            isinstance(item, Segment)
            and isinstance(level, Segment)
            and abs(level.bottom - item.bottom) <= SAME_LINE * min(level.height, item.height)
        ):
            line.append(item)
        else:
            lines.append([item])
    for line in lines:
        line.sort(key=lambda item: item.left)
    block: list[Item] = []
    at = 0
    while at < len(lines):
        end = _table_end(lines, at)
        if grid := _unruled(lines[at:end]) if end - at >= 3 else None:
            yield block
            yield [grid]
            block, at = [], end
        else:
            block += lines[at]
            at += 1
    yield block


def _table_end(lines: Sequence[Sequence[Item]], at: int) -> int:
    """The end of the lines from ``at`` that may be a table without rules: with several segments, or within a column."""
    if len(lines[at]) < 2:
        return at
    end = at
    while end < len(lines) and all(isinstance(item, Segment) for item in lines[end]):
        if len(lines[end]) < 2:
            item, above = lines[end][0], lines[end - 1][0]
            is_wrapped = item.left >= lines[at][1].left - 2  # the rest of a cell of a later column
            if not is_wrapped or above.bottom - item.top > item.top - item.bottom:
                break
        end += 1
    return end


def _unruled(lines: Sequence[Sequence[Item]]) -> Grid | None:
    """The table of lines with several segments, whose columns are separated by white space; None if they are none."""
    parts = [[item for item in line if isinstance(item, Segment)] for line in lines]
    flat = [item for line in parts for item in line]
    size = median(item.size for item in flat)
    columns = _columns(flat, _GUTTER * size)
    several = sum(len(line) > 1 for line in parts)
    if len(columns) < 2 or several < 3 or several * 2 < len(parts):
        return None
    rows: list[list[str]] = []
    for line in parts:
        cells = [""] * len(columns)
        for item in line:
            n = next(n for n, (left, right) in enumerate(columns) if left - 1 <= item.left and item.right <= right + 1)
            cells[n] = f"{cells[n]} {item.text}".strip()
        if rows and not cells[0]:  # the rest of wrapped cells
            rows[-1] = [wrapped([above, cell]) for above, cell in zip(rows[-1], cells, strict=True)]
        else:
            rows.append(cells)
    filled = [sum(map(bool, row)) for row in rows]
    if len(rows) < 3 or sum(count >= 2 for count in filled) < 3:
        return None
    longest = max(width(cell) for row in rows for cell in row)
    if longest > 160 or len(columns) > 12:
        return None
    sides = [columns[0][0], *(left for left, _ in columns[1:]), columns[-1][1]]
    styled = all(item.bold for item in parts[0]) and not all(item.bold for item in parts[-1])
    return Grid(rows, sides, max(i.top for i in flat), min(i.bottom for i in flat), size, styled)


def _columns(items: Sequence[Segment], gap: float) -> list[tuple[float, float]]:
    """The x ranges that segments cover, separated by at least ``gap``."""
    columns: list[tuple[float, float]] = []
    for item in sorted(items, key=lambda item: item.left):
        if columns and item.left - columns[-1][1] < gap:
            columns[-1] = (columns[-1][0], max(columns[-1][1], item.right))
        else:
            columns.append((item.left, item.right))
    return columns


def _with_gaps(block: Sequence[Item]) -> list[Item | None]:
    """The items of a block with None where a paragraph starts: after a gap, in another size, or indented."""
    distances = [a.bottom - b.bottom for a, b in zip(block, block[1:], strict=False) if a.bottom > b.bottom + 1]
    usual = median(distances) if distances else 0.0
    result: list[Item | None] = []
    for n, item in enumerate(block):
        if n:
            above = block[n - 1]
            apart = above.bottom - item.bottom > _PARAGRAPH_GAP * usual > 0
            other_size = abs(above.size - item.size) > 0.15 * above.size
            indented = abs(item.left - above.left) > 0.5 * item.size and _ends_sentence(above)
            if isinstance(item, Grid) or isinstance(above, Grid) or apart or other_size or indented:
                result.append(None)
        result.append(item)
    return result


def _ends_sentence(item: Item) -> bool:
    return isinstance(item, Segment) and bool(re.search(r"[。！？；.!?;:：][”’」』）)\"']*$", item.text))
