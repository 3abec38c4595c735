"""Runs the report from its data to its last figure, and writes one HTML page with the original beside it.

    python -m evals.reproduce --config mini     (offline, minutes: pocket stands for every model)
    python -m evals.reproduce --config full     (the real models and data; says first what it costs)

A stage is a list of commands of finetune and evals, as a person would type them. What it is done with is kept: a run
that was stopped goes on with the first stage that is not done, and a stage whose commands changed is run anew.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from evals.reproduce.page import write
from evals.reproduce.stages import Plan, Stage, costs, load_plan, run_stage


def _command(
    config: Annotated[str, typer.Option(help="mini, full, or a YAML file of stages.")] = "mini",
    out: Annotated[
        Path | None, typer.Option(help="Folder of all results.", show_default="runs/reproduce-CONFIG")
    ] = None,
    stage: Annotated[list[str] | None, typer.Option(help="Run this stage alone; repeatable.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before stages that cost hours.")] = False,
) -> None:
    """Reproduce the report, stage by stage, and write one page of results."""
    plan = load_plan(config, out)
    chosen = plan.chosen(stage or [])
    print(costs(chosen), file=sys.stderr)
    if any(each.needs.get("gpu_hours") for each in chosen) and not yes:
        typer.confirm("Go on?", abort=True, err=True)
    for number, each in enumerate(chosen, 1):
        _tell(plan, each, number, len(chosen))
    page = write(plan)
    print(f"report: {page}", file=sys.stderr)
    print(page)


def _tell(plan: Plan, stage: Stage, number: int, of: int) -> None:
    head = f"[{number}/{of}] {stage.name}: {stage.title}"
    if plan.done(stage):
        print(f"{head} (done before)", file=sys.stderr)
        return
    print(head, file=sys.stderr, flush=True)
    run_stage(plan, stage)


if __name__ == "__main__":
    from evals.common.command import run

    run(_command)
