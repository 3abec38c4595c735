"""SQL statements that wait to be executed together: LangGraph writes through a cursor, which collects them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Statement = tuple[str, list[Any]]
"""An SQL statement, with the values of each of its executions."""
_recording = threading.local()  # its ``statements``: where the calls of this thread are collected


class Recorder:
    """A cursor of a database that collects statements instead of executing them."""

    def __init__(self, statements: list[Statement]) -> None:
        self._statements = statements

    def execute(self, query: str, values: Sequence[Any] = ()) -> None:
        """Collects one statement."""
        self._statements.append((query, [values]))

    def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """Collects a statement that is executed for each of the rows."""
        self._statements.append((query, list(rows)))


def recorder() -> Recorder | None:
    """Where the statements of this thread are to be collected; None: they are to be executed."""
    statements = getattr(_recording, "statements", None)
    return None if statements is None else Recorder(statements)


@contextmanager
def collecting(statements: list[Statement]) -> Iterator[None]:
    """Context manager in which the statements of this thread are added to ``statements`` instead of executed."""
    _recording.statements = statements
    try:
        yield
    finally:
        _recording.statements = None
