"""Read rows of a data set, each with its location: hub ids, JSON, JSONL, Parquet, CSV and plain text.

Files are read row by row rather than with ``datasets.load_dataset``, which rejects a whole JSON file because of one
bad line and cannot say which line it was.
"""

from __future__ import annotations

import csv
import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egosrag.errors import TrainingError
from egosrag.text.encoding import is_text
from finetune.data.shapes import NO_TEXT, detect_shape

SUFFIXES = (".json", ".jsonl", ".parquet", ".csv", ".txt")
_NEXT_ITEM = re.compile(r"[^\s,]")


@dataclass(frozen=True)
class RawRow:
    """One row as read.

    Attributes:
        location: file and line, or source and row number, for messages.
        columns: the row's values by column; None if the row is malformed.
        problem: why the row is malformed.
    """

    location: str
    columns: dict[str, Any] | None
    problem: str = ""


def read_rows(source: str, split: str = "train") -> Iterator[RawRow]:
    """Read the rows of a file, of a folder of such files, or of a data set of the hub.

    Args:
        source: a path or a hub id.
        split: the split of a hub data set.

    Raises:
        TrainingError: the source does not exist or has none of the formats.
    """
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.name != "system_prompt.txt")
        if not files:
            raise TrainingError(f"{source} contains no {', '.join(SUFFIXES)} file: give a folder that does")
        documents_alone = all(file.suffix.lower() == ".txt" for file in files)
        for file in files:
            if file.suffix.lower() == ".txt" and not documents_alone:
                yield RawRow(
                    file.name, None, "a text beside files of rows: to learn it, give it as a source of its own"
                )
            else:
                yield from _read_file(file)
    elif path.is_file():
        yield from _read_file(path)
    elif path.suffix.lower() in SUFFIXES or source.startswith((".", "/")):
        raise TrainingError(f"there is no data file {source}: check the path")
    else:
        yield from _read_hub(source, split)


def _read_file(path: Path) -> Iterator[RawRow]:
    readers = {".json": _read_json, ".jsonl": _read_jsonl, ".parquet": _read_parquet, ".csv": _read_csv}
    reader = {**readers, ".txt": _read_text}.get(path.suffix.lower())
    if reader is None:
        raise TrainingError(f"{path} is none of {', '.join(SUFFIXES)}: convert it, or rename it if it is one of them")
    try:
        yield from reader(path)
    except UnicodeDecodeError as error:
        line = 1 + error.object[: error.start].count(b"\n")
        raise TrainingError(f"{path} is not UTF-8 (line {line}): convert it to UTF-8") from error
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror or error}") from error


def _row(location: str, value: Any) -> RawRow:
    """A row, if it can be written as UTF-8: bytes of the file that are not UTF-8 were read as halves of characters."""
    if not isinstance(value, dict):
        return RawRow(location, None, "not an object of columns")
    if not is_text(value):
        return RawRow(location, None, NO_TEXT)
    return RawRow(location, value)


def _check_encoding(path: Path, first: str) -> None:
    """Refuse a file whose first line is not UTF-8: it is in another encoding; a later one is damaged."""
    if not is_text(first):
        raise TrainingError(f"{path} is not UTF-8 (line 1): convert it to UTF-8")


def _read_jsonl(path: Path) -> Iterator[RawRow]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:  # see _row
        for number, line in enumerate(lines, 1):
            if number == 1:
                _check_encoding(path, line)
            if not line.strip():
                continue
            try:
                yield _row(f"{path.name}:{number}", json.loads(line))
            except (ValueError, RecursionError) as error:
                if line.strip() == "[":
                    raise TrainingError(f"{path} is one JSON array over several lines: rename it to .json") from error
                yield RawRow(f"{path.name}:{number}", None, f"not JSON ({_reason(error)})")


def _reason(error: ValueError | RecursionError) -> str:
    """Why a JSON text cannot be read."""
    return "nested too deep" if isinstance(error, RecursionError) else str(getattr(error, "msg", error))


def _read_json(path: Path) -> Iterator[RawRow]:
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")  # see _row
    _check_encoding(path, text[:1])
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = _reason(error)
        hint = "; it looks like JSONL: rename it to .jsonl" if reason == "Extra data" else ""
        line = f"line {error.lineno}: " if isinstance(error, json.JSONDecodeError) else ""
        raise TrainingError(f"{path} is not JSON ({line}{reason}){hint}") from error
    if isinstance(content, dict):
        lists = (v for v in content.values() if isinstance(v, list))
        rows = [content] if detect_shape(content.keys(), "auto") else next(lists, [content])
        yield from (_row(f"{path.name} row {number}", row) for number, row in enumerate(rows, 1))
    else:
        # The parser keeps no positions: scan the array once more to find the line of each row.
        at = text.find("[") + 1
        line = 1 + text.count("\n", 0, at)
        for row in content if isinstance(content, list) else []:
            start = _NEXT_ITEM.search(text, at).start()  # type: ignore[union-attr]
            line += text.count("\n", at, start)
            yield _row(f"{path.name}:{line}", row)
            at = json.JSONDecoder().raw_decode(text, start)[1]
            line += text.count("\n", start, at)


def _read_csv(path: Path) -> Iterator[RawRow]:
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # see _row
        header: list[str] | None = None
        start, record, again = 1, deque[str](), deque[str]()

        def lines() -> Iterator[str]:
            """The lines to read again, then those of the file; those of the record that is read are kept."""
            while line := again.popleft() if again else file.readline():
                record.append(line)
                yield line

        while True:
            try:
                for cells in csv.reader(lines(), strict=True):
                    location, start = f"{path.name}:{start}", start + len(record)
                    record.clear()
                    if header is None:
                        _check_encoding(path, ",".join(cells))
                        header = cells
                    elif len(cells) == len(header):
                        yield _row(location, dict(zip(header, cells, strict=True)))
                    elif cells:
                        yield RawRow(location, None, "wrong number of cells")
                return
            except csv.Error as error:
                yield RawRow(f"{path.name}:{start}", None, f"not CSV ({error})")
                # The lines after its first: an opening quotation mark too many may have joined good rows to it.
                start += 1
                again.extendleft(list(record)[:0:-1])
                record.clear()


def _read_parquet(path: Path) -> Iterator[RawRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        for batch in pq.ParquetFile(path).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield RawRow(f"{path.name} row {number}", row)
    except pa.ArrowException as error:
        raise TrainingError(f"{path} is not Parquet, or damaged: {' '.join(str(error).split())}") from error


def _read_text(path: Path) -> Iterator[RawRow]:
    yield RawRow(path.name, {"text": path.read_text(encoding="utf-8-sig")})


def _read_hub(source: str, split: str) -> Iterator[RawRow]:
    from datasets import load_dataset

    try:
        rows = load_dataset(source, split=split)
    except Exception as error:  # the client's errors for no such data set, no such split, no network share no base
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(f"{source} (split {split}) is neither a file nor a hub data set: {reason}") from error
    for number, row in enumerate(rows, 1):
        yield _row(f"{source}[{split}] row {number}", row)
