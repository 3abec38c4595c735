"""Draw the report's figures 1 and 2: one bar a model and task, with 95 % intervals as error bars.

    python -m evals.figures Qwen2.5-0.5B=base.json SFT=sft.json --out figure1.png      models x tasks
    python -m evals.figures Normal=n.json Inverse-First=f.json ... --task mmlu --out figure2.png

The files are what ``python -m evals.ppl ... --json`` prints.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.errors import SettingsError, SourceError
from evals.common.charts import draw_bars


def read_results(arguments: Sequence[str], task: str | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """The results of ``NAME=FILE.json`` arguments by name, of one task or (None) of all.

    Raises:
        SettingsError: An argument is not NAME=FILE.
        SourceError: A file is not a result of ``evals.ppl``.
    """
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for argument in arguments:
        name, _, path = argument.partition("=")
        if not name or not path:
            raise SettingsError(f"{argument} is not NAME=FILE.json: give each result a name")
        try:
            result = json.loads(Path(path).read_text(encoding="utf-8"))
            results[name] = {t: r for t, r in result.items() if task in (None, t) and len(r["ci95"]) == 2}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise SourceError(f"{path} is not what evals.ppl --json prints ({error}): run it again") from error
    return results


def command(
    results: Annotated[
        list[str], typer.Argument(metavar="NAME=FILE.json...", help="A name and a result file of each model.")
    ],
    out: Annotated[Path, typer.Option(help="The chart to write: .png, .svg or .pdf.")],
    task: Annotated[str | None, typer.Option(help="Draw only this task.")] = None,
) -> None:
    """Draw models against tasks as bars with error bars."""
    draw_bars(read_results(results, task), out)
    typer.echo(f"wrote {out}", err=True)


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
