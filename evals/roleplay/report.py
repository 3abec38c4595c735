"""The results of the role-play evaluation: dimensions and recall with intervals, terminal tables, and the bar chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.common.charts import bar, draw_bars
from evals.common.estimates import estimate, percent
from evals.common.records import Record, measure_values
from evals.judge.report import points
from evals.roleplay.cases import CASES
from evals.roleplay.detectors import detector_quality
from evals.roleplay.scorer import DIMENSIONS

MEASURES = tuple(part for parts in DIMENSIONS.values() for part in parts)


def summary(rows: Sequence[Record], records: dict[str, list[Record]], labels: Path) -> dict[str, Any]:
    """The results as one JSON object: each system's dimensions by case, its measures and its recall by distance.

    Args:
        rows: The conversations' rows.
        records: Each system's records.
        labels: Labelled replies that measure the detectors.

    Raises:
        SourceError: The labels cannot be read.
    """
    case_of = {row["id"]: row["case"] for row in rows}
    systems = {}
    for name, own in records.items():
        parts = {case: [r for r in own if case_of[r["item"]] == case] for case in CASES}
        parts = {case: part for case, part in (*parts.items(), ("all", own)) if part}
        distances = sorted({key for r in own for key in r["measures"] if key.startswith("recall@")}, key=_distance)
        systems[name] = {
            "n": len(own),
            "cases": {case: _estimates(part, tuple(DIMENSIONS)) for case, part in parts.items()},
            "measures": _estimates(own, (*MEASURES, "declined")),
            "recall": {key.removeprefix("recall@"): estimate(measure_values(own, key)) for key in distances},
        }
    return {"n": len(rows), "systems": systems, "detectors": detector_quality(labels)}


def _distance(key: str) -> int:
    return int(key.removeprefix("recall@"))


def _estimates(records: Sequence[Record], names: Sequence[str]) -> dict[str, Any]:
    values = {name: estimate(measure_values(records, name)) for name in names}
    return {"n": len(records)} | {name: value for name, value in values.items() if value}


def show(result: dict[str, Any]) -> None:
    """Print the results as tables, in percent with 95 % intervals."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name, system in result["systems"].items():
        table = Table("%", *DIMENSIONS, title=f"{name}, n={system['n']} conversations", title_justify="left")
        for case, part in system["cases"].items():
            table.add_row(f"{case}, n={part['n']}", *(percent(part.get(dimension)) for dimension in DIMENSIONS))
        console.print(table)
        measures = ", ".join(f"{key} {percent(e)}" for key, e in system["measures"].items() if key != "n")
        recall = ", ".join(f"after {turns} turns {percent(e)}" for turns, e in system["recall"].items())
        console.print(f"{measures}\nrecall: {recall or '-'}\n", highlight=False)
    for dimension, cases in result.get("judge", {}).items():
        for name, e in cases["all"]["answers"].items():
            console.print(f"judge, {dimension}: {name} {points(e)}, n={e['n']}", highlight=False)
    quality = result["detectors"]
    rates = (f"{kind} {percent(q['precision'])} / {percent(q['recall'])}" for kind, q in quality.items())
    console.print("detectors, precision / recall on labelled replies: " + ", ".join(rates), highlight=False)


def draw(result: dict[str, Any], out: Path) -> None:
    """Draw the dimensions and the recall of every system as bars.

    Raises:
        SettingsError: The chart cannot be written.
    """

    def bars(system: dict[str, Any]) -> dict[str, Any]:
        shown = {d: e for d, e in system["cases"]["all"].items() if d != "n"}
        shown |= {f"recall@{turns}": e for turns, e in system["recall"].items()}
        return {key: bar(e) for key, e in shown.items() if e["ci95"]}

    caption = "Role-play, automatic measures, mean over conversations; bars: 95 % intervals."
    draw_bars({name: bars(system) for name, system in result["systems"].items()}, out, caption=caption, axis="%")
