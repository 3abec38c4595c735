"""JSON lines: rows to read, and the records of a run, kept as they come, so that a killed run goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

from egosrag.errors import SettingsError, SourceError

Record = dict[str, Any]


def read_jsonl(path: Path) -> Iterator[Record]:
    """The rows of a JSONL file.

    Raises:
        SourceError: there is no such file, it is not UTF-8, or a line is not a JSON object.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as lines:
            for n, line in enumerate(lines, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise SourceError(f"{path}: line {n} is not a JSON object: give a JSONL file")
                    yield row
    except OSError as error:
        raise SourceError(f"{path} cannot be read: give a JSONL file ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8: convert it first ({error.reason})") from error
    except json.JSONDecodeError as error:
        raise SourceError(f"{path}: line {n} is not JSON ({error.msg}): give a JSONL file") from error


class Records:
    """Records by their key, behind a first line of the file that tells what they were made from.

    Args:
        path: the file, continued where it was made from the same; None keeps the records in memory alone.
        made_from: what the records depend on: model, prompts, ...; anything that JSON can hold.

    Raises:
        SettingsError: the file holds the records of something else.
    """

    def __init__(self, path: Path | None, made_from: Mapping[str, Any]) -> None:
        self._path = path
        self._kept: dict[tuple[Hashable, ...], Record] = {}
        if path and path.exists() and path.stat().st_size:
            self._read(path, made_from)
        elif path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"run": made_from}, ensure_ascii=False) + "\n", encoding="utf-8")

    def _read(self, path: Path, made_from: Mapping[str, Any]) -> None:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]  # a killed run may have left half a line
        try:
            first, *rest = [json.loads(line) for line in whole.decode("utf-8").split("\n") if line]
            same = first["run"] == json.loads(json.dumps(made_from))
            self._kept = {tuple(record["key"]): record for record in rest}
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(f"{path} is not a file of such records ({error!r}): name another one") from error
        if not same:
            raise SettingsError(f"{path} holds the records of another model, other data or options: name another file")
        with path.open("r+b") as file:
            file.truncate(len(whole))

    def __contains__(self, key: tuple[Hashable, ...]) -> bool:
        return key in self._kept

    def __getitem__(self, key: tuple[Hashable, ...]) -> Record:
        return self._kept[key]

    def add(self, key: tuple[Hashable, ...], record: Record) -> None:
        """Keeps a record, in the file at once."""
        record = {"key": list(key), **record}
        self._kept[key] = record
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
