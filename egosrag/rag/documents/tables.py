"""Tables of text, as CSV or TSV: a script with a column of speakers gives lines of dialogue, any other gives rows.

They are read with LangChain Community's loader. Its loaders for text and HTML are not used: they know neither the
encodings nor the headings that ``readers`` knows.
"""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path

from egosrag.errors import SourceError
from egosrag.text.encoding import decode

_ENCODINGS = ("utf-8-sig", "utf-16", "utf-32", "gb18030")
_CELL = 131_072  # characters of a cell
_SPEAKER = (
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
_SAID = (
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
    """A line of text for each row: ``speaker: words`` of a script, else ``column: value | column: value``.

    Raises:
        SourceError: the file is no text, or no table.
    """
    with warnings.catch_warnings():
        # The package says on import that it is no longer developed; what is used of it is pinned.
        warnings.simplefilter("ignore", DeprecationWarning)
        from langchain_community.document_loaders import CSVLoader

    text = decode(path)
    data = path.read_bytes()
    encoding = next((name for name in _ENCODINGS if _decodes_to(data, name, text)), None)
    if encoding is None:
        raise SourceError(f"{path} is a table in an encoding that is not supported: save it as UTF-8")
    header = re.split(r"[\r\n]", text.lstrip("\ufeff"), maxsplit=1)[0]
    # What the first line has most of; the standard library's sniffer takes minutes for some tables.
    delimiter = max((",", ";", "\t"), key=header.count)
    columns = next(csv.reader([header], delimiter=delimiter), [])
    speaker, said = _named(columns, _SPEAKER), _named(columns, _SAID)
    script = speaker is not None and said is not None
    limit = csv.field_size_limit(_CELL)  # of the whole process: other libraries lift it
    try:
        loaded = CSVLoader(
            path,
            encoding=encoding,
            csv_args={"delimiter": delimiter},
            metadata_columns=[speaker, said] if speaker and said else [],
        ).load()
    except (RuntimeError, ValueError) as error:
        raise SourceError(
            f"{path} is not a table that can be read ({error.__cause__ or error}): save it anew"
        ) from error
    finally:
        csv.field_size_limit(limit)
    if not script:
        return [" | ".join(row.page_content.splitlines()) for row in loaded]
    told = [(row.metadata[speaker], row.metadata[said]) for row in loaded]
    return [f"{' '.join(who.split())}: {' '.join(words.split())}" for who, words in told if who and words]


def _decodes_to(data: bytes, encoding: str, text: str) -> bool:
    try:
        return data.decode(encoding).lstrip("\ufeff") == text.lstrip("\ufeff")
    except UnicodeDecodeError:
        return False


def _named(columns: list[str], names: tuple[str, ...]) -> str | None:
    """The first column that has one of the names, in the order of ``names``."""
    by_name = {column.strip().casefold(): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)
