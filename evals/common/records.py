"""JSONL: rows to read, and the records of a run, written as they are made so that an interrupted run resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from egosrag.errors import SettingsError, SourceError
from egosrag.text.encoding import is_text

Record = dict[str, Any]
_HALVES = "\\ud800 to \\udfff"


def read_jsonl(path: Path) -> Iterator[Record]:
    """The rows of a JSONL file.

    Raises:
        SourceError: The file does not exist, is not UTF-8, or has a line that is not a JSON object.
    """
    return (row for _, row in numbered_rows(path))


def numbered_rows(path: Path, bad: Callable[[str], None] | None = None) -> Iterator[tuple[int, Record]]:
    """The rows of a JSONL file with their line numbers.

    Args:
        path: The file.
        bad: Receives, in a line of text, each line that is not a row; without it such a line is an error.

    Raises:
        SourceError: As ``read_jsonl``.
    """
    try:
        # Bytes that are not UTF-8 are read as halves of characters: the line that has them is named.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as lines:
            for n, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row, problem = _parse(line)
                if problem and bad is None:
                    raise SourceError(f"{path}: line {n} {problem}")
                if problem and bad:
                    bad(f"{path.name}: line {n} is left out: it {problem}")
                else:
                    yield n, row
    except OSError as error:
        raise SourceError(f"{path} cannot be read: give a JSONL file ({error.strerror})") from error


def _parse(line: str) -> tuple[Record, str]:
    """The row of a line, and what is wrong with it."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return {}, f"is not JSON ({error.msg}): give a JSONL file"
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else "a number has too many digits"
        return {}, f"is not JSON that can be read ({reason}): fix it"
    if not isinstance(row, dict):
        return {}, "is not a JSON object: give a JSONL file"
    return row, "" if is_text(row) else f"has half of a character ({_HALVES}), or bytes that are not UTF-8: fix it"


def check_writable(path: Path) -> None:
    """Check before the work that a file can be written after it; the folder is created.

    Raises:
        SettingsError: It is a folder, or its folder cannot be created or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise SettingsError(f"{path} cannot be written: {path.parent} is no folder: name another file") from error
    except OSError as error:
        raise not_written(path, error) from error
    if path.is_dir():
        raise SettingsError(f"{path} cannot be written: it is a folder: name a file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SettingsError(f"{path} cannot be written: you may not write there: name another file")


def not_written(path: Path, error: OSError) -> SettingsError:
    """The error of a file that cannot be written."""
    return SettingsError(f"{path} cannot be written ({error.strerror}): name another file")


class Records:
    """Records by key. The first line of the file describes the run that they belong to.

    Args:
        path: The file; resumed when it has the records of the same run. None keeps the records in memory only.
        made_from: What the records depend on (model, prompts, ...), as JSON values.

    Raises:
        SettingsError: The file has the records of another run, or cannot be read or written.
    """

    def __init__(self, path: Path | None, made_from: Mapping[str, Any]) -> None:
        self._path = path
        self._by_key: dict[tuple[Hashable, ...], Record] = {}
        if path is None:
            return
        check_writable(path)
        try:
            if path.exists() and path.stat().st_size:
                self._read(path, made_from)
            else:
                path.write_text(json.dumps({"run": made_from}, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise not_written(path, error) from error

    def _read(self, path: Path, made_from: Mapping[str, Any]) -> None:
        content = path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]  # an interrupted run may end in half a line
        try:
            first, *rest = [json.loads(line) for line in complete.decode("utf-8").split("\n") if line]
            same = first["run"] == json.loads(json.dumps(made_from))
            self._by_key = {tuple(record["key"]): record for record in rest}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SettingsError(f"{path} is not a file of such records ({error!r}): name another one") from error
        if not same:
            raise SettingsError(f"{path} has the records of another model, other data or options: name another file")
        with path.open("r+b") as file:
            file.truncate(len(complete))

    def __contains__(self, key: tuple[Hashable, ...]) -> bool:
        return key in self._by_key

    def __getitem__(self, key: tuple[Hashable, ...]) -> Record:
        return self._by_key[key]

    def add(self, key: tuple[Hashable, ...], record: Record) -> None:
        """Add a record and write it to the file at once.

        Raises:
            SettingsError: The file cannot be written, such as on a full disk.
        """
        record = {"key": list(key), **record}
        self._by_key[key] = record
        if self._path:
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
            except OSError as error:
                raise not_written(self._path, error) from error


def item_of(record: Record) -> str:
    """What a record is about: the id of its row, or its key. It is the same in every run on the same rows."""
    if "item" in record:
        return str(record["item"])
    return "/".join(map(str, record["key"]))


_CONTENTS = ("content", "question", "reference", "gold", "role", "characters")


def contents_of(record: Record) -> Record:
    """What a record says about the content of its row, by field: the row's digest, or a part of the row itself.

    Records of the same row have the same values in the fields that both have, whatever model or setting made them.
    """
    return {name: record[name] for name in _CONTENTS if name in record}


_PPL_RULES = {"accuracy": "prediction", "acc": "acc", "acc_norm": "acc_norm"}


def measures_of(record: Record) -> dict[str, float]:
    """The numbers of a record of any evaluation: its measures, the hits of PPL mode, or a judge's scores.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OverflowError: The record is malformed.
    """
    if "measures" in record:
        return {name: float(value) for name, value in record["measures"].items() if value is not None}
    if "prediction" in record:
        return {name: float(record[rule] == record["gold"]) for name, rule in _PPL_RULES.items()}
    scores = record.get("scores") or ()
    return {"score" if len(scores) == 1 else f"score {n}": float(score) for n, score in enumerate(scores, 1)}


def measure_values(records: Sequence[Mapping[str, Any]], name: str) -> list[float | None]:
    """The measure ``name`` of each record, None where it has none."""
    return [record["measures"].get(name) for record in records]
