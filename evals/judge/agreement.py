"""Agreement of the judge with people (report 6.3.1): on verdicts in the data, and on rows that a person labelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from egosrag.errors import SourceError
from evals.common import stats
from evals.common.records import Record
from evals.judge.asking import Result, judgement_of
from evals.judge.cases import Case, check_people
from evals.judge.report import PEOPLE_SHARE, winner
from evals.judge.verdict import Sample, combine, most_doubtful, outcome


def agreement(results: Sequence[Result], people_share: float) -> dict[str, Any]:
    """Accuracy and Cohen's kappa of the judge's verdicts on two answers against ``case.human``.

    Four ways, from the same samples: ``vanilla`` (the first sample), ``mec`` (all of the given order, averaged),
    ``mec_bpc`` (both orders), and ``mec_bpc_people``, where people decide the most doubtful ``people_share`` (so it
    gains from people by construction, as the paper's HITLC row does). ``accuracy`` and ``kappa`` are those of
    ``mec_bpc``. A case without a verdict counts as a miss.

    Raises:
        SourceError: No case has a person's verdict, or one names neither of its answers.
    """
    check_people([case for _, case, _ in results])
    judged = [(case, j) for _, case, j in results if case.human is not None]
    people = [str(case.human) for case, _ in judged]
    doubtful = set(most_doubtful([j.doubt for _, j in judged], people_share))
    ways = {
        "vanilla": [_verdict(case, j.samples[:1]) for case, j in judged],
        "mec": [_verdict(case, [s for s in j.samples if not s.swapped]) for case, j in judged],
        "mec_bpc": [_verdict(case, j.samples) for case, j in judged],
    }
    ways["mec_bpc_people"] = [people[n] if n in doubtful else verdict for n, verdict in enumerate(ways["mec_bpc"])]
    report: dict[str, Any] = {
        "n": len(judged),
        "people": dict(Counter(people)),
        "people_share": len(doubtful) / len(judged),
    }
    for way, verdicts in ways.items():
        right = stats.proportion(sum(a == b for a, b in zip(verdicts, people, strict=True)), len(people))
        report[way] = {
            "accuracy": right.value,
            "ci95": [right.low, right.high],
            "kappa": stats.kappa(verdicts, people),
            "kappa_ci95": list(stats.kappa_interval(verdicts, people) or ()) or None,
            "unscored": verdicts.count("unscored"),
        }
    return report | {"accuracy": report["mec_bpc"]["accuracy"], "kappa": report["mec_bpc"]["kappa"]}


def _verdict(case: Case, samples: Sequence[Sample]) -> str:
    judgement = combine(samples)
    return winner(case, outcome(judgement.scores)) if judgement.scores else "unscored"


def compare_with_labels(mode: str, labels: Sequence[Case], records: Sequence[Record]) -> Mapping[str, Any]:
    """The judge against a person who labelled the same texts.

    Args:
        mode: ``score``, ``pair`` or ``rank``.
        labels: Rows that a person labelled.
        records: A judge's records of the same mode.

    Returns:
        ``pair``: see :func:`agreement`. ``score``: ``n``, the mean ``distance`` of the two in points, and the mean
        ``lead`` of the judge over the person with its interval ``ci95``. ``rank``: ``n`` and the share ``same_best``.
        Only rows that both decided count.

    Raises:
        SourceError: There is no such row.
    """
    judged = {(str(r["key"][0]), str(r["key"][2])): r for r in records if len(r["key"]) == 3 and r.get("scores")}
    both = [(case, judged[key]) for case in labels if (key := (_judged_id(mode, case), case.digest)) in judged]
    if not both:
        raise SourceError("no row has both a label and a judgement: label rows of the data that the judge was run on")
    if mode == "pair":
        return agreement([Result("", case, judgement_of(record)) for case, record in both], PEOPLE_SHARE)
    if mode == "score":
        differences = [float(r["scores"][0]) - float(next(iter(case.label["scores"].values()))) for case, r in both]
        lead = stats.mean(differences)
        interval = None if lead.low is None else [lead.low, lead.high]
        return {"n": len(differences), "distance": fmean(map(abs, differences)), "lead": lead.value, "ci95": interval}
    same = stats.proportion(sum(_best(case, r) == case.label["order"][0] for case, r in both), len(both))
    return {"n": len(both), "same_best": same.value, "ci95": [same.low, same.high]}


def _judged_id(mode: str, case: Case) -> str:
    """The id of the judge's row: a labelled answer among several has its name appended."""
    name = next(iter(case.answers))
    return case.id.removesuffix(f"/{name}") if mode == "score" else case.id


def _best(case: Case, record: Record) -> str:
    scores = dict(zip(case.answers, record["scores"], strict=True))
    return max(scores, key=lambda name: scores[name])
