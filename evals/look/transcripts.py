"""Records for people to read: the measures by model, the list of samples, and the transcript of a sample."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import fmean
from typing import Any, NamedTuple

from evals.chatbot.questions import load_rows
from evals.common.langsmith import example_id
from evals.common.records import Record, item_of, measures_of
from evals.look.tables import Row
from evals.rag.questions import samples

USER, REFERENCE, JUDGE = "user", "reference", "judge"


class Message(NamedTuple):
    """One message of a transcript; the speaker is ``user``, ``reference``, ``judge`` or the name of a model."""

    speaker: str
    text: str


def system_of(record: Record) -> str:
    """The model or system of a record."""
    return str(record.get("who") or (record["key"][1] if len(record["key"]) > 2 else record["key"][0]))


def overview(records: Sequence[Record]) -> list[Row]:
    """A row a model or system: the number of samples, and the mean of each measure."""
    rows = []
    for name in dict.fromkeys(map(system_of, records)):
        measured = [measures_of(record) for record in records if system_of(record) == name]
        names = dict.fromkeys(measure for measures in measured for measure in measures)
        means = {m: fmean(measures[m] for measures in measured if m in measures) for m in names}
        rows.append({"": name, "n": str(len(measured)), **{m: f"{mean:.3g}" for m, mean in means.items()}})
    return rows


def sample_list(
    records: Sequence[Record], system: str | None = None, sort_by: str | None = None
) -> list[tuple[Record, Row]]:
    """The samples with a table row each.

    Args:
        records: Of a run.
        system: Only the samples of this model or system.
        sort_by: A measure; the samples with the lowest value come first.
    """
    selected = [record for record in records if system in (None, system_of(record))]
    if sort_by:
        selected.sort(key=lambda record: measures_of(record).get(sort_by, float("inf")))
    rows = [
        {"": system_of(r), "sample": item_of(r), **{m: f"{v:.3g}" for m, v in measures_of(r).items()}} for r in selected
    ]
    return list(zip(selected, rows, strict=True))


def measure_names(records: Sequence[Record]) -> list[str]:
    """The names of the measures that the records have."""
    return list(dict.fromkeys(name for record in records for name in measures_of(record)))


def transcript(kind: str, record: Record) -> list[Message]:
    """All messages of one sample.

    Args:
        kind: The evaluation.
        record: Its record.
    """
    name = system_of(record)
    if kind == "roleplay":
        return _conversation(name, record)
    if kind == "judge":
        samples = [Message(JUDGE, sample["text"]) for sample in record.get("samples", ())]
        return [*samples, *([Message(JUDGE, record["reason"])] if record.get("reason") else [])]
    if kind == "ppl":
        numbers = {key: record[key] for key in ("gold", "prediction", "whole", "tail", "tokens") if key in record}
        return [Message(key, json.dumps(value)) for key, value in numbers.items()]
    return _answer(kind, name, record)


def _conversation(name: str, record: Record) -> list[Message]:
    lines = record.get("said", ())
    replies = [*(reply["text"] for reply in record.get("replies", ())), *[""] * len(lines)]
    pairs = zip(lines, replies, strict=False)
    return [Message(who, text) for line, reply in pairs for who, text in ((USER, line), (name, reply)) if text]


def _answer(kind: str, name: str, record: Record) -> list[Message]:
    row = _own_questions(kind).get(str(record.get("item")), {})
    messages = [Message(who, text) for q, a in row.get("history", ()) for who, text in ((USER, q), (REFERENCE, a))]
    messages.append(Message(USER, row.get("question") or str(record.get("item"))))
    messages.append(Message(name, record.get("answer") or record.get("reason") or ""))
    messages += [Message(f"p. {c['page']}", c["quote"]) for c in record.get("citations") or ()]
    return [*messages, *([Message(REFERENCE, row["reference"])] if row.get("reference") else [])]


def langsmith_run(kind: str, record: Record) -> tuple[str, str] | None:
    """The (run id, experiment id) of a sample in LangSmith; None when its evaluation was not uploaded.

    Raises:
        LangSmithError: LangSmith cannot be reached, or refuses.
    """
    from langsmith import Client

    dataset = {"roleplay": "egosrag-roleplay", "chatbot": "egosrag-chatbot", "rag": "egosrag-manual"}.get(kind)
    if dataset is None:
        return None
    client = Client()
    for run in client.list_runs(reference_example_id=example_id(dataset, str(record["item"])), is_root=True, limit=20):
        experiment = client.read_project(project_id=str(run.session_id))
        if (experiment.name or "").startswith(f"{dataset} {system_of(record)}-"):
            return str(run.id), str(run.session_id)
    return None


@cache
def _own_questions(kind: str) -> Mapping[str, Any]:
    """Our own questions by id; of a user's own questions the records have only the ids."""
    rows = load_rows() if kind == "chatbot" else [row for manual in samples() for row in manual.rows]
    return {str(row["id"]): row for row in rows}
