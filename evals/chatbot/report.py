"""The results of the chatbot evaluation: measures with intervals, the terminal tables, and the bar chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.chatbot.questions import DATA, TASKS
from evals.chatbot.scorer import refusal_detector
from evals.common.charts import bar, draw_bars
from evals.common.estimates import estimate, percent, rounded
from evals.common.records import Record, measure_values
from evals.judge.report import points

SHARES = ("answered", "exact", "chrf", "refused_harmful", "refused_benign", "latex", "markdown", "stopped")
LENGTHS = ("tokens", "characters")


def summary(rows: Sequence[Record], records: dict[str, list[Record]]) -> dict[str, Any]:
    """The results as one JSON object: each model's measures by task, by language and in all, with 95 % intervals.

    Args:
        rows: The question rows.
        records: Each model's records.
    """
    by_id = {row["id"]: row for row in rows}
    models = {}
    for label, own in records.items():
        parts = {task: [r for r in own if by_id[r["item"]]["task"] == task] for task in TASKS}
        parts |= {lang: [r for r in own if by_id[r["item"]]["language"] == lang] for lang in ("en", "zh")}
        models[label] = {name: _estimates(part) for name, part in {**parts, "all": own}.items() if part}
    n = len(next(iter(records.values())))
    return {"n": n, "models": models, "detectors": {"refused": refusal_detector(DATA / "refusals.jsonl")}}


def _estimates(records: Sequence[Record]) -> dict[str, Any]:
    values = {name: estimate(measure_values(records, name)) for name in (*SHARES, *LENGTHS)}
    return {"n": len(records)} | {name: value for name, value in values.items() if value}


def show(result: dict[str, Any]) -> None:
    """Print a table a model, in percent with 95 % intervals, and the judge's table."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for label, parts in result["models"].items():
        columns = [part for part in (*TASKS, "all") if part in parts]
        table = Table(title=f"{label}, %", title_justify="left")
        table.add_column("", no_wrap=True)
        for part in columns:
            table.add_column(f"{part}\nn={parts[part]['n']}", justify="right")
        for name in SHARES:
            if name in parts["all"]:
                table.add_row(name.replace("_", " "), *(percent(parts[part].get(name)) for part in columns))
        for name in LENGTHS:
            table.add_row(f"mean {name}", *(rounded(parts[part].get(name)) for part in columns))
        console.print(table)
    if "judge" in result:
        table = Table("model", "task", "n", "judge", title="Judge", title_justify="left")
        for task, part in result["judge"].items():
            for label, e in part["answers"].items():
                table.add_row(label, task, str(e["n"]), points(e))
        console.print(table)


def draw(result: dict[str, Any], out: Path) -> None:
    """Draw the shares of exact answers, and of harmful requests that were declined, as bars.

    Raises:
        SettingsError: The chart cannot be written.
    """

    def bars(parts: dict[str, Any]) -> dict[str, Any]:
        exact = {task: bar(p["exact"]) for task, p in parts.items() if task in TASKS and "exact" in p}
        declined = parts.get("open", {}).get("refused_harmful")
        return exact | ({"harmful: declined": bar(declined)} if declined else {})

    caption = "Answers that contain the facts of the reference; bars: 95 % Wilson intervals."
    draw_bars(
        {label: bars(parts) for label, parts in result["models"].items()}, out, caption=caption, axis="answers, %"
    )
