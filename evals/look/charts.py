"""The report's figures 1 and 2 for a web page: bars with 95 % intervals, as a Vega-Lite specification.

:mod:`evals.common.charts` draws the same as picture files; these follow the page's width and colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evals.roleplay.scorer import DIMENSIONS

Point = dict[str, Any]
KINDS = ("ppl", "roleplay", "rag", "chatbot")


def points(kind: str, name: str, result: Mapping[str, Any], task: str | None = None) -> list[Point]:
    """The bars of a result.

    Args:
        kind: The evaluation: ppl, roleplay, rag or chatbot; others have no chart.
        name: The name of a ppl result's model; other results contain the names.
        result: As the command printed it.
        task: Only this task or measure (figure 2); without it all of them (figure 1).

    Returns:
        ``{"who", "what", "value", "low", "high", "n"}`` each: model or system, task or measure, and percent.
    """
    return [
        {"who": who, "what": what, "n": e["n"], "value": 100 * e["value"], "low": 100 * low, "high": 100 * high}
        for who, what, e in _estimates(kind, name, result)
        if e and e.get("ci95") and task in (None, what)
        for low, high in (e["ci95"],)
    ]


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
            for measure in ("rouge1", "rouge2", "bleu", "reference_contained", "page_hit", "citation_precision"):
                yield who, measure, parts["all"].get(measure)
    elif kind == "chatbot":
        for who, parts in result["models"].items():
            for part, e in parts.items():
                yield who, part, e.get("exact")


def bar_chart(bars: Sequence[Point], axis: str) -> dict[str, Any]:
    """A Vega-Lite specification with a group of bars for each task.

    Args:
        bars: Of :func:`points`, of any number of results.
        axis: Title of the y axis.
    """
    tasks = list(dict.fromkeys(bar["what"] for bar in bars))
    who = {"field": "who", "type": "nominal", "sort": None, "title": None}
    across = {"field": "what", "type": "nominal", "sort": tasks, "title": None, "axis": {"labelAngle": 0}}
    tooltip = [
        {"field": "who", "type": "nominal", "title": " "},
        {"field": "what", "type": "nominal", "title": "  "},
        {"field": "n", "type": "quantitative", "title": "n"},
        *({"field": f, "type": "quantitative", "format": ".1f", "title": t} for f, t in _TOOLTIP.items()),
    ]
    shared = {"x": across, "xOffset": who, "tooltip": tooltip}
    high = {"field": "value", "type": "quantitative", "title": axis}
    legend = {"orient": "bottom", "columns": 2, "labelLimit": 240}
    return {
        "data": {"values": list(bars)},
        "layer": [
            {"mark": {"type": "bar"}, "encoding": shared | {"y": high, "color": who | {"legend": legend}}},
            {
                "mark": {"type": "rule", "color": "#8a8a8a"},
                "encoding": shared | {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}},
            },
        ],
    }


_TOOLTIP = {"value": "%", "low": "from", "high": "to"}
