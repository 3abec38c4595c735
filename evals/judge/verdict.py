"""A judge's verdict: read strictly, averaged over samples and positions, and doubted where it contradicts itself.

Formulas: Wang et al., "Large Language Models are not Fair Evaluators" (ACL 2024): multiple-evidence calibration (k
explanations, then scores, averaged), balanced position calibration (both orders, averaged), balanced position
diversity entropy (over the 2k results), and human-in-the-loop calibration (the most doubtful share goes to people).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from evals.judge.cases import LETTERS

_BRACKETS = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_NUMBER = re.compile(r"\d{1,3}(?:\.\d+)?")
_PAIR = re.compile(r"A\s*=\s*(\d{1,3}(?:\.\d+)?)\s*[,，]\s*B\s*=\s*(\d{1,3}(?:\.\d+)?)")

WIN, TIE, LOSE = "win", "tie", "lose"


@dataclass(frozen=True)
class Sample:
    """One answer of the judge.

    ``values`` has a number for each answer under judgement in the order of the case (0 to 100, or points n-1 to 0
    of a ranking), None when there is no verdict, and then ``reason`` says why. ``text`` is all that the judge said.
    """

    swapped: bool
    values: tuple[float, ...] | None
    reason: str | None
    text: str


def read_verdict(mode: str, text: str, n: int, swapped: bool) -> Sample:
    """What the judge decided: the last thing between double brackets, if it is one of the verdicts it was offered.

    Args:
        mode: ``score``, ``pair`` or ``rank``.
        text: what the judge said.
        n: how many answers it judged.
        swapped: whether it read them in the other order.
    """
    said = text.rpartition("</think>")[2]
    found = [] if "<think>" in said else _BRACKETS.findall(said)
    if not found:
        return Sample(swapped, None, "it gave no verdict in double brackets", text)
    last = found[-1].strip()
    values = {"score": _score, "pair": _pair, "rank": _rank}[mode](last, n)
    if values is None:
        return Sample(swapped, None, f"its last verdict {last[:40]!r} is not one that it was offered", text)
    return Sample(swapped, values[::-1] if swapped else values, None, text)


def _score(verdict: str, n: int) -> tuple[float, ...] | None:
    return (float(verdict),) if _NUMBER.fullmatch(verdict) and float(verdict) <= 100 else None


def _pair(verdict: str, n: int) -> tuple[float, ...] | None:
    match = _PAIR.fullmatch(verdict)
    values = tuple(map(float, match.groups())) if match else (101.0,)
    return values if max(values) <= 100 else None


def _rank(verdict: str, n: int) -> tuple[float, ...] | None:
    order = [part.strip() for part in re.split(r"[>＞]", verdict)]
    if sorted(order) != list(LETTERS[:n]):
        return None
    return tuple(float(n - 1 - order.index(letter)) for letter in LETTERS[:n])


@dataclass(frozen=True)
class Judgement:
    """All samples on one case, and what follows from them.

    Attributes:
        scores: for each answer the mean over both positions, None when it is unscored.
        reason: why it is unscored.
        outcome: ``win``, ``tie`` or ``lose`` of the first of two answers.
        conflict: whether the two positions have different outcomes (of a ranking: different winners).
        lead: how many points the position read first is worth: half of what swapping changes.
        doubt: balanced position diversity entropy of two answers or of a ranking's winner (nats); the standard
            deviation of single scores.
    """

    samples: tuple[Sample, ...]
    scores: tuple[float, ...] | None = None
    reason: str | None = None
    outcome: str | None = None
    conflict: bool | None = None
    lead: float | None = None
    doubt: float | None = None


def judge(samples: Sequence[Sample]) -> Judgement:
    """The judgement that the samples make; each position counts alike, however many of its samples have a verdict."""
    sides = [[s.values for s in samples if s.swapped is swapped and s.values] for swapped in (False, True)]
    asked = [any(s.swapped is swapped for s in samples) for swapped in (False, True)]
    sides = [side for side, was in zip(sides, asked, strict=True) if was]
    if not all(sides):
        reasons = Counter(s.reason for s in samples if s.reason)
        return Judgement(tuple(samples), reason=reasons.most_common(1)[0][0] if reasons else "it was not asked")
    means = [tuple(fmean(column) for column in zip(*side, strict=True)) for side in sides]
    scores = tuple(fmean(column) for column in zip(*means, strict=True))
    given = [s.values for s in samples if s.values]
    both = len(means) == 2
    if len(scores) == 1:
        lead = (means[0][0] - means[1][0]) / 2 if both else None
        return Judgement(tuple(samples), scores, lead=lead, doubt=pstdev(v[0] for v in given))
    # The one read first stands first in the given order and last in the other: its gain changes sign with the swap.
    gaps = [mean[0] - mean[-1] for mean in means]
    results = [outcome(v) if len(v) == 2 else str(v.index(max(v))) for v in given]
    tops = [outcome(m) if len(m) == 2 else str(m.index(max(m))) for m in means]
    return Judgement(
        tuple(samples),
        scores,
        outcome=outcome(scores) if len(scores) == 2 else None,
        conflict=tops[0] != tops[1] if both else None,
        lead=(gaps[0] - gaps[1]) / 2 if both else None,
        doubt=entropy(results),
    )


def outcome(scores: Sequence[float]) -> str:
    """The result for the first of two answers; a tie only when they are equal."""
    first, second = (round(score, 9) for score in scores)
    return WIN if first > second else LOSE if first < second else TIE


def entropy(results: Sequence[str]) -> float:
    """The Shannon entropy of the results, in nats: 0 when all are the same."""
    shares = [count / len(results) for count in Counter(results).values()]
    return -math.fsum(p * math.log(p) for p in shares) + 0.0


def for_people(doubts: Sequence[float | None], share: float) -> list[int]:
    """The indices that a person should decide: the ``share`` with most doubt, those without a verdict (None) first."""
    order = sorted(range(len(doubts)), key=lambda n: (doubts[n] is not None, -(doubts[n] or 0.0), n))
    return sorted(order[: round(share * len(doubts))])
