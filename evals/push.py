"""Push datasets to LangSmith from JSONL files, which stay the original; pushing twice changes nothing.

    python -m evals.push chatbot roleplay                 our own question sets, as egosrag-chatbot, egosrag-roleplay
    python -m evals.push answers.jsonl --name my-answers  rows of your own, with an "id" each

Splits are the task (or case) and the language of a row. Versions are tagged with the digest of their rows.
LANGSMITH_API_KEY and LANGSMITH_ENDPOINT name the account and the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.errors import SettingsError, SourceError
from evals.chatbot import questions
from evals.common import langsmith
from evals.common.records import Record, read_jsonl
from evals.roleplay import cases

OWN = {"chatbot": questions.dataset, "roleplay": cases.dataset}


def rows_of(source: str) -> tuple[str, list[Record]]:
    """The name and the rows of a dataset: one of ``OWN``, or a JSONL file.

    Raises:
        SourceError: There is no such dataset or file, or a row has no id of its own.
    """
    if source in OWN:
        return OWN[source]()
    rows = list(read_jsonl(Path(source)))
    if not rows or not all(isinstance(row.get("id"), str | int) for row in rows):
        raise SourceError(f"{source}: give a JSONL file whose rows have an id each, or one of {', '.join(OWN)}")
    rows = [row | {"id": str(row["id"])} for row in rows]
    if len({row["id"] for row in rows}) < len(rows):
        raise SourceError(f"{source} has rows with the same id: give each its own")
    return Path(source).stem, rows


def show_counts(name: str, rows: Sequence[Mapping[str, Any]], tag: str) -> None:
    """Print what was pushed, a split a line."""
    typer.echo(f"{name}: {len(rows)} examples, version {tag}")
    for field in langsmith.SPLIT_FIELDS:
        for value in dict.fromkeys(row[field] for row in rows if row.get(field)):
            typer.echo(f"  {value}: {sum(row.get(field) == value for row in rows)}")


def command(
    sources: Annotated[list[str], typer.Argument(help="chatbot, roleplay, or JSONL files.")],
    name: Annotated[str | None, typer.Option(help="Name of the dataset; for one source.")] = None,
) -> None:
    """Push datasets to LangSmith."""
    if name and len(sources) > 1:
        raise SettingsError("--name is for one source: push the others in separate calls")
    datasets = [rows_of(source) for source in sources]
    client = langsmith.client()
    for own_name, rows in datasets:
        show_counts(name or own_name, rows, langsmith.push(client, name or own_name, rows))


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
