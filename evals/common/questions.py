"""Question files about manuals: reading them, and the pages that count as right."""

from __future__ import annotations

import json
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
    if path.suffix == ".jsonl":
        rows: Any = list(read_jsonl(path))
    else:
        try:
            rows = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise SourceError(f"{path} cannot be read as JSON: give a list of questions") from error
    if not isinstance(rows, list) or not rows:
        raise SourceError(f"{path} is not a list of questions: give a JSON list, or JSONL")
    for n, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not isinstance(row.get("question"), str) or not row["question"].strip():
            raise SourceError(f'{path}: row {n} has no question: write {{"question": "...", "reference": "page_N"}}')
        if not is_text(row):
            raise SourceError(f"{path}: row {n} has half of a character (\\ud800 to \\udfff): fix it")
        if not _is_history(row.get("history")):
            raise SourceError(f"{path}: row {n} has a history that is not a list of [question, answer]: fix it")
    return rows


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
