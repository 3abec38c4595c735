"""Rows of a data set with the place each stands at: hub ids, JSON, JSONL, Parquet, CSV and plain text.

Files are read row by row rather than by ``datasets.load_dataset``, which gives up a whole JSON file for one bad line
and cannot name it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egosrag.errors import TrainingError

SUFFIXES = (".json", ".jsonl", ".parquet", ".csv", ".txt")
_NEXT = re.compile(r"[^\s,]")


@dataclass(frozen=True)
class Raw:
    """One row as it was found. ``value`` is None where it could not even be read, and ``problem`` says why."""

    where: str
    value: dict[str, Any] | None
    problem: str = ""


def read(source: str, split: str = "train") -> Iterator[Raw]:
    """The rows of a file, of a folder of such files, or of a data set of the hub.

    Args:
        source: a path or a hub id.
        split: the split of a hub data set.

    Raises:
        TrainingError: there is no such source, or it is none of the formats.
    """
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.name != "system_prompt.txt")
        if not files:
            raise TrainingError(f"{source} holds no {', '.join(SUFFIXES)} file: give a folder that does")
        for file in files:
            yield from _file(file)
    elif path.is_file():
        yield from _file(path)
    elif path.suffix.lower() in SUFFIXES or source.startswith((".", "/")):
        raise TrainingError(f"there is no data file {source}: check the path")
    else:
        yield from _hub(source, split)


def _file(path: Path) -> Iterator[Raw]:
    readers = {".json": _json, ".jsonl": _jsonl, ".parquet": _parquet, ".csv": _csv, ".txt": _txt}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TrainingError(f"{path} is none of {', '.join(SUFFIXES)}: convert it, or rename it if it is one of them")
    try:
        yield from reader(path)
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path} is not UTF-8 (byte {error.start}): convert it to UTF-8") from error
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror or error}") from error


def _row(where: str, value: Any) -> Raw:
    return Raw(where, value) if isinstance(value, dict) else Raw(where, None, "not an object of columns")


def _jsonl(path: Path) -> Iterator[Raw]:
    with path.open(encoding="utf-8-sig") as lines:
        for n, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield _row(f"{path.name}:{n}", json.loads(line))
            except (json.JSONDecodeError, RecursionError) as error:
                yield Raw(f"{path.name}:{n}", None, f"not JSON ({getattr(error, 'msg', 'nested too deep')})")


def _json(path: Path) -> Iterator[Raw]:
    text = path.read_text(encoding="utf-8-sig")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        hint = "; it looks like JSONL: rename it to .jsonl" if error.msg == "Extra data" else ""
        raise TrainingError(f"{path} is not JSON (line {error.lineno}: {error.msg}){hint}") from error
    if isinstance(found, dict):
        rows = next((v for v in found.values() if isinstance(v, list)), [found])
        yield from (_row(f"{path.name} row {n}", row) for n, row in enumerate(rows, 1))
    else:
        # The parser keeps no positions: walk over the array once more to tell each row's line.
        at = text.find("[") + 1
        line = 1 + text.count("\n", 0, at)
        for row in found if isinstance(found, list) else []:
            start = _NEXT.search(text, at).start()  # type: ignore[union-attr]
            line += text.count("\n", at, start)
            yield _row(f"{path.name}:{line}", row)
            at = json.JSONDecoder().raw_decode(text, start)[1]
            line += text.count("\n", start, at)


def _csv(path: Path) -> Iterator[Raw]:
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Raw(f"{path.name}:{reader.line_num}", None, f"not CSV ({error})")
                continue
            whole = None not in row and None not in row.values()
            where = f"{path.name}:{reader.line_num}"
            yield Raw(where, row) if whole else Raw(where, None, "wrong number of cells")


def _parquet(path: Path) -> Iterator[Raw]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        n = 0
        for batch in file.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                n += 1
                yield Raw(f"{path.name} row {n}", row)
    except pa.ArrowException as error:
        raise TrainingError(f"{path} is not Parquet, or damaged: {' '.join(str(error).split())}") from error


def _txt(path: Path) -> Iterator[Raw]:
    yield Raw(path.name, {"text": path.read_text(encoding="utf-8-sig")})


def _hub(source: str, split: str) -> Iterator[Raw]:
    from datasets import load_dataset

    try:
        rows = load_dataset(source, split=split)
    except Exception as error:  # the hub's client has no common base for "no such", "no network" and "no split"
        said = " ".join(str(error).split())[:200]
        raise TrainingError(f"{source} (split {split}) is neither a file nor a hub data set: {said}") from error
    for n, row in enumerate(rows, 1):
        yield _row(f"{source}[{split}] row {n}", row)
