"""Labelling by a person: a question and its answers on the terminal, scores and a reason back.

The form hides who gave an answer, and the row's content decides which one is shown first, so that a person is as
little biased as the judge should be.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from egosrag.errors import SettingsError
from evals.common.records import Record, check_writable, not_written, read_jsonl
from evals.judge.asking import check_answers, units
from evals.judge.cases import LETTERS, TIE, Case

SKIP, QUIT = "s", "q"
Doubts = Mapping[tuple[str, str, str], float | None]
"""The judge's doubt by (id, name, digest), see :func:`doubts_of`."""


class _Interrupt(Exception):
    """The person skips the row or quits."""


def label(mode: str, cases: Sequence[Case], out: Path, doubts: Doubts) -> int:
    """Ask about each case that ``out`` does not have yet, and append each label at once.

    Args:
        mode: ``score``, ``pair`` or ``rank``.
        cases: The rows; in mode ``score`` the person is asked about each answer on its own.
        out: JSONL of labelled rows: examples for the judge, and for two answers with ``human``.
        doubts: What the judge doubts most is asked first.

    Returns:
        The number of labels written.

    Raises:
        SettingsError: The mode does not judge the number of answers of a case, ``out`` cannot be written, or it has
            the label of another row with the id of one of these.
    """
    check_writable(out)
    done = _labelled(out) if out.exists() else {}
    for row_id, case in unlabelled(mode, cases, (), doubts):
        labelled = done.get(row_id, {})
        row = _row(row_id, case)
        if any((labelled[name] or "") != row[name] for name in row.keys() & labelled.keys() - {"id"}):
            raise SettingsError(f"{out} has the label of another row with the id {row_id}: name another file")
    rows = unlabelled(mode, cases, done, doubts)
    written = 0
    for n, (row_id, case) in enumerate(rows, 1):
        typer.echo(f"\n=== {n} of {len(rows)} (an empty line asks again, {SKIP} skips, {QUIT} quits) ===")
        try:
            entered = _ask(mode, case)
        except _Interrupt as interrupt:
            if str(interrupt) == QUIT:
                break
            continue
        _append(out, labelled_row(mode, row_id, case, entered))
        written += 1
    return written


def _labelled(out: Path) -> dict[str, Record]:
    """The labelled rows by their ids; a row without an id is named: it is not known whose label it is."""
    done = {}
    for n, row in enumerate(read_jsonl(out), 1):
        if row.get("id") is None:
            typer.echo(f"{out}: row {n} has no id: it does not count as the label of a row", err=True)
        else:
            done[str(row["id"])] = row
    return done


def _append(out: Path, row: Record) -> None:
    """Append a row to a file, on a line of its own also where the file does not end one."""
    try:
        with out.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        raise not_written(out, error) from error


def unlabelled(mode: str, cases: Sequence[Case], done: Collection[str], doubts: Doubts) -> list[tuple[str, Case]]:
    """The rows that a person has not labelled yet, as (row id, case), those that the judge doubts most first.

    Args:
        mode: ``score``, ``pair`` or ``rank``.
        cases: The rows; in mode ``score`` each answer is a row of its own.
        done: Ids of the labelled rows.
        doubts: The judge's doubts.

    Raises:
        SettingsError: The mode does not judge the number of answers of a case.
    """
    work = units(mode, cases)
    for _, case in work:
        check_answers(mode, case)
    several = len(cases) < len(work)
    rows = [(f"{case.id}/{name}" if several else case.id, name, case) for name, case in work]
    rows.sort(key=lambda row: -_sort_value(doubts.get((row[2].id, row[1], row[2].digest), 0.0)))
    return [(row_id, case) for row_id, _, case in rows if row_id not in done]


def doubts_of(records: Sequence[Record]) -> Doubts:
    """The doubts of a judge's records."""
    keyed = [(r["key"], r["doubt"]) for r in records if isinstance(r.get("key"), list) and "doubt" in r]
    return {(key[0], key[1], key[2]): doubt for key, doubt in keyed if len(key) == 3}


def _sort_value(doubt: float | None) -> float:
    return float("inf") if doubt is None else doubt


def letters_of(case: Case) -> dict[str, str]:
    """The letters that the answers are shown under, letter to name; the row's content decides the order."""
    names = list(case.answers)
    shift = int(case.digest, 16) % len(names)
    return dict(zip(LETTERS, names[shift:] + names[:shift], strict=False))


def labelled_row(mode: str, row_id: str, case: Case, entered: Mapping[str, Any]) -> Record:
    """A labelled row, as :func:`evals.judge.cases.load_cases` reads it.

    Args:
        mode: ``score``, ``pair`` or ``rank``.
        row_id: Id of the row.
        case: The case.
        entered: ``{"scores": {NAME: 0 to 100}}`` or ``{"order": [NAME, ...]}``, with ``why``.
    """
    row = _row(row_id, case)
    if mode == "pair":
        (first, a), (second, b) = entered["scores"].items()
        row["human"] = TIE if a == b else first if a > b else second
    return row | {"label": dict(entered)}


def _row(row_id: str, case: Case) -> Record:
    return {"id": row_id, "question": case.question, "reference": case.reference, "answers": dict(case.answers)}


def _ask(mode: str, case: Case) -> dict[str, Any]:
    letters = letters_of(case)
    _show("Question", case.question)
    if case.reference:
        _show("Reference", case.reference)
    for letter, name in letters.items():
        _show(f"Answer {letter}" if len(letters) > 1 else "Answer", case.answers[name])
    if mode == "rank":
        entered: dict[str, Any] = {"order": [letters[letter] for letter in _ask_order(list(letters))]}
    else:
        scores = {
            name: _ask_number(f"Score of {x}, 0 to 100" if len(letters) > 1 else "Score, 0 to 100")
            for x, name in letters.items()
        }
        entered = {"scores": {name: scores[name] for name in case.answers}}
    return entered | {"why": _ask_line("Why, in a sentence")}


def _show(title: str, text: str) -> None:
    typer.secho(f"\n{title}", bold=True)
    # A control sequence in an answer could repaint the form; only line breaks are kept.
    typer.echo("\n".join("".join(c if c.isprintable() else " " for c in line) for line in text.splitlines()))


def _ask_line(question: str) -> str:
    while True:
        try:
            line = str(typer.prompt(question, default="", show_default=False)).strip()
        except typer.Abort:
            raise _Interrupt(QUIT) from None
        if line.lower() in (SKIP, QUIT):
            raise _Interrupt(line.lower())
        if line:
            return line


def _ask_number(question: str) -> int:
    while True:
        line = _ask_line(question)
        if line.isascii() and line.isdigit() and int(line) <= 100:
            return int(line)
        typer.echo("A whole number from 0 to 100, please.")


def _ask_order(letters: list[str]) -> list[str]:
    while True:
        line = _ask_line(f"Best to worst, such as {''.join(letters[::-1])}")
        order = [c for c in line.upper() if c not in " >,"]
        if sorted(order) == letters:
            return order
        typer.echo(f"Each of {', '.join(letters)} once, please.")
