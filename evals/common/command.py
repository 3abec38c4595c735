"""Evaluations as commands: shared options, output of the results, error messages and exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.errors import EgosRagError, SettingsError
from egosrag.parallel import Backend
from evals.common import langsmith
from evals.common.models import check_model
from evals.common.records import check_writable

_FIGURES = (".png", ".svg", ".pdf")


def check_file(path: Path | None) -> Path | None:
    """Check before the work that the file of an option can be written; the callback of such options."""
    if path:
        check_writable(path)
    return path


def _check_figure(path: Path | None) -> Path | None:
    if path and path.suffix.lower() not in _FIGURES:
        raise SettingsError(f"--figure {path} is not a chart that can be written: name a .png, .svg or .pdf file")
    return check_file(path)


def _check_judge(name: str | None) -> str | None:
    if name:
        check_model(name)
    return name


def _check_upload(upload: bool) -> bool:
    if upload:
        langsmith.client()
    return upload


# The callbacks check before the work what would otherwise end it: a run may take hours.
Figure = Annotated[Path | None, typer.Option(help="Chart to write: .png, .svg or .pdf.", callback=_check_figure)]
JudgeModel = Annotated[
    str | None,
    typer.Option(help="An LLM that judges the answers too: openai:NAME, a folder, ...", callback=_check_judge),
]
JudgeK = Annotated[int, typer.Option(min=1, help="The judge's samples for each order of the answers.")]
JudgeRecords = Annotated[
    Path | None,
    typer.Option(
        help="JSONL for the judgements, to resume from; with several parts, a file for each.", callback=check_file
    ),
]
Upload = Annotated[
    bool, typer.Option("--upload", help="Send the dataset and the traced runs to LangSmith.", callback=_check_upload)
]
BackendOption = Annotated[
    Backend, typer.Option(help="Run in this process, or on the Ray cluster of RAY_ADDRESS or of this machine.")
]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Maximum tokens of an answer.")]
Temperature = Annotated[float, typer.Option(min=0, help="Sampling temperature; 0 is greedy.")]
Seed = Annotated[int | None, typer.Option(help="Makes sampling repeatable.")]
Adapter = Annotated[str | None, typer.Option(help="Folder of a PEFT adapter.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]

Result = dict[str, Any]
Write = Callable[[Result, Path], None]


def finish(
    result: Result, show: Callable[[Result], None], as_json: bool, *outputs: tuple[Path | None, Write | None]
) -> None:
    """Print the result of an evaluation on standard output, write its files, and print their names on standard error.

    The result is printed first: it is not lost where a file cannot be written.

    Args:
        result: The result of the evaluation.
        show: Prints the result as tables.
        as_json: Print the result as one line of JSON instead.
        outputs: (path, writer) of each file. The path is None when the user did not ask for the file, the writer is
            None when the file is already written. The stem of several files (``judge.jsonl`` for
            ``judge.basic.jsonl``) represents all of them.
    """
    if as_json:
        print(json.dumps(result, ensure_ascii=False), flush=True)
    else:
        show(result)
    for path, write in outputs:
        if path and write:
            write(result, path)
    for path in filter(None, (path for path, _ in outputs)):
        for file in [path] if path.exists() else sorted(path.parent.glob(f"{path.stem}.*{path.suffix}")):
            print(f"wrote {file}", file=sys.stderr)


def app_of(*commands: Callable[..., Any]) -> typer.Typer:
    """A typer application of the commands; a single command is called without its name."""
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
    """Run the command given in ``sys.argv`` and exit: 0 done, 1 an error (one line says which), 2 wrong usage.

    ``--debug`` anywhere among the arguments shows the traceback of an error.
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
