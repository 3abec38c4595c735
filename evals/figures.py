"""The report's figures 1 and 2: one bar a model and task, with 95 % intervals as error bars.

    python -m evals.figures Qwen2.5-0.5B=base.json SFT=sft.json --out figure1.png      models x tasks
    python -m evals.figures Normal=n.json Inverse-First=f.json ... --task mmlu --out figure2.png

The files are what ``python -m evals.ppl ... --json`` prints.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.errors import SettingsError, SourceError

RAW = "Raw text, no chat template; bars: 95 % Wilson intervals."


def bars(
    results: Mapping[str, Mapping[str, Mapping[str, Any]]], out: Path, *, caption: str = RAW, axis: str = "accuracy, %"
) -> None:
    """Draws ``results`` (model: task: {"n", "accuracy", "ci95"}) into ``out`` (PNG, SVG or PDF).

    Raises:
        SettingsError: there is nothing to draw.
    """
    from matplotlib.figure import Figure  # without pyplot: no display is looked for

    tasks = list(dict.fromkeys(task for result in results.values() for task in result))
    if not tasks:
        raise SettingsError("there is nothing to draw: none of the results has a task")
    figure = Figure(figsize=(max(4.0, 1.2 + 0.35 * len(tasks) * (len(results) + 1)), 4.2), dpi=150)
    axes = figure.add_subplot()
    width = 0.8 / len(results)
    for n, (model, result) in enumerate(results.items()):
        mine = [(k, result[task]) for k, task in enumerate(tasks) if task in result]
        heights = [100 * r["accuracy"] for _, r in mine]
        errors = [
            [max(0.0, h - 100 * r["ci95"][0]) for h, (_, r) in zip(heights, mine, strict=True)],
            [max(0.0, 100 * r["ci95"][1] - h) for h, (_, r) in zip(heights, mine, strict=True)],
        ]
        at = [k + (n - (len(results) - 1) / 2) * width for k, _ in mine]
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


def read_results(given: Sequence[str], task: str | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """The results of ``NAME=FILE.json`` arguments, of one task where it is given.

    Raises:
        SettingsError: an argument is not NAME=FILE, or no result has the task.
        SourceError: a file cannot be read as results of ``evals.ppl``.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for argument in given:
        name, _, path = argument.partition("=")
        if not name or not path:
            raise SettingsError(f"{argument} is not NAME=FILE.json: give each result a name")
        try:
            result = json.loads(Path(path).read_text(encoding="utf-8"))
            found[name] = {t: r for t, r in result.items() if task in (None, t) and len(r["ci95"]) == 2}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise SourceError(f"{path} is not what evals.ppl --json prints ({error}): run it again") from error
    return found


def _command(
    results: Annotated[
        list[str], typer.Argument(metavar="NAME=FILE.json...", help="A name and a result of each model.")
    ],
    out: Annotated[Path, typer.Option(help="The picture to write: .png, .svg or .pdf.")],
    task: Annotated[str | None, typer.Option(help="Draw this task alone.")] = None,
) -> None:
    """Draw models against tasks as bars with error bars."""
    bars(read_results(results, task), out)
    typer.echo(f"wrote {out}", err=True)


if __name__ == "__main__":
    from evals.common.command import run

    run(_command)
