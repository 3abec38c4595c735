"""Datasets to LangSmith, from the JSONL files that are the truth; pushing twice changes nothing.

    python -m evals.push chatbot roleplay                 our own question sets, as egosrag-chatbot, egosrag-roleplay
    python -m evals.push answers.jsonl --name my-answers  rows of your own, with an "id" each

Splits are the task (or case) and the language of a row. A push that changed something is a version, tagged with the
digest of its rows, so that a run can name what it was measured on. LANGSMITH_API_KEY and LANGSMITH_ENDPOINT say where.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.errors import SettingsError, SourceError
from evals.common.records import Record, read_jsonl

_SPACE = uuid.UUID("6f0f7e5c-6a0d-5a3b-9c27-3b1f0a7f2d11")  # any constant: the same row has the same id everywhere
SPLIT_FIELDS = ("task", "case", "language")
REFERENCES = ("reference", "facts", "final", "plants", "human")


def example_id(dataset: str, row_id: str) -> uuid.UUID:
    """The id of a row's example: always the same for the same dataset and row."""
    return uuid.uuid5(_SPACE, f"{dataset}/{row_id}")


def splits_of(row: Record, references: Sequence[str]) -> tuple[Record, Record]:
    """A row as (inputs, reference outputs)."""
    return (
        {key: value for key, value in row.items() if key not in references},
        {key: value for key, value in row.items() if key in references},
    )


def push(client: Any, name: str, rows: Sequence[Record], references: Sequence[str] = REFERENCES) -> str:
    """Makes the dataset ``name`` hold exactly ``rows``, and tags that version.

    Args:
        client: LangSmith's client.
        name: the dataset's name.
        rows: rows with an ``id`` each; what LangSmith holds beyond them is deleted.
        references: fields that are reference outputs; the others are inputs.

    Returns:
        The version's tag: ``rows-`` and the digest of the rows.

    Raises:
        SettingsError: LangSmith cannot be reached or refuses.
    """
    from langsmith.utils import LangSmithError

    try:
        return _push(client, name, rows, references)
    except (LangSmithError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SettingsError(f"LangSmith did not take {name} ({reason}): check LANGSMITH_API_KEY and the net") from error


def _push(client: Any, name: str, rows: Sequence[Record], references: Sequence[str]) -> str:
    if client.has_dataset(dataset_name=name):
        dataset = client.read_dataset(dataset_name=name)
    else:
        dataset = client.create_dataset(name, description="Made from JSONL by evals.push; change it there.")
    there = {example.id: (example.metadata or {}).get("digest") for example in client.list_examples(dataset.id)}
    wanted = {example_id(name, row["id"]): row for row in rows}
    made = [_fields(i, row, references) for i, row in wanted.items() if i not in there]
    changed = [_fields(i, row, references) for i, row in wanted.items() if i in there and there[i] != _digest(row)]
    gone = [i for i in there if i not in wanted]
    if made:
        client.create_examples(dataset_id=dataset.id, examples=made)
    if changed:
        updates = [{"outputs" if key == "reference_outputs" else key: v for key, v in f.items()} for f in changed]
        client.update_examples(dataset_id=dataset.id, updates=updates)
    if gone:
        client.delete_examples(gone)
    tag = "rows-" + _digest([wanted[i] for i in sorted(wanted)])
    if made or changed or gone:
        client.update_dataset_tag(dataset_id=dataset.id, as_of=datetime.now(UTC), tag=tag)
    return tag


def _fields(i: uuid.UUID, row: Record, references: Sequence[str]) -> dict[str, Any]:
    inputs, outputs = splits_of(row, references)
    split = [str(row[field]) for field in SPLIT_FIELDS if row.get(field)] or ["base"]
    return {
        "id": i,
        "inputs": inputs,
        "reference_outputs": outputs,
        "split": split,
        "metadata": {"row": row["id"], "digest": _digest(row)},
    }


def _digest(content: Record | list[Record]) -> str:
    return sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:12]


def rows_of(source: str) -> tuple[str, list[Record]]:
    """The name and rows of a dataset of ours, or of a JSONL file.

    Raises:
        SourceError: there is no such dataset or file, or a row has no id.
    """
    if source in ("chatbot", "roleplay"):
        from evals.chatbot import data as chatbot_data
        from evals.roleplay import data as roleplay_data

        return {"chatbot": chatbot_data.dataset, "roleplay": roleplay_data.dataset}[source]()
    rows: list[Record] = list(read_jsonl(Path(source)))
    if not rows or not all(isinstance(row.get("id"), str | int) for row in rows):
        raise SourceError(f"{source}: give a JSONL file whose rows have an id each, or one of chatbot, roleplay")
    rows = [row | {"id": str(row["id"])} for row in rows]
    if len({row["id"] for row in rows}) < len(rows):
        raise SourceError(f"{source} has rows with the same id: give each its own")
    return Path(source).stem, rows


def show_counts(name: str, rows: Sequence[Mapping[str, Any]], tag: str) -> None:
    """Says what was pushed, a split a line."""
    typer.echo(f"{name}: {len(rows)} examples, version {tag}")
    for field in SPLIT_FIELDS:
        for value in dict.fromkeys(row[field] for row in rows if row.get(field)):
            typer.echo(f"  {value}: {sum(row.get(field) == value for row in rows)}")


def _command(
    sources: Annotated[list[str], typer.Argument(help="chatbot, roleplay, or JSONL files.")],
    name: Annotated[str | None, typer.Option(help="Name of the dataset; for one source.")] = None,
) -> None:
    """Push datasets to LangSmith."""
    from evals.common.experiment import client

    if name and len(sources) > 1:
        raise SettingsError("--name is for one source: push the others in calls of their own")
    found = [rows_of(source) for source in sources]
    there = client()
    for given, rows in found:
        show_counts(name or given, rows, push(there, name or given, rows))


if __name__ == "__main__":
    from evals.common.command import run

    run(_command)
