"""The results of manual QA: measures with intervals, the report's table 1, and the bar chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.common import stats
from evals.common.charts import bar, draw_bars
from evals.common.estimates import estimate, percent, precision_recall, proportion, rounded
from evals.common.records import Record, measure_values
from evals.rag.calibration import calibrate
from evals.rag.scorer import OVERLAP, PAGES
from evals.rag.systems import WITH, WITHOUT

POCKET_NOTE = (
    "The model is pocket, which knows nothing of the world and mostly quotes the manual: "
    "the figures are those of retrieval, citations and refusals, not of a language model."
)


def result_of(rows: Sequence[Record], records: dict[str, list[Record]], model: str) -> dict[str, Any]:
    """The results as one JSON object: both systems' measures with 95 % intervals, and the calibration.

    Args:
        rows: The questions of all manuals.
        records: Each system's records.
        model: The name of the chat model.
    """
    by_id = {row["id"]: row for row in rows}
    questions = [by_id[record["item"]] for record in records[WITH]]
    points = [
        (record["evidence"], row["answerable"], row["kind"])
        for record, row in zip(records[WITH], questions, strict=True)
        if "reason" not in record
    ]
    return {
        "n": len(questions),
        "answerable": sum(row["answerable"] for row in questions),
        "model": model,
        **({"note": POCKET_NOTE} if model == "pocket" else {}),
        "not_answered": {name: sum("reason" in record for record in own) for name, own in records.items()},
        "systems": {name: summary(questions, own) for name, own in records.items()},
        "difference": {name: difference(records, name) for name in OVERLAP},
        "calibration": calibrate(points),
    }


def difference(records: dict[str, list[Record]], measure: str) -> dict[str, Any] | None:
    """A measure with the document less without it, the mean over the same questions with its bootstrap interval."""
    pairs = zip(*(measure_values(own, measure) for own in (records[WITH], records[WITHOUT])), strict=True)
    values = [a - b for a, b in pairs if a is not None and b is not None]
    if not values:
        return None
    mean = stats.mean(values)
    return {"n": mean.n, "value": mean.value, "ci95": None if mean.low is None else [mean.low, mean.high]}


def summary(rows: Sequence[Record], records: Sequence[Record]) -> dict[str, Any]:
    """One system's measures with 95 % intervals: of all rows, and of each kind and manual.

    ``refusal`` has the precision and recall of its refusals against the unanswerable questions.
    """
    by_id = {row["id"]: row for row in rows}
    parts: dict[str, list[Record]] = {"all": list(records)}
    for record in records:
        row = by_id[record["item"]]
        for part in (row["kind"], row["manual"]):
            parts.setdefault(part, []).append(record)
    return {part: _estimates(by_id, own) for part, own in parts.items()}


def _estimates(by_id: dict[str, Record], records: Sequence[Record]) -> dict[str, Any]:
    values = {name: estimate(measure_values(records, name)) for name in (*OVERLAP, *PAGES)}
    refused = [record["measures"]["refused"] == 1.0 for record in records]
    unanswerable = [not by_id[record["item"]]["answerable"] for record in records]
    measures: dict[str, Any] = {"n": len(records), **{name: value for name, value in values.items() if value}}
    measures["refused"] = proportion(sum(refused), len(refused))
    if any(unanswerable):
        measures["refusal"] = precision_recall(refused, unanswerable)
    return measures


def show(result: dict[str, Any]) -> None:
    """Print the report's table 1, then the parts of the system with the document, then the calibration."""
    from rich.console import Console
    from rich.table import Table

    console, systems = Console(), result["systems"]
    title = f"{result['model']}: {result['n']} questions, {result['answerable']} answerable; % (95 %)"
    table = Table("", *systems, title=title, title_justify="left", caption=result.get("note"), caption_justify="left")
    if "judge" in result:
        scores = result["judge"]["answers"]
        table.add_row("answer correctness, judged", *(_judged(scores.get(name)) for name in systems))
    for name in (*OVERLAP, *PAGES):
        table.add_row(name.replace("_", " "), *(percent(parts["all"].get(name)) for parts in systems.values()))
    for name in ("precision", "recall"):
        table.add_row(f"refusal {name}", *(percent(p["all"].get("refusal", {}).get(name)) for p in systems.values()))
    console.print(table)
    for name, n in result["not_answered"].items():
        if n:
            console.print(f"{name}: {n} questions are too long for the model, and count as not answered.")
    parts = systems[WITH]
    table = Table("", *(f"{part}, n={p['n']}" for part, p in parts.items()), title=WITH, title_justify="left")
    for name in (*OVERLAP, *PAGES, "refused"):
        table.add_row(name.replace("_", " "), *(percent(p.get(name)) for p in parts.values()))
    console.print(table)
    if rule := result["calibration"]:
        held_out = rule["held_out"]
        thresholds = " and ".join(f"{half['threshold']:.2f}" for half in rule["halves"])
        console.print(
            f"Refusing by evidence alone: below {rule['threshold']:.2f}; found on one half ({thresholds}) and measured "
            f"on the other: precision {percent(held_out['precision'])} %, recall {percent(held_out['recall'])} %."
        )


def _judged(answer: dict[str, Any] | None) -> str:
    return rounded({"value": answer["mean"], "ci95": answer["ci95"]}) if answer else "unscored"


def draw(result: dict[str, Any], out: Path) -> None:
    """Draw the measures of both systems as bars.

    Raises:
        SettingsError: The chart cannot be written.
    """

    def bars(parts: dict[str, Any]) -> dict[str, Any]:
        known = {name: parts[name] for name in (*OVERLAP, *PAGES) if parts.get(name, {}).get("ci95")}
        return {name.replace("_", "\n"): bar(e) for name, e in known.items()}

    caption = f"{result['model']}: answers with and without the document (report 6.3.2), in %; bars: 95 % intervals."
    draw_bars({name: bars(parts["all"]) for name, parts in result["systems"].items()}, out, caption=caption, axis="%")
