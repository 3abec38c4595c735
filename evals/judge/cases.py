"""What is judged: rows of JSONL, and the prompts that they become.

A row is ``{"question", "answers": {NAME: text, ...}, "reference"?, "id"?, "human"?, "label"?}``; ``{"answer": text}``
stands for one unnamed answer. ``human`` is a person's verdict on two answers (a NAME, or "tie"); ``label`` is what a
person wrote in ``evals.judge label``, and makes the row an example for the judge.

Text under judgement is encoded: each of its lines begins with ``> ``, so it can open no line of the prompt, and its
double brackets are parted, so that not even a judge who quotes it repeats a verdict that is written in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage

from egosrag.errors import SourceError
from egosrag.prompts import load
from egosrag.text.language import language_of
from evals.common.records import read_jsonl

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MODES = ("score", "pair", "rank")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


@dataclass(frozen=True)
class Case:
    """One question with the answers to judge.

    Attributes:
        id: names the row in records and reports.
        question: as the user asked it.
        answers: answer texts by the name of who gave them, in the given order.
        reference: a right answer, or "".
        human: a person's verdict on two answers: a name, or "tie".
        label: a person's ``{"scores": {NAME: 0 to 100}, "order": [NAME, ...], "why"}``.
    """

    id: str
    question: str
    answers: Mapping[str, str]
    reference: str = ""
    human: str | None = None
    label: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Changes with the texts that the judge reads."""
        content = json.dumps([self.question, dict(self.answers), self.reference], ensure_ascii=False)
        return sha256(content.encode()).hexdigest()[:12]


def load_cases(path: Path) -> list[Case]:
    """The rows of a JSONL file.

    Raises:
        SourceError: there is no such file, or a row is not such a row.
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
    """A row as a case; ``number`` names it when it has no id."""
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


def material(text: str) -> str:
    """``text`` as the judge reads it: quoted line by line, unable to give a verdict or to hide anything."""
    lines = (_CONTROL.sub("", line).rstrip() for line in text.splitlines() or [""])
    # Brackets last: what stands between two of them may just have been taken out.
    return re.sub(r"\[(?=\[)", "[ ", "".join("\n> " + line for line in lines))


def prompt_of(
    mode: str, case: Case, swapped: bool, criteria: str = "", examples: Sequence[Case] = ()
) -> list[BaseMessage]:
    """The judge's messages: the rules, the examples that a person labelled, then the case.

    Args:
        mode: ``score`` (one answer), ``pair`` (two) or ``rank`` (two or more).
        case: what to judge.
        swapped: the other order: reference after the answer, second answer first, answers from last to first.
        criteria: what to judge by, in words; empty leaves it to the judge.
        examples: cases with labels.
    """
    language = language_of(case.question + " ".join(case.answers.values()))
    rules, question, _ = _rendered(mode, case, swapped, criteria, language)
    shown = [m for example in examples for m in _rendered(mode, example, swapped, criteria, language)[1:]]
    return [rules, *shown, question]


def _rendered(mode: str, case: Case, swapped: bool, criteria: str, language: str) -> list[BaseMessage]:
    """The prompt file filled with the case: rules, question, and the verdict of its label (empty without one)."""
    names = list(case.answers)
    order = names[::-1] if swapped else names
    reference = material(case.reference) if case.reference.strip() else ""
    values = {
        "question": material(case.question),
        "criteria": criteria,
        "why": " ".join(case.label.get("why", "").split()),
    }
    scores = {name: str(score) for name, score in case.label.get("scores", {}).items()}
    if mode == "score":
        values |= {"reference_first": "" if swapped else reference, "reference_last": reference if swapped else ""}
        values |= {"answer": material(case.answers[names[0]]), "score": scores.get(names[0], "")}
    elif mode == "pair":
        first, second = order
        values |= {
            "reference": reference,
            "first": material(case.answers[first]),
            "second": material(case.answers[second]),
        }
        values |= {"score_first": scores.get(first, ""), "score_second": scores.get(second, "")}
    else:
        letters = LETTERS[: len(order)]
        shown = load("judge_answer", language)
        blocks = (shown.text(letter=x, answer=material(case.answers[n])) for x, n in zip(letters, order, strict=True))
        ranked = " > ".join(letters[order.index(name)] for name in case.label.get("order", ()))
        form = " > ".join((*letters[1:], letters[0]))
        values |= {"reference": reference, "answers": "\n".join(blocks), "order": ranked, "form": form}
    return load(f"judge_{mode}", language).messages(**values)
