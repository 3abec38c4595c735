"""The records of a run as people read them: who answered what, the measures, and the whole of one sample."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import fmean
from typing import Any, NamedTuple

from egosrag.errors import SourceError
from evals.common.records import Record
from evals.compare import item_of, values_of
from evals.look.results import Found, Row
from evals.push import example_id

USER, REFERENCE, JUDGE = "user", "reference", "judge"


class Said(NamedTuple):
    """One piece of a transcript: who said it (``user``, ``reference``, ``judge`` or a name), and what."""

    speaker: str
    text: str


def read_records(found: Found) -> list[Record]:
    """The records of a file; half a line that a run is just writing is left for the next time.

    Raises:
        SourceError: the file is gone or damaged.
    """
    try:
        content = found.path.read_bytes()
        rows = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].split(b"\n") if line.strip()]
        return [row for row in rows if "key" in row]
    except (OSError, ValueError, TypeError) as error:
        raise SourceError(f"{found.name} cannot be read ({error}): run the evaluation again") from error


def who(record: Record) -> str:
    """The model or system that a record is of."""
    return str(record.get("who") or (record["key"][1] if len(record["key"]) > 2 else record["key"][0]))


def overview(records: Sequence[Record]) -> list[Row]:
    """A row a model or system: how many samples, and the mean of each of its measures."""
    names = list(dict.fromkeys(map(who, records)))
    rows = []
    for name in names:
        mine = [values_of(record) for record in records if who(record) == name]
        measures = dict.fromkeys(measure for values in mine for measure in values)
        means = {m: fmean(values[m] for values in mine if m in values) for m in measures}
        rows.append({"": name, "n": str(len(mine)), **{m: f"{mean:.3g}" for m, mean in means.items()}})
    return rows


def listing(records: Sequence[Record], of: str | None = None, by: str | None = None) -> list[tuple[Record, Row]]:
    """The samples with a row each, of one model where it is named, the lowest of a measure first where one is."""
    mine = [record for record in records if of in (None, who(record))]
    if by:
        mine.sort(key=lambda record: values_of(record).get(by, float("inf")))
    rows = [{"": who(r), "sample": item_of(r), **{m: f"{v:.3g}" for m, v in values_of(r).items()}} for r in mine]
    return list(zip(mine, rows, strict=True))


def measures(records: Sequence[Record]) -> list[str]:
    """The names of the measures that the records have."""
    return list(dict.fromkeys(name for record in records for name in values_of(record)))


def transcript(kind: str, record: Record) -> list[Said]:
    """All that was said in one sample.

    Args:
        kind: the evaluation.
        record: of :func:`read_records`.
    """
    name = who(record)
    if kind == "roleplay":
        replies = [reply["text"] for reply in record.get("replies", ())]
        pairs = zip(record.get("said", ()), [*replies, *[""] * len(record.get("said", ()))], strict=False)
        return [Said(speaker, text) for line, reply in pairs for speaker, text in ((USER, line), (name, reply)) if text]
    if kind == "judge":
        said = [Said(JUDGE, sample["text"]) for sample in record.get("samples", ())]
        return [*said, *([Said(JUDGE, record["reason"])] if record.get("reason") else [])]
    if kind == "ppl":
        numbers = {key: record[key] for key in ("gold", "prediction", "whole", "tail", "tokens") if key in record}
        return [Said(f"{key}", json.dumps(value)) for key, value in numbers.items()]
    asked = _questions(kind).get(str(record.get("item")), {})
    before = [Said(s, t) for q, a in asked.get("history", ()) for s, t in ((USER, q), (REFERENCE, a))]
    said = [*before, Said(USER, asked.get("question") or str(record.get("item")))]
    said.append(Said(name, record.get("answer") or record.get("reason") or ""))
    said += [Said(f"p. {c['page']}", c["quote"]) for c in record.get("citations") or ()]
    return [*said, *([Said(REFERENCE, asked["reference"])] if asked.get("reference") else [])]


def langsmith_run(kind: str, record: Record) -> tuple[str, str] | None:
    """The run of a sample in LangSmith, where the evaluation was uploaded: its id and that of its experiment.

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
        if (experiment.name or "").startswith(f"{dataset} {who(record)}-"):
            return str(run.id), str(run.session_id)
    return None


@cache
def _questions(kind: str) -> Mapping[str, Any]:
    """Our own questions by their id; of a visitor's own files only the ids are known."""
    from evals.chatbot import data as chatbot_data
    from evals.rag import data as rag_data

    rows = chatbot_data.load_rows() if kind == "chatbot" else [r for one in rag_data.samples() for r in one.rows]
    return {str(row["id"]): row for row in rows}
