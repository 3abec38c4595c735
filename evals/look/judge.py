"""How far the judge and a person agree, from the person's labels and the judge's records (report 6.3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from egosrag.errors import SourceError
from evals.common import stats
from evals.common.records import Record
from evals.judge.ask import judgement_of
from evals.judge.cases import Case
from evals.judge.report import agreement

_BETA = 0.2  # share of the rows that people decide, in the row "mec_bpc_people"


def doubts_of(records: Sequence[Record]) -> dict[tuple[str, str, str], float | None]:
    """The judge's doubt by (id, name, digest), for :func:`evals.judge.label.waiting`."""
    return {(r["key"][0], r["key"][1], r["key"][2]): r["doubt"] for r in records if len(r["key"]) == 3 and "doubt" in r}


def calibration(mode: str, labels: Sequence[Case], records: Sequence[Record]) -> Mapping[str, Any]:
    """The judge beside the person who labelled the same texts.

    Args:
        mode: ``score``, ``pair`` or ``rank``.
        labels: rows that a person labelled, of :func:`evals.judge.label.labelled`.
        records: of a run of the judge in the same mode.

    Returns:
        ``pair``: what :func:`evals.judge.report.agreement` tells. ``score``: ``n``, the mean ``distance`` of the two
        in points, and the mean ``lead`` of the judge with its interval ``ci95``. ``rank``: ``n`` and the share
        ``same_best``. Only rows that both decided count.

    Raises:
        SourceError: there is no such row.
    """
    judged = {(str(r["key"][0]), str(r["key"][2])): r for r in records if len(r["key"]) == 3 and r.get("scores")}
    both = [(case, judged[key]) for case in labels if (key := (_row(mode, case), case.digest)) in judged]
    if not both:
        raise SourceError("no row was labelled that this judge judged too: label rows of the data that it was run on")
    if mode == "pair":
        return agreement([("", case, judgement_of(record)) for case, record in both], _BETA)
    if mode == "score":
        apart = [float(r["scores"][0]) - float(next(iter(case.label["scores"].values()))) for case, r in both]
        lead = stats.mean(apart)
        interval = None if lead.low is None else [lead.low, lead.high]
        return {"n": len(apart), "distance": fmean(map(abs, apart)), "lead": lead.value, "ci95": interval}
    same = stats.share(sum(_best(case, r) == case.label["order"][0] for case, r in both), len(both))
    return {"n": len(both), "same_best": same.value, "ci95": [same.low, same.high]}


def _row(mode: str, case: Case) -> str:
    """The id of the judge's row: a labelled answer among several has its name behind it."""
    name = next(iter(case.answers))
    return case.id.removesuffix(f"/{name}") if mode == "score" else case.id


def _best(case: Case, record: Record) -> str:
    scores = dict(zip(case.answers, record["scores"], strict=True))
    return max(scores, key=lambda name: scores[name])
