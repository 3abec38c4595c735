"""Evaluations as commands: the options that they share, their end, and what an error looks like."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.errors import EgosRagError
from egosrag.parallel import Backend

Figure = Annotated[Path | None, typer.Option(help="Picture to draw: .png, .svg or .pdf.")]
JudgeModel = Annotated[str | None, typer.Option(help="A model that judges too: openai:NAME, a folder, ...")]
JudgeK = Annotated[int, typer.Option(min=1, help="The judge's explanations for each order.")]
JudgeRecords = Annotated[Path | None, typer.Option(help="JSONL to keep the judgements in; a stem for several parts.")]
Upload = Annotated[bool, typer.Option("--upload", help="Send dataset and runs, traced where they run, to LangSmith.")]
Where = Annotated[
    Backend, typer.Option(help="Work in this process, or on the Ray cluster of RAY_ADDRESS or of this machine.")
]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")]
Temperature = Annotated[float, typer.Option(min=0, help="Spread of sampling.")]
Seed = Annotated[int | None, typer.Option(help="Makes sampling repeatable.")]
Adapter = Annotated[str | None, typer.Option(help="Folder of a PEFT adapter.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]

Result = dict[str, Any]
Write = Callable[[Result, Path], None]


def finish(
    result: Result, show: Callable[[Result], None], as_json: bool, *outputs: tuple[Path | None, Write | None]
) -> None:
    """The end of an evaluation: its files, its result on standard output, and on standard error where the files are.

    Args:
        result: what was measured.
        show: prints it for people.
        as_json: print it as one line of JSON instead.
        outputs: a file each, None where it was not asked for, with what writes it, None where that is done already.
            A stem of several files (``judge.jsonl`` of ``judge.basic.jsonl``) stands for all of them.
    """
    for path, write in outputs:
        if path and write:
            write(result, path)
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        show(result)
    for path in filter(None, (path for path, _ in outputs)):
        for file in [path] if path.exists() else sorted(path.parent.glob(f"{path.stem}.*{path.suffix}")):
            print(f"wrote {file}", file=sys.stderr)


def app_of(*commands: Callable[..., Any]) -> typer.Typer:
    """The commands as one typer application: a single one is called without its name."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in commands:
        app.command()(command)
    return app


def run(*commands: Callable[..., Any]) -> None:
    """Runs the command that the arguments name, and exits: 0 done, 1 it could not be done, 2 wrong usage.

    The traceback of an error is shown with ``--debug`` anywhere among the arguments.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        app_of(*commands)(arguments)
    except EgosRagError as error:
        if debug:
            raise
        print(f"evals: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
