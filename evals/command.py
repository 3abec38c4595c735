"""Runs an evaluation as a command: exit 0 done, 1 it could not be done (one line says why), 2 wrong usage."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from egosrag.errors import EgosRagError


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
    """Runs the command that the arguments name, and exits.

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
