"""Console input and output: progress on standard error, lines of standard input, JSON lines on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from egosrag.errors import SourceError

_PROGRESS_INTERVAL_S = 5.0  # between progress lines where standard error is not a terminal


class Reporter:
    """Receives the progress of a long step. This base class ignores it."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` parts of the step ``what`` are done."""

    def note(self, text: str) -> None:
        """Report a message."""


class Progress(Reporter):
    """Shows progress on standard error: a bar on a terminal, elsewhere a line at a step's end and every few seconds."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._printed_at = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
            self._bar = Bar(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` parts of the step ``what`` are done."""
        if self._bar:
            if what not in self._tasks:
                self._tasks[what] = self._bar.add_task(what, total=total)
            self._bar.update(self._tasks[what], completed=done, total=total)
        elif done == total or time.monotonic() - self._printed_at > _PROGRESS_INTERVAL_S:
            self._printed_at = time.monotonic()
            print(f"{what}: {done}/{total}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Print a message on a line of its own."""
        if self._bar:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)


def stdin_lines() -> Iterator[str]:
    """The lines of standard input as they arrive, without line ends.

    Raises:
        SourceError: the input is not UTF-8.
    """
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise SourceError(f"line {number} of standard input is not UTF-8: convert it first") from error
        yield text.rstrip("\r\n")


def print_json(value: Any) -> None:
    """Print a line of JSON on standard output and flush it."""
    print(json.dumps(value, ensure_ascii=False), flush=True)
