"""Evaluations as commands: shared options, output of the results, error messages and exit codes."""

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

Figure = Annotated[Path | None, typer.Option(help="Chart to write: .png, .svg or .pdf.")]
JudgeModel = Annotated[str | None, typer.Option(help="An LLM that judges the answers too: openai:NAME, a folder, ...")]
JudgeK = Annotated[int, typer.Option(min=1, help="The judge's samples for each order of the answers.")]
JudgeRecords = Annotated[
    Path | None, typer.Option(help="JSONL for the judgements, to resume from; with several parts, a file for each.")
]
Upload = Annotated[bool, typer.Option("--upload", help="Send the dataset and the traced runs to LangSmith.")]
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
    """Write the files of an evaluation, print its result on standard output and the file names on standard error.

    Args:
        result: The result of the evaluation.
        show: Prints the result as tables.
        as_json: Print the result as one line of JSON instead.
        outputs: (path, writer) of each file. The path is None when the user did not ask for the file, the writer is
            None when the file is already written. The stem of several files (``judge.jsonl`` for
            ``judge.basic.jsonl``) represents all of them.
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
