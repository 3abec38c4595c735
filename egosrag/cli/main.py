"""The entry point of ``egosrag``: the typer app, and errors as one line and an exit code.

Answers go to standard output and everything else to standard error. Exit code 0: done; 1: it could not be done, and one
line says why (the traceback is shown only with ``--debug``); 2: wrong usage; 130: Ctrl-C.
"""

from __future__ import annotations

import gc
import os
import sys

import typer

from egosrag.cli import ask, card, chat, demo, doctor, extract, index, mcp, models, personas, serve, sessions
from egosrag.cli.options import Debug, DebugFlag, examples
from egosrag.errors import EgosRagError

app = typer.Typer(
    help="Role-play characters, and question answering from manuals with page citations, on small local models.",
    epilog="Start with: egosrag demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: it opens three times as fast
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=examples(*demo.EXAMPLES))(demo.demo)
app.command(epilog=examples(*index.EXAMPLES))(index.index)
app.command(epilog=examples(*ask.EXAMPLES))(ask.ask)
app.command(epilog=examples(*extract.EXAMPLES))(extract.extract)
app.command(epilog=examples(*card.EXAMPLES))(card.card)
app.command(epilog=examples(*chat.EXAMPLES))(chat.chat)
app.command(epilog=examples(*serve.EXAMPLES))(serve.serve)
app.command(epilog=examples(*mcp.EXAMPLES))(mcp.mcp)
app.command(epilog=examples(*doctor.EXAMPLES))(doctor.doctor)
app.add_typer(models.app, name="models")
app.add_typer(sessions.app, name="sessions")
app.add_typer(personas.app, name="personas")


@app.callback()
def _root(debug: Debug = False) -> None:
    pass


def main() -> int:
    """Run the command line.

    Returns:
        The exit code.
    """
    gc.set_threshold(100_000, 50)  # imported modules stay: collecting garbage among them took a fifth of the start
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # no progress bars in a log file
    debug = DebugFlag()
    try:
        app(prog_name="egosrag", obj=debug)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BrokenPipeError:
        # The reader of standard output is gone. Python flushes once more at exit: that needs somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if debug.enabled:
            raise
        print(f"egosrag: {' '.join(_message(error).split())}", file=sys.stderr)
        return 1
    return 0


def _message(error: Exception) -> str:
    if isinstance(error, EgosRagError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'the system'}: {error.strerror or error}: check path, rights and disk"
    return f"unexpected {type(error).__name__}: {error} (this is a bug; --debug shows where)"
