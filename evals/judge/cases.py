"""Cases to judge: a question with one or more answers, read from JSONL or from FairEval's files.

A row is ``{"question", "answers": {NAME: text, ...}, "reference"?, "id"?, "human"?, "label"?}``; ``{"answer": text}``
is one unnamed answer. ``human`` is a person's verdict on two answers (a NAME, or "tie"); ``label`` is what a person
entered in ``evals.judge label``, and makes the row an example for the judge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    cases: dict[str, tuple[int, Case]] = {}
    for n, row in enumerate(read_jsonl(path), 1):
        try:
            case = case_of(row, str(n))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise SourceError(
                f"{path}: row {n} has no question with answers to judge, or a wrong label ({reason}): fix it"
            ) from error
        first, _ = cases.setdefault(case.id, (n, case))
        if first != n:
            raise SourceError(f"{path}: rows {first} and {n} have the same id {case.id!r}: give each its own")
    if not cases:
        raise SourceError(f"{path} has no rows: give a question and its answers a line")
    return [case for _, case in cases.values()]


def check_people(cases: Sequence[Case], source: object = "the rows") -> None:
    """Check that a person gave a verdict on a case, and that each verdict is an answer of its case, or a tie.

    Args:
        cases: The cases.
        source: What they were read from.

    Raises:
        SourceError: No case has a person's verdict, or one names neither of its answers.
    """
    judged = [case for case in cases if case.human is not None]
    if not judged:
        raise SourceError("no row has a person's verdict: give rows with human, or --questions, --answers and --human")
    for case in judged:
        if case.human not in (TIE, *case.answers):
            raise SourceError(
                f"{source}: row {case.id}: {case.human!r} is not an answer of it: write a name of answers, or tie"
            )


def case_of(row: Mapping[str, Any], number: str) -> Case:
    """A row as a case; ``number`` is its id when it has none."""
    answers = dict(row["answers"]) if "answers" in row else {"answer": row["answer"]}
    texts = [row["question"], row.get("reference") or "", *answers.values()]
    if not answers or not all(isinstance(text, str) for text in texts):
        raise ValueError("question, reference and answers must be texts")
    return Case(
        id=number if row.get("id") is None else str(row["id"]),
        question=texts[0],
        answers=answers,
        reference=texts[1],
        human=row.get("human"),
        label=_label(row.get("label") or {}),
    )


def _label(label: Any) -> dict[str, Any]:
    """A person's label, checked; a field that is null counts as left out.

    Raises:
        ValueError: It is no label, or a field has a wrong type.
    """
    if not isinstance(label, dict):
        raise ValueError("label must be {scores or order, why}")
    label = {key: value for key, value in label.items() if value is not None}
    scores, order = label.get("scores", {}), label.get("order", [])
    numbers = list(scores.values()) if isinstance(scores, dict) else [None]
    if not all(type(n) in (int, float) and 0 <= n <= 100 for n in numbers):
        raise ValueError("scores of a label must be {NAME: 0 to 100}")
    if not isinstance(order, list) or not all(isinstance(name, str) for name in order):
        raise ValueError("order of a label must be a list of names")
    if not isinstance(label.get("why", ""), str):
        raise ValueError("why of a label must be a text")
    return label


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
    question_texts = _texts(questions)
    texts = {name: _texts(path) for name, path in answers.items()}
    try:
        verdicts = human.read_text(encoding="utf-8-sig").split()
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
    for name, path in answers.items():
        for n in question_texts:
            if n not in texts[name]:
                raise SourceError(f"{path} has no answer to the question {n!r}: give the answers to all")
    rows = [
        {"id": n, "question": text, "answers": {name: t[n] for name, t in texts.items()}, "human": names[v.lower()]}
        for (n, text), v in zip(question_texts.items(), verdicts, strict=True)
    ]
    return [case_of(row, "") for row in rows]


def _texts(path: Path) -> dict[str | int, str]:
    """The texts of one of FairEval's files by ``question_id``.

    A malformed row is an error: the verdicts are in the order of the questions, so none may be left out.
    """
    texts: dict[str | int, str] = {}
    for n, row in enumerate(read_jsonl(path), 1):
        question, text = row.get("question_id"), row.get("text")
        if type(question) not in (str, int) or not isinstance(text, str):
            raise SourceError(f'{path}: row {n} is not {{"question_id": ..., "text": "..."}}: correct it')
        if question in texts:
            raise SourceError(f"{path}: row {n} has the question_id {question!r} of another row: give each its own")
        texts[question] = text
    return texts
