"""Questions to manuals, as rows: ours on the two sample manuals, or a file on documents of yours.

A row: ``{"question", "reference"?: "page_N" or a list of them, "answer"?, "history"?: [[question, answer], ...],
"answerable"?, "kind"?, "id"?}``. Without pages, or where the answer says that there is none, nothing answers it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.errors import SourceError
from egosrag.prompts import load
from egosrag.text.language import language_of
from evals.common.records import Record, read_jsonl
from evals.retrieval import wanted_pages

SAMPLES = Path(__file__).parents[2] / "egosrag" / "data" / "samples"
#: what the system that answers must not see
REFERENCES = ("pages", "reference", "answerable", "kind")
_NONE = ("无法回答", "没有说明", "does not say", "cannot be answered")


class Manual(NamedTuple):
    """Documents and the questions that are put to them."""

    name: str
    documents: tuple[Path, ...]
    rows: tuple[Record, ...]


def samples() -> list[Manual]:
    """The sample manuals, Chinese and English, with their 64 questions each."""
    return [manual(f"sample.{n}", [SAMPLES / f"manual.{n}.pdf"], SAMPLES / f"manual.{n}.questions.json") for n in _TWO]


_TWO = ("en", "zh")


def manual(name: str, documents: Iterable[Path], questions: Path) -> Manual:
    """A manual with the questions of a file, JSON or JSONL.

    Raises:
        SourceError: the file cannot be read, or a row is no such row.
    """
    return Manual(name, tuple(documents), tuple(_row(raw, f"{name}-{n:03}", name) for n, raw in _read(questions)))


def limited(manuals: Sequence[Manual], limit: int | None) -> list[str]:
    """The ids of the rows to ask: of each manual and kind the first ``limit``."""
    ids, taken = list[str](), dict[tuple[str, str], int]()
    for row in (row for one in manuals for row in one.rows):
        part = (row["manual"], row["kind"])
        taken[part] = taken.get(part, 0) + 1
        if limit is None or taken[part] <= limit:
            ids.append(row["id"])
    return ids


def _read(path: Path) -> Iterable[tuple[int, Any]]:
    if path.suffix == ".jsonl":
        return enumerate(read_jsonl(path), 1)
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read as JSON: give a list of questions, or JSONL") from error
    if not isinstance(rows, list) or not rows:
        raise SourceError(f"{path} is no list of questions: give a list, or JSONL")
    return enumerate(rows, 1)


def _row(raw: Any, number: str, manual_name: str) -> Record:
    try:
        question, answer = raw["question"], raw.get("answer") or ""
        history = [[str(q), str(a)] for q, a in raw.get("history") or ()]
        if not isinstance(question, str) or not question.strip() or not isinstance(answer, str):
            raise ValueError("question and answer must be texts")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(f"row {number} is no question to a manual ({error!r}): see evals/rag/data.py") from error
    pages = sorted(wanted_pages(raw))
    answerable = bool(raw.get("answerable", pages and not any(words in answer for words in _NONE)))
    return {
        "id": str(raw.get("id", number)),
        "manual": manual_name,
        "question": question,
        "history": history,
        "pages": pages if answerable else [],
        "reference": answer if answerable else load("refusal", language_of(question)).text(),
        "answerable": answerable,
        "kind": str(raw.get("kind", "answerable" if answerable else "unanswerable")),
    }
