"""Questions about manuals: ours on the two sample manuals, or a file of yours on your documents.

A row: ``{"question", "reference"?: "page_N" or a list of them, "answer"?, "history"?: [[question, answer], ...],
"answerable"?, "kind"?, "id"?}``. Without pages, or when the answer says that there is none, it is unanswerable.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from egosrag.errors import SourceError
from egosrag.prompts import load
from egosrag.rag.documents.load import file_hash, find_files
from egosrag.text.language import language_of
from evals.common.experiment import digest
from evals.common.questions import numbered_questions, reference_pages
from evals.common.records import Record

SAMPLES = Path(__file__).parents[2] / "egosrag" / "data" / "samples"
REFERENCES = ("pages", "reference", "answerable", "kind")  # what the system that answers must not see
_NO_ANSWER = ("无法回答", "没有说明", "does not say", "cannot be answered")


class Manual(NamedTuple):
    """Documents with questions about them."""

    name: str
    documents: tuple[Path, ...]
    rows: tuple[Record, ...]

    @property
    def digest(self) -> str:
        """A hash of the documents' names and bytes.

        Raises:
            SourceError: A document cannot be read.
        """
        return digest(*((source, file_hash(path)) for source, path in find_files(self.documents).items()))


def note(text: str) -> None:
    """Print a line about what is left out, on standard error."""
    print(text, file=sys.stderr, flush=True)


def samples() -> list[Manual]:
    """The sample manuals, Chinese and English, with their 64 questions each."""
    return [
        load_manual(
            f"sample.{language}", [SAMPLES / f"manual.{language}.pdf"], SAMPLES / f"manual.{language}.questions.json"
        )
        for language in ("en", "zh")
    ]


def load_manual(name: str, documents: Iterable[Path], questions: Path) -> Manual:
    """A manual with the questions of a file, JSON or JSONL; rows without a question are named and left out.

    Raises:
        SourceError: The file cannot be read, a row is malformed, or two rows have the same id.
    """
    rows: dict[str, tuple[int, Record]] = {}
    for n, raw in numbered_questions(questions, note):
        try:
            row = _row(raw, f"{name}-{n:03}", name)
        except ValueError as error:
            raise SourceError(f"{questions}: row {n} is not a question: {error}; see evals/rag/questions.py") from error
        first, _ = rows.setdefault(row["id"], (n, row))
        if first != n:
            raise SourceError(f"{questions}: rows {first} and {n} have the same id {row['id']!r}: give each its own")
    return Manual(name, tuple(documents), tuple(row for _, row in rows.values()))


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
    """A row of a question file as the evaluations use it; a field that is null counts as left out.

    Raises:
        ValueError: A field has a wrong type.
    """
    raw = {name: value for name, value in raw.items() if value is not None}
    question, answer = raw["question"], raw.get("answer", "")
    if not isinstance(answer, str):
        raise ValueError("the answer must be a text")
    pages = sorted(reference_pages(raw))
    answerable = raw.get("answerable", bool(pages) and not any(words in answer for words in _NO_ANSWER))
    if not isinstance(answerable, bool):
        raise ValueError(f"answerable is {answerable!r}, and must be true or false")
    return {
        "id": str(raw.get("id", number)),
        "manual": manual_name,
        "question": question,
        "history": [list(pair) for pair in raw.get("history", ())],
        "pages": pages if answerable else [],
        "reference": answer if answerable else load("refusal", language_of(question)).text(),
        "answerable": answerable,
        "kind": str(raw.get("kind", "answerable" if answerable else "unanswerable")),
    }
