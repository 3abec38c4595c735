"""What a run of the judge comes to: scores, outcomes and points with intervals, and what people should look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from egosrag.errors import SourceError
from evals.common import stats
from evals.common.records import read_jsonl
from evals.judge.cases import Case, case_of
from evals.judge.verdict import LOSE, TIE, WIN, Judgement, Sample, for_people, judge, outcome

Result = tuple[str, Case, Judgement]


def report(mode: str, results: Sequence[Result], beta: float) -> dict[str, Any]:
    """The results of a run as one JSON object.

    ``answers`` has for each name: in mode ``score`` and ``pair`` the mean of its 0 to 100 scores, in ``rank`` of its
    points. ``lead`` is what standing first is worth in points, ``conflict_rate`` how often the two orders disagree,
    ``people`` the share ``beta`` of rows that a person should decide: the unscored and the most doubtful ones.
    """
    found: dict[str, Any] = {"mode": mode, "n": len(results), "scored": sum(j.scores is not None for *_, j in results)}
    found["unscored"] = [_named(name, case) | {"reason": j.reason} for name, case, j in results if not j.scores]
    values: dict[str, dict[str, float]] = {}
    for name, case, j in results:
        for n, score in enumerate(j.scores or ()):
            values.setdefault(name or list(case.answers)[n], {})[case.id] = score
    found["answers"] = {name: _estimate(scores.values()) for name, scores in values.items()}
    if mode == "rank":
        for name, points in values.items():
            found["answers"][name]["total"] = sum(points.values())
    elif len(values) == 2:
        first, second = values.values()
        both = [first[i] - second[i] for i in first if i in second]
        found["difference"] = {"of": list(values), **_estimate(both)} if both else None
    if mode == "pair":
        found["outcomes"] = dict(Counter(winner(case, j.outcome) for _, case, j in results if j.outcome))
    conflicts = [j.conflict for *_, j in results if j.conflict is not None]
    if conflicts:
        found["conflict_rate"] = _share(sum(conflicts), len(conflicts))
    leads = [j.lead for *_, j in results if j.lead is not None]
    found["lead"] = _estimate(leads) if leads else None
    chosen = for_people([j.doubt for *_, j in results], beta)
    found["people"] = [_named(*results[n][:2]) | {"doubt": results[n][2].doubt} for n in chosen]
    found["people_share"] = len(chosen) / len(results)
    return found


def _named(name: str, case: Case) -> dict[str, Any]:
    return {"id": case.id} | ({"answer": name} if name else {})


def _estimate(values: Iterable[float]) -> dict[str, Any]:
    e = stats.mean(list(values))
    return {"n": e.n, "mean": e.value, "stderr": e.stderr, "ci95": None if e.low is None else [e.low, e.high]}


def _share(hits: int, n: int) -> dict[str, Any]:
    e = stats.share(hits, n)
    return {"n": n, "share": e.value, "ci95": [e.low, e.high]}


def winner(case: Case, result: str) -> str:
    """The name that an outcome speaks for, or "tie"."""
    first, second = case.answers
    return {WIN: first, TIE: TIE, LOSE: second}[result]


def agreement(results: Sequence[Result], beta: float) -> dict[str, Any]:
    """How the judge's verdicts on two answers agree with ``case.human``: accuracy and Cohen's kappa.

    Four ways, from the same samples: ``vanilla`` (the first one), ``mec`` (all of the given order, averaged),
    ``mec_bpc`` (both orders), and ``mec_bpc_people`` where people decide the share ``beta`` with most doubt (so it
    gains from people by construction, as the paper's HITLC row does). ``accuracy`` and ``kappa`` are those of
    ``mec_bpc``. A case without a verdict counts as a miss.

    Raises:
        SourceError: no case has a person's verdict, or one names neither of its answers.
    """
    judged = [(case, j) for _, case, j in results if case.human is not None]
    if not judged:
        raise SourceError("no row has a person's verdict: give rows with human, or --questions, --answers and --human")
    for case, _ in judged:
        if case.human not in (TIE, *case.answers):
            raise SourceError(f"row {case.id}: {case.human!r} is no answer of it: write a name of answers, or tie")
    people = [str(case.human) for case, _ in judged]
    kept = set(for_people([j.doubt for _, j in judged], beta))
    ways = {
        "vanilla": [_verdict(case, j.samples[:1]) for case, j in judged],
        "mec": [_verdict(case, [s for s in j.samples if not s.swapped]) for case, j in judged],
        "mec_bpc": [_verdict(case, j.samples) for case, j in judged],
    }
    ways["mec_bpc_people"] = [people[n] if n in kept else said for n, said in enumerate(ways["mec_bpc"])]
    found: dict[str, Any] = {"n": len(judged), "people": dict(Counter(people)), "people_share": len(kept) / len(judged)}
    for way, said in ways.items():
        right = stats.share(sum(a == b for a, b in zip(said, people, strict=True)), len(people))
        found[way] = {
            "accuracy": right.value,
            "ci95": [right.low, right.high],
            "kappa": stats.kappa(said, people),
            "kappa_ci95": list(stats.kappa_interval(said, people) or ()) or None,
            "unscored": said.count("unscored"),
        }
    return found | {"accuracy": found["mec_bpc"]["accuracy"], "kappa": found["mec_bpc"]["kappa"]}


def _verdict(case: Case, samples: Sequence[Sample]) -> str:
    found = judge(samples)
    return winner(case, outcome(found.scores)) if found.scores else "unscored"


def faireval(questions: Path, answers: dict[str, Path], human: Path) -> list[Case]:
    """FairEval's files as cases: questions and two answer files by ``question_id``, and a person's verdict a line.

    Args:
        questions: JSONL of ``{"question_id", "text"}``.
        answers: two JSONL files of ``{"question_id", "text"}`` by the name that the verdicts use for them.
        human: text, in the order of the questions: a name, or TIE, a line; case does not matter.

    Raises:
        SourceError: a file is missing, or the three do not fit each other.
    """
    if len(answers) != 2:
        raise SourceError(f"{len(answers)} files of answers were given: give two, each as NAME=FILE")
    asked = {row["question_id"]: row["text"] for row in read_jsonl(questions)}
    texts = {name: {row["question_id"]: row["text"] for row in read_jsonl(path)} for name, path in answers.items()}
    try:
        verdicts = human.read_text(encoding="utf-8").split()
    except OSError as error:
        raise SourceError(f"{human} cannot be read: give a verdict a line ({error.strerror})") from error
    names = {name.lower(): name for name in answers} | {TIE: TIE}
    unknown = {v for v in verdicts if v.lower() not in names}
    if unknown or len(verdicts) != len(asked):
        what = f"the verdict {sorted(unknown)[0]}" if unknown else f"{len(verdicts)} verdicts on {len(asked)} questions"
        raise SourceError(f"{human} has {what}: give {', '.join(answers)} or TIE, a line for each question")
    try:
        rows = [
            {"id": n, "question": text, "answers": {name: t[n] for name, t in texts.items()}, "human": names[v.lower()]}
            for (n, text), v in zip(asked.items(), verdicts, strict=True)
        ]
    except KeyError as error:
        raise SourceError(f"question {error} has no answer in one of the files: give the answers to all") from error
    return [case_of(row, "") for row in rows]
