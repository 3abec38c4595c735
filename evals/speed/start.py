"""Start-up time: the import, the help, and the first words of ``egosrag chat`` with pocket or a GGUF file.

    python -m evals.speed.start --json
    python -m evals.speed.start --model FILE.gguf --json

Every time is that of a fresh process, from its start to its end, or to the first byte on its standard output: the
median of ``--rows`` runs, and the first run separately, whose files may not be in the page cache. Processor seconds,
which other work on the machine hardly changes, are the mean of whole processes. The peer of ``chat`` is the same
checkpoint and line through HuggingFacePipeline; of a GGUF file, llama.cpp alone with the same prompt. A GGUF model is
started without what earlier processes have read (``prompt_cache_mb=0``) and with it.
"""

from __future__ import annotations

import json
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

from egosrag import Settings, assemble
from egosrag.errors import EgosRagError
from egosrag.models.catalogue import resolve
from evals.speed.results import Json, Keep, finish

LINE = "Who are you?"
GREETING = "Good evening."  # to a real model: an answer to a question of fact is checked before it is shown
_ROLE = str(files("egosrag") / "data" / "samples" / "edda.en.json")
_ROLES = {"system": "system", "human": "user", "ai": "assistant"}
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
    store = str(folder / "sessions.db")
    chat = [sys.executable, "-c", _CLI, "chat", "--role", _ROLE, "--store", store, "--model", model]
    saved = ["--set", f"cache_dir={folder}"]
    found = {
        "import_s": ([sys.executable, "-c", "import egosrag"], ""),
        "help_s": ([sys.executable, "-c", _CLI, "--help"], ""),
        "chat_first_token_s": ([*chat, "--set", "prompt_cache_mb=0"], GREETING if is_gguf(model) else LINE),
    }
    return {**found, "chat_again_first_token_s": ([*chat, *saved], GREETING)} if is_gguf(model) else found


def is_gguf(model: str) -> bool:
    """Whether a model is run by llama.cpp."""
    return resolve(model).lower().endswith(".gguf")


def peer_of(folder: Path, model: str) -> tuple[str, list[str]]:
    """The name and the command of the peer.

    Args:
        folder: For the prompt, where the peer gets ours.
        model: As ``egosrag chat --model`` takes it.
    """
    plain = [sys.executable, "-m", "evals.speed.start_peer"]
    if not is_gguf(model):
        return "HuggingFacePipeline", [*plain, model if model != "pocket" else str(files("egosrag") / "data/pocket")]
    prompt = folder / "prompt.json"
    with assemble.conversation(Settings(model=model, store=str(folder / "peer.db"), max_new_tokens=1), _ROLE) as talk:
        talk.say(GREETING)
        assert talk.composed
        messages = [{"role": _ROLES[m.type], "content": str(m.text)} for m in talk.composed.messages]
    prompt.write_text(json.dumps(messages), encoding="utf-8")
    return "llama.cpp alone", [*plain, resolve(model), str(prompt)]


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
    result: dict[str, Any] = {"ours": ours, "peers": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, (command, line) in commands(Path(folder), model).items():
            before = _processor_s()
            took = [seconds(command, line) for _ in range(rows)]
            ours |= {name: round(median(took), 3), f"{name} of the first run": round(took[0], 3)}
            ours[f"{name} of the processor"] = round((_processor_s() - before) / rows, 3)
            print(f"{name}: {ours[name]} s", file=sys.stderr, flush=True)
        if peer:
            name, plain = peer_of(Path(folder), model)
            theirs = median(seconds(plain, LINE) for _ in range(rows))
            result["peers"][name] = {"chat_first_token_s": round(theirs, 3)}
            result["ratio"] = round(theirs / ours["chat_first_token_s"], 2)
            if again := ours.get("chat_again_first_token_s"):
                result["ratio again"] = round(theirs / again, 2)
    return result


def _processor_s() -> float:
    """Processor time of all ended child processes, user and system."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def command(
    rows: Annotated[int, typer.Option(min=1, help="Processes of each kind.")] = 5,
    model: Annotated[str, typer.Option(help="The model of chat: pocket, or a GGUF file or its name.")] = "pocket",
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Measure how soon the program answers after its start."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # on both sides: no requests to the hub
    finish("start", measure(rows, model), as_json=as_json, keep=keep)


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
