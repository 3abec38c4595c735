"""Question files about manuals: reading them, and the pages that count as right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from egosrag.errors import SourceError
from egosrag.text.encoding import is_text
from evals.common.records import Record, read_jsonl


def read_questions(path: Path) -> list[Record]:
    """The rows of a question file: a JSON list, or JSONL.

    Raises:
        SourceError: The file cannot be read, or is not a list of ``{"question": ...}`` rows.
    """
    return [row for _, row in numbered_questions(path)]


def numbered_questions(path: Path, bad: Callable[[str], None] | None = None) -> list[tuple[int, Record]]:
    """The rows of a question file with their numbers, from 1.

    Args:
        path: A JSON list, or JSONL.
        bad: Receives, in a line of text, each row that has no question; without it such a row is an error.

    Raises:
        SourceError: As ``read_questions``, or there is no question at all.
    """
    if path.suffix == ".jsonl":
        rows: Any = list(read_jsonl(path))
    else:
        try:
            rows = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise SourceError(f"{path} cannot be read as JSON: give a list of questions") from error
    if not isinstance(rows, list) or not rows:
        raise SourceError(f"{path} is not a list of questions: give a JSON list, or JSONL")
    found = []
    for n, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not isinstance(row.get("question"), str) or not row["question"].strip():
            if bad is None:
                raise SourceError(
                    f'{path}: row {n} has no question: write {{"question": "...", "reference": "page_N"}}'
                )
            bad(f"{path}: row {n} is left out: it has no question")
            continue
        if not is_text(row):
            raise SourceError(f"{path}: row {n} has half of a character (\\ud800 to \\udfff): fix it")
        if not _is_history(row.get("history")):
            raise SourceError(f"{path}: row {n} has a history that is not a list of [question, answer]: fix it")
        try:
            reference_pages(row)
        except SourceError as error:
            raise SourceError(f"{path}: row {n}: {error}") from error
        found.append((n, row))
    if not found:
        raise SourceError(f'{path} has no question: write {{"question": "...", "reference": "page_N"}} rows')
    return found


def _is_history(value: Any) -> bool:
    """Whether a value is a list of [question, answer], or absent; a text would be taken for a list of letters."""
    if value is None:
        return True
    pairs = value if isinstance(value, list) else [None]
    return all(isinstance(p, list | tuple) and len(p) == 2 and all(isinstance(t, str) for t in p) for p in pairs)


def reference_pages(row: Record) -> set[int]:
    """The pages that count as right for a question row; empty without a reference.

    Raises:
        SourceError: The reference is neither ``page_N`` nor a list of such names.
    """
    reference = row.get("reference") or []
    names = [reference] if isinstance(reference, str) else reference
    try:
        return {int(name.removeprefix("page_")) for name in names}
    except (ValueError, AttributeError, TypeError) as error:
        raise SourceError(
            f"reference {reference!r} is not page_N or a list of them: correct the question file"
        ) from error
