"""What evaluations left in a folder, for people to look at: results as tables and figures, records as transcripts.

A result is what a command printed with ``--json``; records are what it kept with ``--records`` or ``--predictions``;
answers are rows for ``evals.judge``. Whatever else is in the folder is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.errors import SourceError
from evals.chatbot.data import TASKS
from evals.common.detectors import percent
from evals.common.records import Record
from evals.roleplay.score import DIMENSIONS

MOST = 300  # files that are listed, the newest first
LARGEST = 64 * 2**20  # bytes of one
_DEEPEST = 4  # folders below the one that is looked through

Row = dict[str, str]
Point = dict[str, Any]


_MARKS = {  # what a result of each kind has
    "roleplay": "detectors systems",
    "rag": "calibration systems",
    "chatbot": "models detectors",
    "judge": "answers mode",
    "retrieval": "hit@1 mrr",
    "memory": "any@5 all@5",
    "speed": "ours peers",
}


class Found(NamedTuple):
    """A file of an evaluation: ``kind`` is the evaluation's name, ``form`` result, records or answers."""

    name: str
    path: Path
    kind: str
    form: str


class Table(NamedTuple):
    """Rows of text; the first column names the row."""

    title: str
    rows: list[Row]


def find(folder: Path) -> list[Found]:
    """The files of evaluations in a folder and those below it, the newest first."""
    files = [
        path
        for depth in range(1, _DEEPEST + 1)
        for path in folder.glob("/".join("*" * depth))
        if path.suffix in (".json", ".jsonl") and path.is_file() and path.stat().st_size <= LARGEST
    ]
    newest = sorted(files, key=lambda path: (-path.stat().st_mtime, path))
    found = ((path, _form(path)) for path in newest)
    listed = [Found(str(path.relative_to(folder)), path, *known) for path, known in found if known]
    return listed[:MOST]


def _form(path: Path) -> tuple[str, str] | None:
    """(kind, form) of a file; None where it is of no evaluation."""
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
    """The evaluation that a result is of; "" where it is none."""
    if not isinstance(result, dict) or not result:
        return ""
    if all(isinstance(part, dict) and {"accuracy", "ci95", "n"} <= part.keys() for part in result.values()):
        return "ppl"
    return next((kind for kind, keys in _MARKS.items() if set(keys.split()) <= result.keys()), "")


def read_result(found: Found) -> Record:
    """The result of a file.

    Raises:
        SourceError: it is gone, or no longer a result of its kind.
    """
    try:
        result = json.loads(found.path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{found.name} cannot be read ({error}): run the evaluation again") from error
    if kind_of(result) != found.kind:
        raise SourceError(f"{found.name} is no result of evals.{found.kind} any more: run it again")
    return dict(result)


def tables(found: Found, result: Mapping[str, Any]) -> list[Table]:
    """A result as tables, in percent with 95 % intervals: of ``rag`` the report's table 1, of ``roleplay`` a matrix.

    Raises:
        SourceError: the result has not what its kind has.
    """
    make = _TABLES.get(found.kind, _plain)
    try:
        return [Table(title, rows) for title, rows in make(result) if rows]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SourceError(f"{found.name} is no whole result ({error!r}): run evals.{found.kind} again") from error


def _ppl(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    rows = [
        {"": task, "n": str(r["n"]), "accuracy": percent(_value(r)), "rule": str(r.get("rule", ""))}
        for task, r in result.items()
    ]
    yield "accuracy, %", rows


def _value(r: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": float(r["accuracy"]), "ci95": r["ci95"]}


def _rag(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    systems = {name: parts["all"] for name, parts in result["systems"].items()}
    names = [key for key in dict.fromkeys(key for part in systems.values() for key in part) if _estimate(systems, key)]
    rows = [{"": name.replace("_", " "), **{s: percent(p.get(name)) for s, p in systems.items()}} for name in names]
    for name in ("precision", "recall"):
        rows.append({"": f"refusal {name}"} | {s: percent(p.get("refusal", {}).get(name)) for s, p in systems.items()})
    if "judge" in result:
        scores = result["judge"]["answers"]
        said = {s: f"{scores[s]['mean']:.1f} of 100" if s in scores else "-" for s in systems}
        rows.insert(0, {"": "answer correctness, judged", **said})
    yield f"{result['model']}: {result['n']} questions, {result['answerable']} answerable; %", rows


def _estimate(systems: Mapping[str, Any], key: str) -> bool:
    return any(isinstance(part.get(key), dict) and "value" in part[key] for part in systems.values())


def _roleplay(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    cases = list(dict.fromkeys(case for system in result["systems"].values() for case in system["cases"]))
    for case in [*(c for c in cases if c == "all"), *(c for c in cases if c != "all")]:
        parts = {name: system["cases"].get(case, {}) for name, system in result["systems"].items()}
        yield (
            f"{case}, %",
            [
                {"": name, **{d: percent(part.get(d)) for d in DIMENSIONS}, "n": str(part.get("n", 0))}
                for name, part in parts.items()
            ],
        )
    distances = list(dict.fromkeys(turn for system in result["systems"].values() for turn in system["recall"]))
    rows = [
        {"": name} | {f"after {turn} turns": percent(system["recall"].get(turn)) for turn in distances}
        for name, system in result["systems"].items()
    ]
    yield "recall, %", rows if distances else []
    judged = result.get("judge", {})
    names = list(dict.fromkeys(name for part in judged.values() for name in part["all"]["answers"]))
    yield (
        "judge, of 100",
        [{"": name} | {d: _points(part["all"]["answers"].get(name)) for d, part in judged.items()} for name in names],
    )


def _points(found: Mapping[str, Any] | None) -> str:
    return f"{found['mean']:.1f}" if found else "-"


def _chatbot(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    for measure in ("exact", "chrf", "refused_harmful", "refused_benign", "stopped"):
        rows = [
            {"": label, **{task: percent(parts.get(task, {}).get(measure)) for task in (*TASKS, "all")}}
            for label, parts in result["models"].items()
            if any(measure in part for part in parts.values())
        ]
        yield f"{measure.replace('_', ' ')}, %", rows
    judged = result.get("judge", {})
    rows = [
        {"": label, "task": task, "n": str(e["n"]), "judge": f"{e.get('total', e['mean']):.1f}"}
        for task, part in judged.items()
        for label, e in part["answers"].items()
    ]
    yield "judge", rows


def _judge(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    rows = [
        {"": name, "n": str(e["n"]), "mean": f"{e['mean']:.1f}", "95 %": _interval(e["ci95"])}
        for name, e in result["answers"].items()
    ]
    yield f"{result['mode']}, {result.get('scored', 0)} of {result['n']} scored", rows
    yield (
        "for people to decide",
        [{"": str(row["id"]), "answer": row.get("answer", "")} for row in result.get("people", [])],
    )


def _interval(ci95: Sequence[float] | None) -> str:
    return f"{ci95[0]:.1f} to {ci95[1]:.1f}" if ci95 else "-"


def _plain(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    yield "", [{"": str(key), "value": _short(value)} for key, value in result.items()]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


_TABLES = {"ppl": _ppl, "rag": _rag, "roleplay": _roleplay, "chatbot": _chatbot, "judge": _judge}
