"""Start-up time: the import, the help, and the first words of ``egosrag chat`` with pocket.

    python -m evals.speed.start --json

Every time is that of a fresh process, from its start to its end, or to the first byte on its standard output: the
median of ``--rows`` runs, and the first run separately, whose files may not be in the page cache. Processor seconds,
which other work on the machine hardly changes, are the mean of whole processes. The peer of ``chat`` is the same
checkpoint and line through HuggingFacePipeline.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from egosrag.errors import EgosRagError
from evals.speed.results import Json, Keep, finish

LINE = "Who are you?"
_CLI = "import sys; from egosrag.cli.main import main; sys.exit(main())"


def seconds(command: Sequence[str], line: str = "") -> float:
    """The time from the start of a process to the first byte of its output, or to its end without any.

    Args:
        command: The program and its arguments.
        line: Its standard input.

    Raises:
        EgosRagError: It failed.
    """
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        with subprocess.Popen(command, bufsize=0, **pipes) as process:  # type: ignore[call-overload]
            process.stdin.write(f"{line}\n".encode())
            process.stdin.close()
            process.stdout.read(1)
            took = time.perf_counter() - start
            process.stdout.read()
        if process.returncode:
            errors.seek(0)
            message = errors.read().decode("utf-8", "replace").strip() or "no message"
            raise EgosRagError(f"{' '.join(command[:4])} failed ({process.returncode}): {message.splitlines()[-1]}")
    return took


def commands(folder: Path, model: str) -> dict[str, tuple[list[str], str]]:
    """(command, standard input) of everything that is timed, by its name in the results.

    Args:
        folder: For the sessions of ``chat``, so that each one is new.
        model: As ``egosrag chat --model`` takes it.
    """
    role = str(files("egosrag") / "data" / "samples" / "edda.en.json")
    store = str(folder / "sessions.db")
    chat = ["chat", "--role", role, "--store", store, "--model", model]
    return {
        "import_s": ([sys.executable, "-c", "import egosrag"], ""),
        "help_s": ([sys.executable, "-c", _CLI, "--help"], ""),
        "chat_first_token_s": ([sys.executable, "-c", _CLI, *chat], LINE),
    }


def measure(rows: int, model: str = "pocket", peer: bool = True) -> dict[str, Any]:
    """Time both sides.

    Args:
        rows: Processes of each kind.
        model: The model of ``chat``.
        peer: Time the peer too.

    Returns:
        ``{"ours", "peers", "ratio"}``; the ratio is the peer's median to ours, over 1 when ours is ahead.
    """
    ours: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (command, line) in commands(Path(folder), model).items():
            before = _processor_s()
            took = [seconds(command, line) for _ in range(rows)]
            ours |= {name: round(median(took), 3), f"{name} of the first run": round(took[0], 3)}
            ours[f"{name} of the processor"] = round((_processor_s() - before) / rows, 3)
            print(f"{name}: {ours[name]} s", file=sys.stderr, flush=True)
    result: dict[str, Any] = {"ours": ours, "peers": {}}
    if peer:
        plain = [sys.executable, "-m", "evals.speed.start_peer", str(files("egosrag") / "data" / "pocket")]
        theirs = median(seconds(plain, LINE) for _ in range(rows))
        result["peers"]["HuggingFacePipeline"] = {"chat_first_token_s": round(theirs, 3)}
        result["ratio"] = round(theirs / ours["chat_first_token_s"], 2)
    return result


def _processor_s() -> float:
    """Processor time of all ended child processes, user and system."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def command(
    rows: Annotated[int, typer.Option(min=1, help="Processes of each kind.")] = 5,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Measure how soon the program answers after its start."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # on both sides: no requests to the hub
    finish("start", measure(rows), as_json=as_json, keep=keep)


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
