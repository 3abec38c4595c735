"""Tables in LaTeX, as programs that read pages of PDF files write them (Nougat, Mathpix, MinerU), as lines of text."""

from __future__ import annotations

import re

from egosrag.rag.documents.tables import table_lines

_TABLE = re.compile(r"\\begin\{(tabular[x*]?|longtable|array)\}(.*?)\\end\{\1\}", re.DOTALL)
_COLUMNS = re.compile(r"\A\s*(?:\[[^\]]*\]\s*)?(?:\{(?:[^{}]|\{[^{}]*\})*\}\s*){1,2}")  # {|l|p{3cm}|}, {10cm}{ll}
_ROW_END = re.compile(r"\\\\(?:\[[^\]]*\])?")
_CELL_END = re.compile(r"(?<!\\)&")
_RULES = re.compile(r"\\(?:hline|toprule|midrule|bottomrule|endhead|cline\{[^}]*\}|cmidrule(?:\([^)]*\))?\{[^}]*\})")
_SPAN = re.compile(r"\\multicolumn\{(\d{1,2})\}\{[^{}]*\}\{(.*)\}", re.DOTALL)
_ROWS = re.compile(r"\\multirow\{[^{}]*\}\{[^{}]*\}\{(.*)\}", re.DOTALL)
_STYLE = re.compile(r"\\(?:text(?:bf|it|tt|rm|sf|sc)?|emph|mathrm|mathbf|underline)\{([^{}]*)\}")
_SYMBOLS = {
    r"\times": "×", r"\pm": "±", r"\leq": "≤", r"\geq": "≥", r"\le": "≤", r"\ge": "≥", r"\mu": "µ", r"\Omega": "Ω",
    r"\checkmark": "✓", r"\bullet": "•", r"\cdot": "·", r"\rightarrow": "→", r"\sim": "~", r"\approx": "≈",
    r"\prime": "′", r"\circ": "°", r"\degree": "°", r"\quad": " ", r"\,": " ", r"\ ": " ",
}  # fmt: skip
_SYMBOL = re.compile("|".join(f"{re.escape(name)}(?![A-Za-z])" for name in sorted(_SYMBOLS, key=len, reverse=True)))
_MATHS = re.compile(r"(?<!\\)\$\$?")
_RAISED = re.compile(r"\s*(?:\{ *\})?\s*\^\s*(?:\{\s*([°′ ]+)\s*\}|([°′]))")  # degrees and minutes stand on the line
_ESCAPED = re.compile(r"\\([%$&#_{}])")


def without_latex_tables(text: str) -> str:
    """The text with each LaTeX table as lines, a row a line with its column names; other text stays as it is."""
    if "\\begin{" not in text:
        return text
    return _TABLE.sub(lambda match: "\n".join(_lines(_rows(match[2]))), text)


def _lines(rows: list[list[str]]) -> list[str]:
    """The rows as lines; where the columns repeat a few values (Yes, No) the first row is taken for their names."""
    values = [cell for row in rows[1:] for cell in row[1:]]
    return table_lines(rows, likely=len(values) > 3 and 2 * len(set(values)) < len(values))


def _rows(body: str) -> list[list[str]]:
    body = _RULES.sub(" ", _COLUMNS.sub("", body))
    rows = [[cell for part in _CELL_END.split(row) for cell in _cells(part)] for row in _ROW_END.split(body)]
    return [row for row in rows if any(row)]


def _cells(part: str) -> list[str]:
    """The text of a cell, once for each column that it spans."""
    part = part.strip()
    span = _SPAN.fullmatch(part)
    return [_plain(span[2])] * int(span[1]) if span else [_plain(part)]


def _plain(cell: str) -> str:
    if rows := _ROWS.fullmatch(cell.strip()):
        cell = rows[1]
    cell = _SYMBOL.sub(lambda match: _SYMBOLS[match.group()], _STYLE.sub(r"\1", cell))
    cell = _RAISED.sub(lambda match: (match[1] or match[2]).replace(" ", ""), _MATHS.sub("", cell))
    return " ".join(_ESCAPED.sub(r"\1", cell).split())
