"""The chatbot's question rows, and the models of ``--models`` that answer them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.errors import SettingsError, SourceError
from evals.common.records import Record, read_jsonl

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
        SourceError: A row is malformed, or there are none.
    """
    rows = []
    for path in files or (DATA / "chatbot.en.jsonl", DATA / "chatbot.zh.jsonl"):
        for row in read_jsonl(path):
            rows.append(_check(row, path))
    if not rows:
        raise SourceError("there are no questions: give --data a JSONL file with some")
    return rows


def _check(row: Record, path: Path) -> Record:
    texts = all(isinstance(row.get(key), str) and row[key] for key in ("id", "question"))
    facts: Any = row.get("facts", [])
    groups = isinstance(facts, list) and all(isinstance(g, list) and all(isinstance(a, str) for a in g) for g in facts)
    if not texts or row.get("task") not in TASKS or row.get("language") not in ("en", "zh") or not groups:
        raise SourceError(
            f"{path}: {str(row)[:60]} is not a question row: give id, task ({', '.join(TASKS)}), language (en, zh), "
            "question, reference and facts"
        )
    return {"reference": "", "facts": [], **row}


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
