"""Cases to judge: a question with one or more answers, read from JSONL or from FairEval's files.

A row is ``{"question", "answers": {NAME: text, ...}, "reference"?, "id"?, "human"?, "label"?}``; ``{"answer": text}``
is one unnamed answer. ``human`` is a person's verdict on two answers (a NAME, or "tie"); ``label`` is what a person
entered in ``evals.judge label``, and makes the row an example for the judge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from egosrag.errors import SourceError
from evals.common.records import read_jsonl

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MODES = ("score", "pair", "rank")
TIE = "tie"


@dataclass(frozen=True)
class Case:
    """One question with the answers to judge.

    Attributes:
        id: Names the row in records and reports.
        question: As the user asked it.
        answers: Answer texts by the name of the model or system, in the given order.
        reference: A right answer, or "".
        human: A person's verdict on two answers: a name, or "tie".
        label: A person's ``{"scores": {NAME: 0 to 100}, "order": [NAME, ...], "why"}``.
    """

    id: str
    question: str
    answers: Mapping[str, str]
    reference: str = ""
    human: str | None = None
    label: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A hash of the texts that the judge reads."""
        content = json.dumps([self.question, dict(self.answers), self.reference], ensure_ascii=False)
        return sha256(content.encode()).hexdigest()[:12]


def split_answers(case: Case) -> list[tuple[str, Case]]:
    """(name, case) for each answer of a case, with that answer only."""
    return [
        (name, Case(case.id, case.question, {name: text}, case.reference, case.human, case.label))
        for name, text in case.answers.items()
    ]


def load_cases(path: Path) -> list[Case]:
    """The rows of a JSONL file.

    Raises:
        SourceError: The file does not exist, is empty, or has a malformed row or two rows with the same id.
    """
    cases = []
    for n, row in enumerate(read_jsonl(path), 1):
        try:
            cases.append(case_of(row, str(n)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(f"{path}: row {n} has no question with answers to judge ({error!r})") from error
    if not cases:
        raise SourceError(f"{path} has no rows: give a question and its answers a line")
    if len({case.id for case in cases}) < len(cases):
        raise SourceError(f"{path} has rows with the same id: give each its own")
    return cases


def case_of(row: Mapping[str, Any], number: str) -> Case:
    """A row as a case; ``number`` is its id when it has none."""
    answers = dict(row["answers"]) if "answers" in row else {"answer": row["answer"]}
    texts = [row["question"], row.get("reference") or "", *answers.values()]
    if not answers or not all(isinstance(text, str) for text in texts):
        raise ValueError("question, reference and answers must be texts")
    return Case(
        id=str(row.get("id", number)),
        question=texts[0],
        answers=answers,
        reference=texts[1],
        human=row.get("human"),
        label=dict(row.get("label") or {}),
    )


def load_faireval(questions: Path, answers: dict[str, Path], human: Path) -> list[Case]:
    """FairEval's files as cases: questions, two answer files joined by ``question_id``, and a person's verdicts.

    Args:
        questions: JSONL of ``{"question_id", "text"}``.
        answers: Two JSONL files of ``{"question_id", "text"}`` by the name that the verdicts use for them.
        human: Text with a verdict a line, in the order of the questions: a name, or TIE, in any case.

    Raises:
        SourceError: A file is missing, or the files do not match.
    """
    if len(answers) != 2:
        raise SourceError(f"{len(answers)} files of answers were given: give two, each as NAME=FILE")
    question_texts = {row["question_id"]: row["text"] for row in read_jsonl(questions)}
    texts = {name: {row["question_id"]: row["text"] for row in read_jsonl(path)} for name, path in answers.items()}
    try:
        verdicts = human.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SourceError(f"{human} cannot be read: give a verdict a line ({reason})") from error
    names = {name.lower(): name for name in answers} | {TIE: TIE}
    unknown = {v for v in verdicts if v.lower() not in names}
    if unknown or len(verdicts) != len(question_texts):
        what = (
            f"the verdict {sorted(unknown)[0]}"
            if unknown
            else f"{len(verdicts)} verdicts on {len(question_texts)} questions"
        )
        raise SourceError(f"{human} has {what}: give {', '.join(answers)} or TIE, a line for each question")
    try:
        rows = [
            {"id": n, "question": text, "answers": {name: t[n] for name, t in texts.items()}, "human": names[v.lower()]}
            for (n, text), v in zip(question_texts.items(), verdicts, strict=True)
        ]
    except KeyError as error:
        raise SourceError(f"question {error} has no answer in one of the files: give the answers to all") from error
    return [case_of(row, "") for row in rows]
