"""How good a detector is, measured on labelled texts: precision and recall with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evals.common import stats


def quality(found: Sequence[bool], truth: Sequence[bool]) -> dict[str, Any]:
    """Precision and recall of ``found`` against ``truth``, with Wilson intervals; None where nothing can be said."""
    hits = sum(f and t for f, t in zip(found, truth, strict=True))
    return {
        "n": len(truth),
        "positive": sum(truth),
        "found": sum(found),
        "precision": share(hits, sum(found)),
        "recall": share(hits, sum(truth)),
    }


def share(hits: int, n: int) -> dict[str, Any] | None:
    """A share with its interval as JSON; None of no cases."""
    if not n:
        return None
    e = stats.share(hits, n)
    return {"n": n, "value": e.value, "stderr": e.stderr, "ci95": [e.low, e.high]}


def estimate(values: Sequence[float | None]) -> dict[str, Any] | None:
    """The mean of what could be measured, with its interval; None where nothing could.

    Values that are only 0 or 1 get the interval of a share.
    """
    known = [float(value) for value in values if value is not None]
    if not known:
        return None
    if set(known) <= {0.0, 1.0}:
        return share(int(sum(known)), len(known))
    e = stats.mean(known)
    return {"n": e.n, "value": e.value, "stderr": e.stderr, "ci95": None if e.low is None else [e.low, e.high]}


def plain(found: dict[str, Any] | None) -> str:
    """An estimate for a table in its own unit: ``83 (55-95)``."""
    if found is None:
        return "-"
    interval = f" ({found['ci95'][0]:.0f}-{found['ci95'][1]:.0f})" if found["ci95"] else ""
    return f"{found['value']:.0f}{interval}"


def percent(found: dict[str, Any] | None) -> str:
    """An estimate of a share for a table: ``83 (55-95)``, in percent."""
    if found is None:
        return "-"
    scaled = {"value": 100 * found["value"], "ci95": found["ci95"] and [100 * end for end in found["ci95"]]}
    return plain(scaled)
