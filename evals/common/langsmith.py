"""LangSmith: its client, and datasets made from rows. Pushing the same rows twice changes nothing.

A row's example has the same id on every machine. Splits are the task (or case) and the language of a row. A push that
changed something is a version, tagged with the digest of its rows, so that a run can name what it was measured on.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from egosrag.errors import SettingsError
from evals.common.records import Record

_NAMESPACE = uuid.UUID("6f0f7e5c-6a0d-5a3b-9c27-3b1f0a7f2d11")  # any constant: it makes the example ids
SPLIT_FIELDS = ("task", "case", "language")
REFERENCES = ("reference", "facts", "final", "plants", "human")


def client() -> Any:
    """LangSmith's client, with the key of the environment.

    Raises:
        SettingsError: LANGSMITH_API_KEY is not set.
    """
    from langsmith import Client

    if not os.environ.get("LANGSMITH_API_KEY"):
        raise SettingsError("no key for LangSmith: set LANGSMITH_API_KEY in the environment, or leave out --upload")
    return Client()


def example_id(dataset: str, row_id: str) -> uuid.UUID:
    """The id of a row's example: always the same for the same dataset and row."""
    return uuid.uuid5(_NAMESPACE, f"{dataset}/{row_id}")


def split_row(row: Record, references: Sequence[str]) -> tuple[Record, Record]:
    """A row as (inputs, reference outputs)."""
    return (
        {key: value for key, value in row.items() if key not in references},
        {key: value for key, value in row.items() if key in references},
    )


def push(client: Any, name: str, rows: Sequence[Record], references: Sequence[str] = REFERENCES) -> str:
    """Make the dataset ``name`` hold exactly ``rows``, and tag that version.

    Args:
        client: LangSmith's client.
        name: The dataset's name.
        rows: Rows with an ``id`` each; examples of other ids are deleted.
        references: Fields that are reference outputs; the others are inputs.

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
        raise SettingsError(
            f"LangSmith did not accept {name} ({reason}): check LANGSMITH_API_KEY and the network"
        ) from error


def _push(client: Any, name: str, rows: Sequence[Record], references: Sequence[str]) -> str:
    if client.has_dataset(dataset_name=name):
        dataset = client.read_dataset(dataset_name=name)
    else:
        dataset = client.create_dataset(name, description="Made from JSONL by evals.push; change it there.")
    present = {example.id: (example.metadata or {}).get("digest") for example in client.list_examples(dataset.id)}
    expected = {example_id(name, row["id"]): row for row in rows}
    new = [_fields(i, row, references) for i, row in expected.items() if i not in present]
    changed = [
        _fields(i, row, references) for i, row in expected.items() if i in present and present[i] != _digest(row)
    ]
    deleted = [i for i in present if i not in expected]
    if new:
        client.create_examples(dataset_id=dataset.id, examples=new)
    if changed:
        updates = [{"outputs" if key == "reference_outputs" else key: v for key, v in f.items()} for f in changed]
        client.update_examples(dataset_id=dataset.id, updates=updates)
    if deleted:
        client.delete_examples(deleted)
    tag = "rows-" + _digest([expected[i] for i in sorted(expected)])
    if new or changed or deleted:
        client.update_dataset_tag(dataset_id=dataset.id, as_of=datetime.now(UTC), tag=tag)
    return tag


def _fields(i: uuid.UUID, row: Record, references: Sequence[str]) -> dict[str, Any]:
    inputs, outputs = split_row(row, references)
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
