"""Ratings of answers by visitors: rows appended to a JSONL file, and sent to LangSmith where a key is set."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from egosrag.errors import StoreError
from egosrag.host.visitors import Visitor

TraceRef = str | Callable[[], tuple[str, str] | None]
"""A LangSmith run: its id, or a function that finds (run id, project id), or None where there is no such run."""

_log = logging.getLogger(__name__)
_FILE_LOCK = threading.Lock()
_SENDER = ThreadPoolExecutor(1, thread_name_prefix="feedback")


def append_row(file: Path, row: dict[str, Any]) -> None:
    """Append a row to a JSONL file, as a whole or not at all.

    After an incomplete last line, which a crash left, the row begins on a new line.

    Raises:
        StoreError: the file cannot be written.
    """
    line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _FILE_LOCK, file.open("ab") as out:
            size = out.tell()
            if size and not _ends_with_newline(file):
                line = b"\n" + line
            try:
                out.write(line)
                out.flush()
                os.fsync(out.fileno())
            except OSError:
                os.truncate(file, size)
                raise
    except OSError as error:
        raise StoreError(
            f"{file.name} cannot be written ({error.strerror}): make space or permit it, then try again"
        ) from error


def _ends_with_newline(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() == b"\n"


def rate(
    data_dir: Path,
    visitor: Visitor,
    about: dict[str, Any],
    score: float,
    comment: str = "",
    run: TraceRef | None = None,
) -> Future[None] | None:
    """Store a visitor's rating of an answer in ``feedback.jsonl`` of the data folder.

    Args:
        data_dir: the data folder of the settings.
        visitor: who rates; only their key is stored.
        about: what was rated: question, answer, citations.
        score: 1 for thumbs up, 0 for thumbs down.
        comment: in the visitor's words.
        run: the LangSmith run of the answer. Where ``LANGSMITH_API_KEY`` is set, the score is sent to it in the
            background.

    Returns:
        A future that is done when LangSmith has the score; None where nothing is sent.

    Raises:
        StoreError: the file cannot be written.
    """
    at = datetime.now(UTC).isoformat(timespec="seconds")
    row = {"at": at, "visitor": visitor.key, "score": score, "comment": comment, **about}
    append_row(data_dir / "feedback.jsonl", row)
    if not run or not os.environ.get("LANGSMITH_API_KEY"):
        return None
    return _SENDER.submit(_send, run, score, comment)


def _send(run: TraceRef, score: float, comment: str) -> None:
    from langsmith import Client
    from langsmith.utils import LangSmithError, get_tracer_project

    client = Client()
    try:
        if isinstance(run, str):
            ids: tuple[str, str] | None = (run, str(client.read_project(project_name=get_tracer_project()).id))
        else:
            ids = run()
        if ids:
            client.create_feedback(ids[0], key="thumb", score=score, comment=comment or None, session_id=ids[1])
    except (LangSmithError, OSError, ValueError) as error:
        # The rating is in the file: no page has to wait or fail for LangSmith.
        _log.warning("LangSmith did not accept a rating: %s", " ".join(str(error).split())[:200])
