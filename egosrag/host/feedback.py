"""What visitors think of answers: JSON lines that are only ever added to, and LangSmith's feedback too."""

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

_log = logging.getLogger(__name__)
_LOCK = threading.Lock()
Traced = str | Callable[[], tuple[str, str] | None]
_SENDER = ThreadPoolExecutor(1, thread_name_prefix="feedback")


def append(file: Path, row: dict[str, Any]) -> None:
    """Adds a row to a JSONL file, whole or not at all; after half a line that a crash left, it begins a new one.

    Raises:
        StoreError: it cannot be written.
    """
    line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _LOCK, file.open("ab") as out:
            size = out.tell()
            if size and not _ends(file):
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
            f"{file.name} cannot be written ({error.strerror}): free some space, then try again"
        ) from error


def _ends(file: Path) -> bool:
    with file.open("rb") as there:
        there.seek(-1, os.SEEK_END)
        return there.read() == b"\n"


def rate(
    data_dir: Path, visitor: Visitor, about: dict[str, Any], score: float, comment: str = "", run: Traced | None = None
) -> Future[None] | None:
    """Keeps what a visitor thinks of an answer, in ``feedback.jsonl`` of the data folder.

    Args:
        data_dir: the settings' folder of what should stay.
        visitor: who thinks so; only his key is kept.
        about: what was shown to him: the question, the answer, where from.
        score: 1 for a thumb up, 0 for one down.
        comment: his words.
        run: the id of LangSmith's run, or what finds it (its id and its project's) or that there is none; with
            LANGSMITH_API_KEY the run gets the score too, beside the page.

    Returns:
        What is done when LangSmith has it; None where nothing is sent.

    Raises:
        StoreError: it cannot be written.
    """
    at = datetime.now(UTC).isoformat(timespec="seconds")
    row = {"at": at, "visitor": visitor.key, "score": score, "comment": comment, **about}
    append(data_dir / "feedback.jsonl", row)
    if not run or not os.environ.get("LANGSMITH_API_KEY"):
        return None
    return _SENDER.submit(_send, run, score, comment)


def _send(run: Traced, score: float, comment: str) -> None:
    from langsmith import Client
    from langsmith.utils import LangSmithError, get_tracer_project

    client = Client()
    try:
        if isinstance(run, str):
            found: tuple[str, str] | None = (run, str(client.read_project(project_name=get_tracer_project()).id))
        else:
            found = run()
        if found:
            client.create_feedback(found[0], key="thumb", score=score, comment=comment or None, session_id=found[1])
    except (LangSmithError, OSError, ValueError) as error:
        # It is kept in the file: nobody's page has to wait or to fail for it.
        _log.warning("LangSmith did not take a thumb: %s", " ".join(str(error).split())[:200])
