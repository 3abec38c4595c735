"""Output of the comparisons: JSON or lines on standard output, and the page of results."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

RESULTS = Path(__file__).with_name("RESULTS.md")
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]
Keep = Annotated[bool, typer.Option("--keep", help="Append the results to evals/speed/RESULTS.md.")]


def machine() -> str:
    """The machine and the versions of the libraries, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "langchain-huggingface"))
    return f"{os.cpu_count()} x {_processor()}, {memory:.0f} GiB, Python {platform.python_version()}, {parts}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def finish(name: str, result: dict[str, Any], *, as_json: bool, keep: bool) -> None:
    """Print the result, and append it to RESULTS.md with ``keep``.

    Args:
        name: Of the comparison.
        result: Figures by name, possibly nested.
        as_json: One line of JSON instead of a line each.
        keep: Append the figures to RESULTS.md, with the command, the day and the machine.
    """
    result = {**result, "machine": machine()}
    flat = dict(flatten(result))
    print(json.dumps(result) if as_json else "\n".join(f"{key}: {_readable(value)}" for key, value in flat.items()))
    if keep:
        command = f"python -m evals.speed.{name} {' '.join(a for a in sys.argv[1:] if a not in ('--keep', '--json'))}"
        rows = "\n".join(f"| {key} | {_readable(value)} |" for key, value in flat.items() if key != "machine")
        text = f"\n## {name}, {datetime.now(UTC):%Y-%m-%d}\n\n`{command.strip()}` on {result['machine']}\n\n"
        with RESULTS.open("a", encoding="utf-8") as page:
            page.write(f"{text}| figure | value |\n|---|---|\n{rows}\n")
        print(f"appended to {RESULTS}", file=sys.stderr)


def flatten(result: dict[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """The figures of a nested speed result, each with the names of all levels joined by spaces."""
    for key, value in result.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{name}{key} ")
        else:
            yield f"{name}{key}", value


def _readable(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
