"""Bar charts of results as picture files: one bar a model and task, with 95 % intervals as error bars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from egosrag.errors import SettingsError

RAW_TEXT = "Raw text, no chat template; bars: 95 % Wilson intervals."


def draw_bars(
    results: Mapping[str, Mapping[str, Mapping[str, Any]]],
    out: Path,
    *,
    caption: str = RAW_TEXT,
    axis: str = "accuracy, %",
) -> None:
    """Draw a group of bars a task, with a bar a model.

    Args:
        results: model: task: ``{"n", "accuracy", "ci95"}``, shares from 0 to 1.
        out: PNG, SVG or PDF.
        caption: Above the bars.
        axis: Label of the y axis.

    Raises:
        SettingsError: No result has a task, or the file cannot be written.
    """
    from matplotlib.figure import Figure  # without pyplot: it would look for a display

    tasks = list(dict.fromkeys(task for result in results.values() for task in result))
    if not tasks:
        raise SettingsError("there is nothing to draw: none of the results has a task")
    figure = Figure(figsize=(max(4.0, 1.2 + 0.35 * len(tasks) * (len(results) + 1)), 4.2), dpi=150)
    axes = figure.add_subplot()
    width = 0.8 / len(results)
    for n, (model, result) in enumerate(results.items()):
        bars = [(k, result[task]) for k, task in enumerate(tasks) if task in result]
        heights = [100 * r["accuracy"] for _, r in bars]
        errors = [
            [max(0.0, h - 100 * r["ci95"][0]) for h, (_, r) in zip(heights, bars, strict=True)],
            [max(0.0, 100 * r["ci95"][1] - h) for h, (_, r) in zip(heights, bars, strict=True)],
        ]
        at = [k + (n - (len(results) - 1) / 2) * width for k, _ in bars]
        drawn = axes.bar(at, heights, width * 0.92, yerr=errors, capsize=2, label=model, error_kw={"lw": 0.8})
        axes.bar_label(drawn, fmt="%.1f", fontsize=6, padding=2)
    counts = {task: next(r[task]["n"] for r in results.values() if task in r) for task in tasks}
    axes.set_xticks(range(len(tasks)), [f"{task}\nn = {counts[task]}" for task in tasks], fontsize=8)
    axes.set_ylabel(axis)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=min(4, len(results)))
    axes.set_title(caption, fontsize=7, loc="left")
    try:
        figure.savefig(out, bbox_inches="tight")
    except (OSError, ValueError) as error:
        raise SettingsError(f"the figure cannot be written to {out}: {error}") from error


def bar(estimate: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON estimate (:mod:`evals.common.estimates`) as :func:`draw_bars` takes it."""
    return {"n": estimate["n"], "accuracy": estimate["value"], "ci95": estimate["ci95"]}
