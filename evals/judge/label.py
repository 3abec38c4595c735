"""The form in which a person labels: a question and its answers on the terminal, numbers and a reason back.

Who gave an answer is not shown, and which stands first is drawn by the row's content, so that a person is as little
swayed as the judge should be.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from egosrag.errors import SettingsError
from evals.common.records import Record, read_jsonl
from evals.judge.ask import single
from evals.judge.cases import LETTERS, Case, load_cases
from evals.judge.verdict import TIE

SKIP, QUIT = "s", "q"


class _Leave(Exception):
    """The person skips the row or stops."""


def label(mode: str, cases: Sequence[Case], out: Path, doubts: Mapping[tuple[str, str, str], float | None]) -> int:
    """Asks about each case that ``out`` does not hold yet, and appends each label as it comes.

    Args:
        mode: ``score``, ``pair`` or ``rank``.
        cases: the rows; in mode ``score`` each answer is one question to the person.
        out: JSONL of labelled rows: examples for the judge, and with ``human`` of two answers.
        doubts: the judge's doubt by (id, name, digest): what it doubts most is asked first.

    Returns:
        How many labels were written.

    Raises:
        SettingsError: a case has not as many answers as the mode needs.
    """
    done = {str(row["id"]) for row in read_jsonl(out)} if out.exists() else set()
    todo = waiting(mode, cases, done, doubts)
    written = 0
    for n, (row_id, case) in enumerate(todo, 1):
        typer.echo(f"\n=== {n} of {len(todo)} (an empty line repeats, {SKIP} skips, {QUIT} ends) ===")
        try:
            given = _ask(mode, case)
        except _Leave as leave:
            if str(leave) == QUIT:
                break
            continue
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row_of(mode, row_id, case, given), ensure_ascii=False) + "\n")
        written += 1
    return written


def waiting(
    mode: str, cases: Sequence[Case], done: Collection[str], doubts: Mapping[tuple[str, str, str], float | None]
) -> list[tuple[str, Case]]:
    """What a person has not labelled yet, with the id of its row; what the judge doubts most comes first.

    Args:
        mode: ``score``, ``pair`` or ``rank``.
        cases: the rows; in mode ``score`` each answer is one question to the person.
        done: ids of the rows that are labelled.
        doubts: the judge's doubt by (id, name, digest).

    Raises:
        SettingsError: a case has not as many answers as the mode needs.
    """
    work = single(cases) if mode == "score" else [("", case) for case in cases]
    for _, case in work:
        if (mode == "pair" and len(case.answers) != 2) or (mode == "rank" and len(case.answers) < 2):
            raise SettingsError(f"row {case.id} has {len(case.answers)} answers: that is not for mode {mode}")
    todo = [(_id(name, case, len(cases) < len(work)), name, case) for name, case in work]
    todo.sort(key=lambda entry: -_doubt(doubts.get((entry[2].id, entry[1], entry[2].digest), 0.0)))
    return [(row_id, case) for row_id, _, case in todo if row_id not in done]


def letters_of(case: Case) -> dict[str, str]:
    """The letters that the answers are shown under, in their order: drawn by the row's content, letter to name."""
    names = list(case.answers)
    turn = int(case.digest, 16) % len(names)
    return dict(zip(LETTERS, names[turn:] + names[:turn], strict=False))


def row_of(mode: str, row_id: str, case: Case, given: Mapping[str, Any]) -> Record:
    """A labelled row, as :func:`labelled` reads it.

    Args:
        mode: ``score``, ``pair`` or ``rank``.
        row_id: of the row.
        case: what was labelled.
        given: ``{"scores": {NAME: 0 to 100}}`` or ``{"order": [NAME, ...]}``, with ``why``.
    """
    row = {"id": row_id, "question": case.question, "reference": case.reference, "answers": dict(case.answers)}
    if mode == "pair":
        (first, a), (second, b) = given["scores"].items()
        row["human"] = TIE if a == b else first if a > b else second
    return row | {"label": dict(given)}


def _id(name: str, case: Case, many: bool) -> str:
    return f"{case.id}/{name}" if many else case.id


def _doubt(value: float | None) -> float:
    return float("inf") if value is None else value


def _ask(mode: str, case: Case) -> dict[str, Any]:
    shown = letters_of(case)
    _show("Question", case.question)
    if case.reference:
        _show("Reference", case.reference)
    for letter, name in shown.items():
        _show(f"Answer {letter}" if len(shown) > 1 else "Answer", case.answers[name])
    if mode == "rank":
        given: dict[str, Any] = {"order": [shown[letter] for letter in _order(list(shown))]}
    else:
        scores = {
            name: _number(f"Score of {x}, 0 to 100" if len(shown) > 1 else "Score, 0 to 100")
            for x, name in shown.items()
        }
        given = {"scores": {name: scores[name] for name in case.answers}}
    return given | {"why": _line("Why, in a sentence")}


def _show(title: str, text: str) -> None:
    typer.secho(f"\n{title}", bold=True)
    # A control sequence in an answer could repaint the form; the line breaks stay.
    typer.echo("\n".join("".join(c if c.isprintable() else " " for c in line) for line in text.splitlines()))


def _line(question: str) -> str:
    while True:
        try:
            said = typer.prompt(question, default="", show_default=False).strip()
        except typer.Abort:
            raise _Leave(QUIT) from None
        if said.lower() in (SKIP, QUIT):
            raise _Leave(said.lower())
        if said:
            return str(said)


def _number(question: str) -> int:
    while True:
        said = _line(question)
        if said.isascii() and said.isdigit() and int(said) <= 100:
            return int(said)
        typer.echo("A whole number from 0 to 100, please.")


def _order(letters: list[str]) -> list[str]:
    while True:
        said = [c for c in _line(f"Best to worst, such as {''.join(letters[::-1])}").upper() if c not in " >,"]
        if sorted(said) == letters:
            return said
        typer.echo(f"Each of {', '.join(letters)} once, please.")


def labelled(path: Path | None) -> tuple[Case, ...]:
    """The examples of a file that the form wrote; none without a file.

    Raises:
        SourceError: the file cannot be read as such rows.
    """
    return tuple(load_cases(path)) if path else ()
