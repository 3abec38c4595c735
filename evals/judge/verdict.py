"""A judge's verdict: parsed strictly, averaged over samples and orders, and doubted when it contradicts itself.

Formulas: Wang et al., "Large Language Models are not Fair Evaluators" (ACL 2024): multiple-evidence calibration (k
explanations, then scores, averaged), balanced position calibration (both orders, averaged), balanced position
diversity entropy (over the 2k results), and human-in-the-loop calibration (people decide the most doubtful share).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from evals.judge.cases import LETTERS, TIE

_BRACKETS = re.compile(r"\[\[((?:(?!\[\[).)*?)\]\]", re.DOTALL)  # the inner ones, where one was cut off and begun again
_NUMBER = re.compile(r"\d{1,3}(?:\.\d+)?")
_PAIR = re.compile(r"A\s*=\s*(\d{1,3}(?:\.\d+)?)\s*[,，]\s*B\s*=\s*(\d{1,3}(?:\.\d+)?)")

WIN, LOSE = "win", "lose"


@dataclass(frozen=True)
class Sample:
    """One reply of the judge.

    Attributes:
        swapped: Whether it read the case in the other order.
        values: A number for each answer in the order of the case (0 to 100, or points n-1 to 0 of a ranking); None
            without a valid verdict.
        reason: Why there is no verdict.
        text: The whole reply.
    """

    swapped: bool
    values: tuple[float, ...] | None
    reason: str | None
    text: str


def parse_verdict(mode: str, text: str, n: int, swapped: bool) -> Sample:
    """Parse a reply: the last text in double brackets is the verdict, if it is one of those that were offered.

    Args:
        mode: ``score``, ``pair`` or ``rank``.
        text: The judge's reply.
        n: Number of answers under judgement.
        swapped: Whether the judge read them in the other order.
    """
    reply = text.rpartition("</think>")[2]
    verdicts = [] if "<think>" in reply else _BRACKETS.findall(reply)
    if not verdicts:
        return Sample(swapped, None, "it gave no verdict in double brackets", text)
    last = verdicts[-1].strip()
    values = {"score": _parse_score, "pair": _parse_pair, "rank": _parse_rank}[mode](last, n)
    if values is None:
        return Sample(swapped, None, f"its last verdict {last[:40]!r} is not one that it was offered", text)
    return Sample(swapped, values[::-1] if swapped else values, None, text)


def _parse_score(verdict: str, n: int) -> tuple[float, ...] | None:
    return (float(verdict),) if _NUMBER.fullmatch(verdict) and float(verdict) <= 100 else None


def _parse_pair(verdict: str, n: int) -> tuple[float, ...] | None:
    match = _PAIR.fullmatch(verdict)
    values = tuple(map(float, match.groups())) if match else (101.0,)
    return values if max(values) <= 100 else None


def _parse_rank(verdict: str, n: int) -> tuple[float, ...] | None:
    order = [part.strip() for part in re.split(r"[>＞]", verdict)]
    if sorted(order) != list(LETTERS[:n]):
        return None
    return tuple(float(n - 1 - order.index(letter)) for letter in LETTERS[:n])


@dataclass(frozen=True)
class Judgement:
    """All samples of one case, and what follows from them.

    Attributes:
        samples: The replies.
        scores: For each answer the mean over both orders; None when unscored.
        reason: Why it is unscored.
        outcome: ``win``, ``tie`` or ``lose`` of the first of two answers.
        conflict: Whether the two orders have different outcomes (of a ranking: different winners).
        lead: Position bias: points gained by being read first, half of what swapping changes.
        doubt: Balanced position diversity entropy of two answers or of a ranking's winner (nats); of single scores
            their standard deviation.
    """

    samples: tuple[Sample, ...]
    scores: tuple[float, ...] | None = None
    reason: str | None = None
    outcome: str | None = None
    conflict: bool | None = None
    lead: float | None = None
    doubt: float | None = None


def combine(samples: Sequence[Sample]) -> Judgement:
    """The judgement of the samples; both orders weigh the same, whatever number of samples has a verdict."""
    sides = [[s.values for s in samples if s.swapped is swapped and s.values] for swapped in (False, True)]
    used = [any(s.swapped is swapped for s in samples) for swapped in (False, True)]
    sides = [side for side, in_use in zip(sides, used, strict=True) if in_use]
    if not all(sides):
        reasons = Counter(s.reason for s in samples if s.reason)
        return Judgement(tuple(samples), reason=reasons.most_common(1)[0][0] if reasons else "it was not asked")
    means = [tuple(fmean(column) for column in zip(*side, strict=True)) for side in sides]
    scores = tuple(fmean(column) for column in zip(*means, strict=True))
    values = [s.values for s in samples if s.values]
    both = len(means) == 2
    if len(scores) == 1:
        lead = (means[0][0] - means[1][0]) / 2 if both else None
        return Judgement(tuple(samples), scores, lead=lead, doubt=pstdev(v[0] for v in values))
    # The first answer is read first in the given order and last in the other: its gain changes sign with the swap.
    gaps = [mean[0] - mean[-1] for mean in means]
    results = [outcome(v) if len(v) == 2 else str(v.index(max(v))) for v in values]
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
    """The result for the first of two answers; a tie only when the scores are equal."""
    first, second = (round(score, 9) for score in scores)
    return WIN if first > second else LOSE if first < second else TIE


def entropy(results: Sequence[str]) -> float:
    """The Shannon entropy of the results, in nats: 0 when all are the same."""
    shares = [count / len(results) for count in Counter(results).values()]
    return -math.fsum(p * math.log(p) for p in shares) + 0.0


def most_doubtful(doubts: Sequence[float | None], share: float) -> list[int]:
    """The indices of the cases that people should decide: the most doubtful ``share``, unscored cases (None) first."""
    order = sorted(range(len(doubts)), key=lambda n: (doubts[n] is not None, -(doubts[n] or 0.0), n))
    return sorted(order[: round(share * len(doubts))])
