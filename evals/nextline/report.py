"""The result: nats a character under each system, and the paired difference from the base with its interval."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from evals.common import stats
from evals.common.records import Record
from evals.nextline.systems import BASE, CARDLESS


def summary(results: Mapping[str, Mapping[str, Record]], no_profile: Collection[str] = ()) -> dict[str, Any]:
    """The result of each system, on the lines that it and the base have records of.

    Args:
        results: The records by system and line.
        no_profile: Lines of roles without a profile. No system has a card there: they do not count for those that
            leave it out, whose difference would be that of other lines diluted by zeros.

    Returns:
        SYSTEM: ``n`` lines; ``nats_per_char``, all nats of the lines and their ends over all characters;
        ``difference`` from the base, the mean over lines of the nats a character (positive: less likely than under the
        base); ``ci95`` of it, by a bootstrap over lines; ``worse``, the number of lines less likely than under the
        base; ``base``, the base's nats_per_char on the same lines. A system without lines has ``n`` 0 alone.
    """
    base = results[BASE]
    found: dict[str, Any] = {}
    for name, records in results.items():
        items = [item for item in records if item in base and not (name in CARDLESS and item in no_profile)]
        if not items:
            found[name] = {"n": 0}
            continue
        differences = [_per_char(records[i]) - _per_char(base[i]) for i in items]
        mean = stats.mean(differences)
        found[name] = {
            "n": len(items),
            "nats_per_char": round(_total([records[i] for i in items]), 4),
            "difference": round(mean.value, 4),
            "ci95": None if mean.low is None or mean.high is None else [round(mean.low, 4), round(mean.high, 4)],
            "worse": sum(d > 0 for d in differences),
            "base": round(_total([base[i] for i in items]), 4),
        }
    return found


def _per_char(record: Record) -> float:
    return float(record["nats"]) / int(record["characters"])


def _total(records: Sequence[Record]) -> float:
    return sum(float(r["nats"]) for r in records) / sum(int(r["characters"]) for r in records)


def show(model: str, result: dict[str, Any]) -> None:
    """Print the table."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"The true next line under {model} (lower is likelier)", box=SIMPLE_HEAD)
    for head in ("prompt", "n", "nats a character", f"against {BASE} (95 %)", "less likely in"):
        table.add_column(head, justify="left" if head == "prompt" else "right")
    for name, r in result.items():
        if not r["n"]:
            table.add_row(name, "0", "-", "-", "-")
            continue
        interval = f" ({r['ci95'][0]:+.3f} to {r['ci95'][1]:+.3f})" if r["ci95"] else ""
        against = "" if name == BASE else f"{r['difference']:+.3f}{interval}"
        worse = "" if name == BASE else f"{r['worse']} of {r['n']}"
        table.add_row(name, str(r["n"]), f"{r['nats_per_char']:.3f}", against, worse)
    Console().print(table)
