"""Questions about manuals: ours on the two sample manuals, or a file of yours on your documents.

A row: ``{"question", "reference"?: "page_N" or a list of them, "answer"?, "history"?: [[question, answer], ...],
"answerable"?, "kind"?, "id"?}``. Without pages, or when the answer says that there is none, it is unanswerable.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from egosrag.errors import SourceError
from egosrag.prompts import load
from egosrag.text.language import language_of
from evals.common.questions import read_questions, reference_pages
from evals.common.records import Record

SAMPLES = Path(__file__).parents[2] / "egosrag" / "data" / "samples"
REFERENCES = ("pages", "reference", "answerable", "kind")  # what the system that answers must not see
_NO_ANSWER = ("无法回答", "没有说明", "does not say", "cannot be answered")


class Manual(NamedTuple):
    """Documents with questions about them."""

    name: str
    documents: tuple[Path, ...]
    rows: tuple[Record, ...]


def samples() -> list[Manual]:
    """The sample manuals, Chinese and English, with their 64 questions each."""
    return [
        load_manual(
            f"sample.{language}", [SAMPLES / f"manual.{language}.pdf"], SAMPLES / f"manual.{language}.questions.json"
        )
        for language in ("en", "zh")
    ]


def load_manual(name: str, documents: Iterable[Path], questions: Path) -> Manual:
    """A manual with the questions of a file, JSON or JSONL.

    Raises:
        SourceError: The file cannot be read, or a row is malformed.
    """
    rows = enumerate(read_questions(questions), 1)
    return Manual(name, tuple(documents), tuple(_row(raw, f"{name}-{n:03}", name) for n, raw in rows))


def limited(manuals: Sequence[Manual], limit: int | None, seed: int | None = None) -> list[str]:
    """The ids of ``limit`` rows of each manual and kind; of all rows without a limit.

    Args:
        manuals: Documents with their questions.
        limit: Maximum rows of each manual and kind.
        seed: Of a random sample; without it the first rows are taken.
    """
    ids, taken = list[str](), dict[tuple[str, str], int]()
    rows = [row for one in manuals for row in one.rows]
    order = {row["id"]: n for n, row in enumerate(rows)}
    if seed is not None:
        random.Random(seed).shuffle(rows)
    for row in rows:
        part = (row["manual"], row["kind"])
        taken[part] = taken.get(part, 0) + 1
        if limit is None or taken[part] <= limit:
            ids.append(row["id"])
    return sorted(ids, key=order.__getitem__)


def _row(raw: Record, number: str, manual_name: str) -> Record:
    try:
        question, answer = raw["question"], raw.get("answer") or ""
        history = [[str(q), str(a)] for q, a in raw.get("history") or ()]
        if not isinstance(answer, str):
            raise ValueError("the answer must be a text")
    except (TypeError, ValueError) as error:
        raise SourceError(f"row {number} is not a question ({error!r}): see evals/rag/questions.py") from error
    pages = sorted(reference_pages(raw))
    answerable = bool(raw.get("answerable", pages and not any(words in answer for words in _NO_ANSWER)))
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
