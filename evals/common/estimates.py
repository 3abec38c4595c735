"""Estimates as JSON, ``{"n", "value", "stderr", "ci95"}``, and as the text of a table cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evals.common import stats


def precision_recall(predicted: Sequence[bool], actual: Sequence[bool]) -> dict[str, Any]:
    """Precision and recall of a detector on labelled texts, with Wilson intervals.

    Returns:
        ``{"n", "positive", "found", "precision", "recall"}``: cases, actual and predicted positives, and the two
        estimates, each None when there are no cases for it.
    """
    hits = sum(p and a for p, a in zip(predicted, actual, strict=True))
    return {
        "n": len(actual),
        "positive": sum(actual),
        "found": sum(predicted),
        "precision": proportion(hits, sum(predicted)),
        "recall": proportion(hits, sum(actual)),
    }


def proportion(hits: int, n: int) -> dict[str, Any] | None:
    """The proportion of ``hits`` with its Wilson interval; None without cases."""
    return _as_json(stats.proportion(hits, n)) if n else None


def estimate(values: Sequence[float | None]) -> dict[str, Any] | None:
    """The mean of the values that are not None, with its interval; None when all of them are.

    Values that are only 0 or 1 get the interval of a proportion.
    """
    known = [float(value) for value in values if value is not None]
    if not known:
        return None
    if set(known) <= {0.0, 1.0}:
        return proportion(int(sum(known)), len(known))
    return _as_json(stats.mean(known))


def _as_json(e: stats.Estimate) -> dict[str, Any]:
    return {"n": e.n, "value": e.value, "stderr": e.stderr, "ci95": None if e.low is None else [e.low, e.high]}


def rounded(e: dict[str, Any] | None) -> str:
    """An estimate as a table cell in its own unit: ``83 (55-95)``; ``-`` for None."""
    if e is None:
        return "-"
    interval = f" ({e['ci95'][0]:.0f}-{e['ci95'][1]:.0f})" if e["ci95"] else ""
    return f"{e['value']:.0f}{interval}"


def percent(e: dict[str, Any] | None) -> str:
    """A proportion as a table cell in percent: ``83 (55-95)``; ``-`` for None."""
    if e is None:
        return "-"
    return rounded({"value": 100 * e["value"], "ci95": e["ci95"] and [100 * end for end in e["ci95"]]})
