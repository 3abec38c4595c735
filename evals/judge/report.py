"""The results of a run of the judge: scores, outcomes and points with intervals, and what people should check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evals.common import stats
from evals.judge.asking import Result
from evals.judge.cases import TIE, Case
from evals.judge.verdict import LOSE, WIN, most_doubtful

PEOPLE_SHARE = 0.2  # the most doubtful share of the rows, which people should decide


def report(mode: str, results: Sequence[Result], people_share: float = PEOPLE_SHARE) -> dict[str, Any]:
    """The results of a run as one JSON object.

    ``answers`` has for each name: in mode ``score`` and ``pair`` the mean of its 0 to 100 scores, in ``rank`` of its
    points. ``lead`` is the position bias in points, ``conflict_rate`` how often the two orders disagree, ``people``
    the share of rows that a person should decide: the unscored and the most doubtful ones.

    Args:
        mode: ``score``, ``pair`` or ``rank``.
        results: Of :func:`evals.judge.asking.judge_cases`.
        people_share: Share of the rows for people.
    """
    result: dict[str, Any] = {"mode": mode, "n": len(results), "scored": sum(j.scores is not None for *_, j in results)}
    result["unscored"] = [_reference(name, case) | {"reason": j.reason} for name, case, j in results if not j.scores]
    values: dict[str, dict[str, float]] = {}
    for name, case, j in results:
        for n, score in enumerate(j.scores or ()):
            values.setdefault(name or list(case.answers)[n], {})[case.id] = score
    result["answers"] = {name: _estimate(scores.values()) for name, scores in values.items()}
    if mode == "rank":
        for name, scores in values.items():
            result["answers"][name]["total"] = sum(scores.values())
    elif len(values) == 2:
        first, second = values.values()
        both = [first[i] - second[i] for i in first if i in second]
        result["difference"] = {"of": list(values), **_estimate(both)} if both else None
    if mode == "pair":
        result["outcomes"] = dict(Counter(winner(case, j.outcome) for _, case, j in results if j.outcome))
    conflicts = [j.conflict for *_, j in results if j.conflict is not None]
    if conflicts:
        result["conflict_rate"] = _share(sum(conflicts), len(conflicts))
    leads = [j.lead for *_, j in results if j.lead is not None]
    result["lead"] = _estimate(leads) if leads else None
    doubtful = most_doubtful([j.doubt for *_, j in results], people_share)
    result["people"] = [
        _reference(results[n].name, results[n].case) | {"doubt": results[n].judgement.doubt} for n in doubtful
    ]
    result["people_share"] = len(doubtful) / len(results)
    return result


def _reference(name: str, case: Case) -> dict[str, Any]:
    return {"id": case.id} | ({"answer": name} if name else {})


def _estimate(values: Iterable[float]) -> dict[str, Any]:
    e = stats.mean(list(values))
    return {"n": e.n, "mean": e.value, "stderr": e.stderr, "ci95": None if e.low is None else [e.low, e.high]}


def _share(hits: int, n: int) -> dict[str, Any]:
    e = stats.proportion(hits, n)
    return {"n": n, "share": e.value, "ci95": [e.low, e.high]}


def winner(case: Case, outcome: str) -> str:
    """The name of the answer that an outcome favours, or "tie"."""
    first, second = case.answers
    return {WIN: first, TIE: TIE, LOSE: second}[outcome]


def points(answer: Mapping[str, Any]) -> str:
    """An entry of a report's ``answers`` as text: ``83.0 of 100 (70-95)``, or the total of a ranking."""
    times, unit = (answer["n"], "points") if "total" in answer else (1, "of 100")
    value = f"{answer['total']:g}" if "total" in answer else f"{answer['mean']:.1f}"
    low, high = (f"{times * end:.0f}" for end in answer["ci95"]) if answer["ci95"] else ("", "")
    return f"{value} {unit}" + (f" ({low}-{high})" if answer["ci95"] else "")


def show(result: dict[str, Any]) -> None:
    """Print a report, or an agreement, as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    for key, value in result.items():
        parts = value.items() if isinstance(value, dict) and value else [("", value)]
        for name, part in parts:
            table.add_row(key, str(name), _readable(part))
    Console().print(table)


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_readable(part)}" for key, part in value.items())
    if isinstance(value, list):
        interval = len(value) == 2 and isinstance(value[0], float)
        return " to ".join(map(_readable, value)) if interval else str(len(value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
