"""Run the report from its data to its last figure, and write one HTML page with the original beside it.

    python -m evals.reproduce --config mini     (offline, minutes: pocket in place of every model)
    python -m evals.reproduce --config small    (a 0.5B model and some hundred rows, hours on two cores)
    python -m evals.reproduce --config full     (the real models and data; prints its costs first)

A stage is a list of commands of finetune and evals, as a person would type them. Finished stages are recorded: an
interrupted run resumes with the first unfinished command, and a stage whose commands changed is run again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from evals.reproduce.page import write
from evals.reproduce.stages import Plan, Stage, costs, load_plan, run_stage


def command(
    config: Annotated[str, typer.Option(help="mini, small, full, or a YAML file of stages.")] = "mini",
    out: Annotated[
        Path | None, typer.Option(help="Folder of all results.", show_default="runs/reproduce-CONFIG")
    ] = None,
    stage: Annotated[list[str] | None, typer.Option(help="Run only this stage; repeatable.")] = None,
    words: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=TEXT", help="An abbreviation of the plan; repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before stages that cost hours.")] = False,
) -> None:
    """Reproduce the report, stage by stage, and write one page of results."""
    plan = load_plan(config, out, words or ())
    chosen = plan.select(stage or [])
    print(costs(chosen), file=sys.stderr)
    if any(each.needs.get(hours) for each in chosen for hours in ("gpu_hours", "cpu_hours")) and not yes:
        typer.confirm("Continue?", abort=True, err=True)
    for number, each in enumerate(chosen, 1):
        _run(plan, each, f"[{number}/{len(chosen)}] {each.name}: {each.title}")
    page = write(plan)
    print(f"report: {page}", file=sys.stderr)
    print(page)


def _run(plan: Plan, stage: Stage, title: str) -> None:
    if plan.done(stage):
        print(f"{title} (done before)", file=sys.stderr)
        return
    print(title, file=sys.stderr, flush=True)
    run_stage(plan, stage)
