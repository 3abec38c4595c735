"""Results as tables of text, in percent with 95 % intervals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from egosrag.errors import SourceError
from evals.chatbot.questions import TASKS
from evals.common.estimates import percent
from evals.look.files import RunFile
from evals.roleplay.scorer import DIMENSIONS

Row = dict[str, str]


class Table(NamedTuple):
    """Rows of text; the first column names the row."""

    title: str
    rows: list[Row]


def result_tables(file: RunFile, result: Mapping[str, Any]) -> list[Table]:
    """A result as tables: for ``rag`` the report's table 1, for ``roleplay`` systems by dimensions.

    Raises:
        SourceError: The result lacks a field of its kind.
    """
    tables = _TABLES.get(file.kind, _key_values)
    try:
        return [Table(title, rows) for title, rows in tables(result) if rows]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SourceError(f"{file.name} is not a complete result ({error!r}): run evals.{file.kind} again") from error


def _ppl(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    rows = [
        {"": task, "n": str(r["n"]), "accuracy": percent(_accuracy(r)), "rule": str(r.get("rule", ""))}
        for task, r in result.items()
    ]
    yield "accuracy, %", rows


def _accuracy(r: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": float(r["accuracy"]), "ci95": r["ci95"]}


def _rag(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    systems = {name: parts["all"] for name, parts in result["systems"].items()}
    names = [key for key in dict.fromkeys(key for p in systems.values() for key in p) if _is_estimate(systems, key)]
    rows = [{"": name.replace("_", " "), **{s: percent(p.get(name)) for s, p in systems.items()}} for name in names]
    for name in ("precision", "recall"):
        rows.append({"": f"refusal {name}"} | {s: percent(p.get("refusal", {}).get(name)) for s, p in systems.items()})
    if "judge" in result:
        scores = result["judge"]["answers"]
        cells = {s: f"{scores[s]['mean']:.1f} of 100" if s in scores else "-" for s in systems}
        rows.insert(0, {"": "answer correctness, judged", **cells})
    yield f"{result['model']}: {result['n']} questions, {result['answerable']} answerable; %", rows


def _is_estimate(systems: Mapping[str, Any], key: str) -> bool:
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
        [{"": name} | {d: _mean(part["all"]["answers"].get(name)) for d, part in judged.items()} for name in names],
    )


def _mean(answer: Mapping[str, Any] | None) -> str:
    return f"{answer['mean']:.1f}" if answer else "-"


def _chatbot(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    for measure in ("exact", "chrf", "refused_harmful", "refused_benign", "stopped"):
        rows = [
            {"": label, **{task: percent(parts.get(task, {}).get(measure)) for task in (*TASKS, "all")}}
            for label, parts in result["models"].items()
            if any(measure in part for part in parts.values())
        ]
        yield f"{measure.replace('_', ' ')}, %", rows
    rows = [
        {"": label, "task": task, "n": str(e["n"]), "judge": f"{e.get('total', e['mean']):.1f}"}
        for task, part in result.get("judge", {}).items()
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


def _key_values(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    yield "", [{"": str(key), "value": _readable(value)} for key, value in result.items()]


def _readable(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


_TABLES = {"ppl": _ppl, "rag": _rag, "roleplay": _roleplay, "chatbot": _chatbot, "judge": _judge}
