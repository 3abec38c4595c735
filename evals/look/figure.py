"""The report's figures 1 and 2 for a page: bars with their 95 % intervals, as a Vega-Lite specification.

``evals.figures`` draws the same as a picture; these follow the page's width and colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evals.look.results import Point
from evals.roleplay.score import DIMENSIONS

KINDS = ("ppl", "roleplay", "rag", "chatbot")


def points(kind: str, name: str, result: Mapping[str, Any], task: str | None = None) -> list[Point]:
    """The bars of a result.

    Args:
        kind: the evaluation: ppl, roleplay, rag or chatbot; others have none.
        name: what the model of a ppl result is called; the others name theirs.
        result: as the command printed it.
        task: of that task or measure alone (figure 2); all of them without it (figure 1).

    Returns:
        ``{"who", "what", "value", "low", "high", "n"}`` each, in percent.
    """
    found = [
        {"who": who, "what": what, "n": e["n"], "value": 100 * e["value"], "low": 100 * low, "high": 100 * high}
        for who, what, e in _estimates(kind, name, result)
        if e and e.get("ci95") and task in (None, what)
        for low, high in (e["ci95"],)
    ]
    return found


def _estimates(kind: str, name: str, result: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any] | None]]:
    if kind == "ppl":
        for task, r in result.items():
            yield name, task, {"n": r["n"], "value": r["accuracy"], "ci95": r["ci95"]}
    elif kind == "roleplay":
        for who, system in result["systems"].items():
            for dimension in DIMENSIONS:
                yield who, dimension, system["cases"].get("all", {}).get(dimension)
            for turns, e in system["recall"].items():
                yield who, f"recall@{turns}", e
    elif kind == "rag":
        for who, parts in result["systems"].items():
            for measure in ("rouge1", "rouge2", "bleu", "told", "page_hit", "citation_precision"):
                yield who, measure, parts["all"].get(measure)
    elif kind == "chatbot":
        for who, parts in result["models"].items():
            for part, e in parts.items():
                yield who, part, e.get("exact")


def bars(found: Sequence[Point], axis: str) -> dict[str, Any]:
    """The bars side by side, a group for each task.

    Args:
        found: of :func:`points`, of any number of results.
        axis: what the numbers are.
    """
    tasks = list(dict.fromkeys(point["what"] for point in found))
    who = {"field": "who", "type": "nominal", "sort": None, "title": None}
    across = {"field": "what", "type": "nominal", "sort": tasks, "title": None, "axis": {"labelAngle": 0}}
    told = [
        {"field": "who", "type": "nominal", "title": " "},
        {"field": "what", "type": "nominal", "title": "  "},
        {"field": "n", "type": "quantitative", "title": "n"},
        *({"field": f, "type": "quantitative", "format": ".1f", "title": t} for f, t in _TOLD.items()),
    ]
    shared = {"x": across, "xOffset": who, "tooltip": told}
    high = {"field": "value", "type": "quantitative", "title": axis}
    legend = {"orient": "bottom", "columns": 2, "labelLimit": 240}
    return {
        "data": {"values": list(found)},
        "layer": [
            {"mark": {"type": "bar"}, "encoding": shared | {"y": high, "color": who | {"legend": legend}}},
            {
                "mark": {"type": "rule", "color": "#8a8a8a"},
                "encoding": shared | {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}},
            },
        ],
    }


_TOLD = {"value": "%", "low": "from", "high": "to"}
