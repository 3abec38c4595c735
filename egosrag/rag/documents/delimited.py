"""CSV and TSV: a script with a column of speakers gives lines of dialogue, any other table its rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from egosrag.errors import SourceError
from egosrag.rag.documents.raw import Line, RawDocument, RawPage
from egosrag.rag.documents.tables import table_lines
from egosrag.text.encoding import decode

_MAX_CELL = 131_072  # characters
_SAMPLE_ROWS = 200  # rows from which the number of columns is estimated
_NUMBER = re.compile(r"[-+]?\d[\d.,]*%?")
_SPEAKERS = ["speaker", "character", "角色", "说话人", "发言人"]
_PERHAPS_SPEAKERS = ["name", "role", "from", "sender", "author", "人物", "姓名"]
_SPEECH = ["line", "dialogue", "dialog", "utterance", "台词", "对白"]
_PERHAPS_SPEECH = ["text", "message", "content", "quote", "内容", "文本"]
# Columns that a script may have besides; a table with any other column is read as a table.
_SCRIPT_DATA = re.compile(
    r"id|index|no\.?|number|#|line_?no|line_number|turn|time|timestamp|date|start|end|scene|act|episode|season|chapter|"
    r"part|emotion|序号|编号|时间|日期|场景|场次|幕|集|季|章|情绪"
)


def read_table(path: Path) -> RawDocument:
    """The lines of a CSV or TSV file: ``speaker: text`` for a script, else ``column: value | column: value``.

    Raises:
        SourceError: the file is not text, or not a table.
    """
    rows = _rows(path, decode(path).lstrip("\ufeff"))
    top = _header_row(rows)
    header, body = (rows[top], rows[top + 1 :]) if top < len(rows) else ([], [])
    titles = [" ".join(filter(None, row)) for row in rows[:top]]
    if not body and header and not titles:
        raise SourceError(f"{path} is a table without rows: give one with a line below its column names")
    if script := _script_columns(header, body):
        speaker, text = script
        width = max(speaker, text)
        lines = [f"{row[speaker]}: {row[text]}" for row in body if len(row) > width and row[speaker] and row[text]]
    else:
        named = bool(header) and (not header[0] or not all(_NUMBER.fullmatch(cell) for cell in header if cell))
        lines = table_lines([header, *body], int(named))
    return RawDocument([RawPage(1, [Line(line) for line in [*titles, *lines]])], "flow")


def _rows(path: Path, text: str) -> list[list[str]]:
    """The rows that have a cell with text, each cell on one line."""
    beginning = text[:4096].splitlines()[:20]
    # The most frequent one in a typical line; the standard library's sniffer takes minutes for some tables.
    delimiter = max((",", ";", "\t", "|"), key=lambda mark: median([line.count(mark) for line in beginning] or [0]))
    limit = csv.field_size_limit(_MAX_CELL)  # process-wide; other libraries raise it
    try:
        read = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise SourceError(f"{path} is not a table that can be read ({error}): save it again") from error
    finally:
        csv.field_size_limit(limit)
    return [row for row in ([" ".join(cell.split()) for cell in row] for row in read) if any(row)]


def _header_row(rows: Sequence[Sequence[str]]) -> int:
    """The index of the row of column names: titles above it fill few columns."""
    usual = median(sum(map(bool, row)) for row in rows[:_SAMPLE_ROWS]) if rows else 0
    for n, row in enumerate(rows):
        filled = sum(map(bool, row))
        is_title = bool(row[0]) and filled < max(2, usual * 0.6)
        if usual < 2 or not is_title:
            return n
    return 0


def _script_columns(header: Sequence[str], body: Sequence[Sequence[str]]) -> tuple[int, int] | None:
    """The columns of the speaker and the speech of a script; None for any other table.

    A table "Name, Text" may be a list of anything: it is a script where names recur, or one column says so.
    """
    names = [name.casefold().replace(" ", "_") for name in header]
    speaker = _first_column(names, [*_SPEAKERS, *_PERHAPS_SPEAKERS])
    speech = _first_column(names, [*_SPEECH, *_PERHAPS_SPEECH])
    if speaker is None or speech is None or speaker == speech:
        return None
    if any(name and not _SCRIPT_DATA.fullmatch(name) for n, name in enumerate(names) if n not in (speaker, speech)):
        return None
    if names[speaker] not in _SPEAKERS and names[speech] not in _SPEECH:
        speakers = [row[speaker] for row in body if len(row) > speaker]
        if len(speakers) < 4 or len(set(speakers)) * 2 > len(speakers):
            return None
    return speaker, speech


def _first_column(names: Sequence[str], known: Sequence[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)
