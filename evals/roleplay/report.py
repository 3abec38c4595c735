"""The role-play results for people: tables on the terminal, bars as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evals.chatbot.judge import points
from evals.common.detectors import percent
from evals.roleplay.score import DIMENSIONS


def show(result: dict[str, Any]) -> None:
    """Prints the results as tables, in percent with 95 % intervals."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name, system in result["systems"].items():
        table = Table("%", *DIMENSIONS, title=f"{name}, n={system['n']} conversations", title_justify="left")
        for case, part in system["cases"].items():
            table.add_row(f"{case}, n={part['n']}", *(percent(part.get(dimension)) for dimension in DIMENSIONS))
        console.print(table)
        measures = ", ".join(f"{key} {percent(e)}" for key, e in system["measures"].items() if key != "n")
        recalled = ", ".join(f"after {turns} turns {percent(e)}" for turns, e in system["recall"].items())
        console.print(f"{measures}\nrecall: {recalled or '-'}\n", highlight=False)
    for dimension, cases in result.get("judge", {}).items():
        for name, e in cases["all"]["answers"].items():
            console.print(f"judge, {dimension}: {name} {points(e)}, n={e['n']}", highlight=False)
    quality = result["detectors"]
    rates = (f"{kind} {percent(q['precision'])} / {percent(q['recall'])}" for kind, q in quality.items())
    console.print("detectors, precision / recall on labelled replies: " + ", ".join(rates), highlight=False)


def draw(result: dict[str, Any], out: Path) -> None:
    """Draws the dimensions and the recall of every system as bars.

    Raises:
        SettingsError: the picture cannot be written.
    """
    from evals.figures import bars

    def drawn(system: dict[str, Any]) -> dict[str, Any]:
        shown = {d: e for d, e in system["cases"]["all"].items() if d != "n"}
        shown |= {f"recall@{turns}": e for turns, e in system["recall"].items()}
        return {key: {"n": e["n"], "accuracy": e["value"], "ci95": e["ci95"]} for key, e in shown.items() if e["ci95"]}

    caption = "Role-play, automatic measures, mean over conversations; bars: 95 % intervals."
    bars({name: drawn(system) for name, system in result["systems"].items()}, out, caption=caption, axis="%")
