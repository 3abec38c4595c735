"""The chatbot's question rows, and the models that answer them, as ``--models`` names them."""

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
    """A model to ask: ``label`` names it in reports; a ``base`` one has no chat template, and a newline ends it."""

    label: str
    name: str
    adapter: str | None
    base: bool


def models_of(given: str) -> list[Model]:
    """``--models``: comma-separated ``[LABEL=][base:]NAME[+ADAPTER]``.

    Raises:
        SettingsError: one is empty, or two have the same label.
    """
    found = []
    for spec in filter(None, (part.strip() for part in given.split(","))):
        match = _LABEL.fullmatch(spec)
        label, rest = match.groups() if match else ("", spec)
        base = rest.startswith("base:")
        name, _, adapter = rest.removeprefix("base:").partition("+")
        if not name:
            raise SettingsError(f"{spec} names no model: write [LABEL=][base:]NAME[+ADAPTER], with commas between")
        found.append(Model(label or rest, name, adapter or None, base))
    if not found or len({model.label for model in found}) < len(found):
        raise SettingsError(f"--models {given}: give at least one, and each a LABEL= of its own")
    return found


def load_rows(files: Sequence[Path] = ()) -> list[Record]:
    """The question rows of some files; our own, English and Chinese, by default.

    Raises:
        SourceError: a row is not one.
    """
    rows = []
    for path in files or (DATA / "chatbot.en.jsonl", DATA / "chatbot.zh.jsonl"):
        for row in read_jsonl(path):
            rows.append(_checked(row, path))
    if not rows:
        raise SourceError("there are no questions: give --data a JSONL file with some")
    return rows


def _checked(row: Record, path: Path) -> Record:
    texts = all(isinstance(row.get(key), str) and row[key] for key in ("id", "question"))
    facts: Any = row.get("facts", [])
    groups = isinstance(facts, list) and all(isinstance(g, list) and all(isinstance(a, str) for a in g) for g in facts)
    if not texts or row.get("task") not in TASKS or row.get("language") not in ("en", "zh") or not groups:
        raise SourceError(
            f"{path}: {str(row)[:60]} is no question row: give id, task ({', '.join(TASKS)}), language (en, zh), "
            "question, reference and facts"
        )
    return {"reference": "", "facts": [], **row}


def limited(rows: Sequence[Record], limit: int | None) -> list[Record]:
    """The first ``limit`` rows of each task, language and kind (math, harmful, ...); all without a limit."""
    seen: dict[tuple[str, str, str], int] = {}
    kept = []
    for row in rows:
        part = (row["task"], row["language"], row.get("kind", ""))
        seen[part] = seen.get(part, 0) + 1
        if limit is None or seen[part] <= limit:
            kept.append(row)
    return kept


def dataset() -> tuple[str, list[Record]]:
    """Our own questions as LangSmith's dataset: name and rows."""
    return "egosrag-chatbot", load_rows()
