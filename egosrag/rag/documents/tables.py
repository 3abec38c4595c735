"""CSV and TSV tables: a script with a column of speakers gives lines of dialogue, any other table gives its rows.

They are read with LangChain Community's loader. Its loaders for text and HTML are not used: they detect neither the
encodings nor the headings that ``readers`` does.
"""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path

from egosrag.errors import SourceError
from egosrag.text.encoding import decode

_ENCODINGS = ("utf-8-sig", "utf-16", "utf-32", "gb18030")
_MAX_CELL = 131_072  # characters
_SPEAKER_COLUMNS = (
    "speaker",
    "character",
    "name",
    "role",
    "from",
    "sender",
    "author",
    "角色",
    "说话人",
    "人物",
    "发言人",
    "姓名",
)
_TEXT_COLUMNS = (
    "line",
    "text",
    "dialogue",
    "dialog",
    "utterance",
    "message",
    "content",
    "quote",
    "台词",
    "对白",
    "内容",
    "文本",
)


def rows(path: Path) -> list[str]:
    """One line of text for each row: ``speaker: text`` for a script, else ``column: value | column: value``.

    Raises:
        SourceError: the file is not text, or not a table.
    """
    with warnings.catch_warnings():
        # The package warns on import that it is no longer developed; its version is pinned.
        warnings.simplefilter("ignore", DeprecationWarning)
        from langchain_community.document_loaders import CSVLoader

    text = decode(path)
    data = path.read_bytes()
    encoding = next((name for name in _ENCODINGS if _decodes_to(data, name, text)), None)
    if encoding is None:
        raise SourceError(f"{path} is a table in an encoding that is not supported: save it as UTF-8")
    header = re.split(r"[\r\n]", text.lstrip("\ufeff"), maxsplit=1)[0]
    # The most frequent one in the first line; the standard library's sniffer takes minutes for some tables.
    delimiter = max((",", ";", "\t"), key=header.count)
    columns = next(csv.reader([header], delimiter=delimiter), [])
    speaker, text_column = _first_column(columns, _SPEAKER_COLUMNS), _first_column(columns, _TEXT_COLUMNS)
    script = speaker is not None and text_column is not None
    limit = csv.field_size_limit(_MAX_CELL)  # process-wide; other libraries raise it
    try:
        loaded = CSVLoader(
            path,
            encoding=encoding,
            csv_args={"delimiter": delimiter},
            metadata_columns=[speaker, text_column] if speaker and text_column else [],
        ).load()
    except (RuntimeError, ValueError) as error:
        raise SourceError(
            f"{path} is not a table that can be read ({error.__cause__ or error}): save it again"
        ) from error
    finally:
        csv.field_size_limit(limit)
    if not script:
        return [" | ".join(row.page_content.splitlines()) for row in loaded]
    lines = [(row.metadata[speaker], row.metadata[text_column]) for row in loaded]
    return [f"{' '.join(name.split())}: {' '.join(text.split())}" for name, text in lines if name and text]


def _decodes_to(data: bytes, encoding: str, text: str) -> bool:
    try:
        return data.decode(encoding).lstrip("\ufeff") == text.lstrip("\ufeff")
    except UnicodeDecodeError:
        return False


def _first_column(columns: list[str], names: tuple[str, ...]) -> str | None:
    """The column with one of the names, the first of ``names`` if several columns have one."""
    by_name = {column.strip().casefold(): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)
