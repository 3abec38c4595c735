"""The chatbot's question rows, and the models of ``--models`` that answer them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.errors import SettingsError, SourceError
from evals.common.records import Record, numbered_rows

DATA = Path(__file__).parents[1] / "data"
TASKS = ("basic", "professional", "translation", "open")
REFERENCES = ("reference", "facts", "final")
_LABEL = re.compile(r"([\w.\- ]+)=(.+)", re.DOTALL)


class Model(NamedTuple):
    """A model to ask.

    Attributes:
        label: Its name in reports.
        name: As ``load_chat_model`` takes it.
        adapter: Folder of a PEFT adapter.
        base: A base model: no chat template, and a newline ends its answer.
    """

    label: str
    name: str
    adapter: str | None
    base: bool


def parse_models(text: str) -> list[Model]:
    """Parse ``--models``: comma-separated ``[LABEL=][base:]NAME[+ADAPTER]``.

    Raises:
        SettingsError: One is empty, or two have the same label.
    """
    models = []
    for spec in filter(None, (part.strip() for part in text.split(","))):
        match = _LABEL.fullmatch(spec)
        label, rest = match.groups() if match else ("", spec)
        base = rest.startswith("base:")
        name, _, adapter = rest.removeprefix("base:").partition("+")
        if not name:
            raise SettingsError(f"{spec} names no model: write [LABEL=][base:]NAME[+ADAPTER], separated by commas")
        models.append(Model(label or rest, name, adapter or None, base))
    if not models or len({model.label for model in models}) < len(models):
        raise SettingsError(f"--models {text}: give at least one, and each a LABEL= of its own")
    return models


def load_rows(files: Sequence[Path] = ()) -> list[Record]:
    """The question rows of the files; by default our own, English and Chinese.

    Raises:
        SourceError: A row is malformed or has the id of another, or there are none.
    """
    rows: dict[str, Record] = {}
    for path in files or (DATA / "chatbot.en.jsonl", DATA / "chatbot.zh.jsonl"):
        for line, found in numbered_rows(path):
            row = {name: value for name, value in found.items() if value is not None}
            if wrong := _wrong(row):
                raise SourceError(
                    f"{path}: line {line} has a wrong {wrong} and is not a question row: give id, task "
                    f"({', '.join(TASKS)}), language (en, zh), question, reference and facts"
                )
            if row["id"] in rows:
                raise SourceError(f"{path}: line {line} has the id {row['id']} of an earlier row: give it its own")
            rows[row["id"]] = {"reference": "", "facts": [], **row}
    if not rows:
        raise SourceError("there are no questions: give --data a JSONL file with some")
    return list(rows.values())


def _wrong(row: Record) -> str:
    """The field of a row that is wrong; empty for a question row. A field that is null is one that is not given."""
    facts: Any = row.get("facts", [])
    right = {
        "id": isinstance(row.get("id"), str) and row["id"],
        "question": isinstance(row.get("question"), str),
        "task": row.get("task") in TASKS,
        "language": row.get("language") in ("en", "zh"),
        "reference": isinstance(row.get("reference", ""), str),
        "reference of a translation": row.get("task") != "translation" or str(row.get("reference", "")).strip(),
        "kind": isinstance(row.get("kind", ""), str),
        "final": isinstance(row.get("final", False), bool),
        "facts": isinstance(facts, list) and all(map(_is_fact, facts)),
    }
    return next((name for name, holds in right.items() if not holds), "")


def _is_fact(group: Any) -> bool:
    """Whether it is a list of wordings; an empty wording is in every answer, and none of an empty list in any."""
    return isinstance(group, list) and bool(group) and all(isinstance(a, str) and a.strip() for a in group)


def limited(rows: Sequence[Record], limit: int | None) -> list[Record]:
    """The first ``limit`` rows of each task, language and kind (math, harmful, ...); all rows without a limit."""
    seen: dict[tuple[str, str, str], int] = {}
    selected = []
    for row in rows:
        part = (row["task"], row["language"], row.get("kind", ""))
        seen[part] = seen.get(part, 0) + 1
        if limit is None or seen[part] <= limit:
            selected.append(row)
    return selected


def dataset() -> tuple[str, list[Record]]:
    """Our own questions as a LangSmith dataset: name and rows."""
    return "egosrag-chatbot", load_rows()
