"""Files that evaluations left in a folder: results, records and answers to judge.

A result is what a command printed with ``--json``; records are what it wrote with ``--records`` or ``--predictions``;
answers are rows for ``evals.judge``. Other files in the folder are ignored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.errors import SourceError
from evals.common.records import Record

MAX_FILES = 300  # listed files, the newest first
MAX_BYTES = 64 * 2**20  # of a listed file
_MAX_DEPTH = 4  # levels of folders that are searched

_RESULT_KEYS = {  # keys that identify a result, by its evaluation
    "roleplay": "detectors systems",
    "rag": "calibration systems",
    "chatbot": "models detectors",
    "judge": "answers mode",
    "retrieval": "hit@1 mrr",
    "memory": "any@5 all@5",
    "speed": "ours peers",
}


class RunFile(NamedTuple):
    """A file of an evaluation.

    Attributes:
        name: Its path below the folder.
        path: The file.
        kind: The evaluation's name.
        form: ``result``, ``records`` or ``answers``.
    """

    name: str
    path: Path
    kind: str
    form: str


def find_files(folder: Path) -> list[RunFile]:
    """The evaluation files in a folder and its subfolders, the newest first."""
    files = [
        path
        for depth in range(1, _MAX_DEPTH + 1)
        for path in folder.glob("/".join("*" * depth))
        if path.suffix in (".json", ".jsonl") and path.is_file() and path.stat().st_size <= MAX_BYTES
    ]
    newest = sorted(files, key=lambda path: (-path.stat().st_mtime, path))
    known = ((path, _kind_and_form(path)) for path in newest)
    return [RunFile(str(path.relative_to(folder)), path, *kind) for path, kind in known if kind][:MAX_FILES]


def _kind_and_form(path: Path) -> tuple[str, str] | None:
    """(kind, form) of a file; None when it is not of an evaluation."""
    try:
        if path.suffix == ".json":
            kind = kind_of(json.loads(path.read_text(encoding="utf-8")))
            return (kind, "result") if kind else None
        with path.open(encoding="utf-8") as lines:
            first = json.loads(lines.readline(2**20) or "null")
    except (OSError, ValueError):
        return None
    if not isinstance(first, dict):
        return None
    run = first.get("run")
    if isinstance(run, dict):
        kind = run.get("evaluation") or ("judge" if "mode" in run else "ppl" if "prompts" in run else "")
        return (str(kind), "records") if kind else None
    answers = "question" in first and (isinstance(first.get("answers"), dict) or isinstance(first.get("answer"), str))
    return ("judge", "answers") if answers else None


def kind_of(result: Any) -> str:
    """The evaluation that printed a result; "" when it is not a result."""
    if not isinstance(result, dict) or not result:
        return ""
    if all(isinstance(part, dict) and {"accuracy", "ci95", "n"} <= part.keys() for part in result.values()):
        return "ppl"
    return next((kind for kind, keys in _RESULT_KEYS.items() if set(keys.split()) <= result.keys()), "")


def read_result(file: RunFile) -> Record:
    """The result in a file.

    Raises:
        SourceError: The file is gone, or no longer a result of its kind.
    """
    try:
        result = json.loads(file.path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{file.name} cannot be read ({error}): run the evaluation again") from error
    if kind_of(result) != file.kind:
        raise SourceError(f"{file.name} is no longer a result of evals.{file.kind}: run it again")
    return dict(result)


def read_records(file: RunFile) -> list[Record]:
    """The records in a file; a last line that is still being written is skipped.

    Raises:
        SourceError: The file is gone or damaged.
    """
    try:
        content = file.path.read_bytes()
        rows = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].split(b"\n") if line.strip()]
        return [row for row in rows if "key" in row]
    except (OSError, ValueError, TypeError) as error:
        raise SourceError(f"{file.name} cannot be read ({error}): run the evaluation again") from error
