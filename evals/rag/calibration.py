"""Refusing by the evidence alone: the threshold that separates unanswerable questions, with held-out precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from evals.common.estimates import precision_recall


def calibrate(points: Sequence[tuple[float, bool, str]]) -> dict[str, Any]:
    """Find the threshold below which to refuse on one half of the questions and measure it on the other, both ways.

    Args:
        points: (evidence, whether the manual answers it, kind) of each question, in a fixed order.

    Returns:
        ``threshold``: of all points; ``halves``: for each half its threshold and, on the other half, the precision and
        recall of refusing below it; ``held_out``: the two held-out halves together. Empty unless each half has
        answerable and unanswerable questions.
    """
    halves, counts = (list[tuple[float, bool]](), list[tuple[float, bool]]()), Counter[tuple[bool, str]]()
    for evidence, answerable, kind in points:  # the questions of each kind go to the two halves in turn
        halves[counts[answerable, kind] % 2].append((evidence, answerable))
        counts[answerable, kind] += 1
    if any(len({answerable for _, answerable in half}) < 2 for half in halves):
        return {}
    result: dict[str, Any] = {"threshold": best_threshold([*halves[0], *halves[1]]), "halves": []}
    all_refused, all_unanswerable = list[bool](), list[bool]()
    for tuning, held_out in (halves, halves[::-1]):
        threshold = best_threshold(tuning)
        refused = [evidence < threshold for evidence, _ in held_out]
        unanswerable = [not answerable for _, answerable in held_out]
        result["halves"].append({"threshold": threshold, **precision_recall(refused, unanswerable)})
        all_refused, all_unanswerable = all_refused + refused, all_unanswerable + unanswerable
    return result | {"held_out": precision_recall(all_refused, all_unanswerable)}


def best_threshold(points: Sequence[tuple[float, bool]]) -> float:
    """The evidence with the best balanced accuracy of answering the answerable and refusing the others.

    Half way between two neighbouring values; on a tie the lower one, which asks the model once too often.
    """
    values = sorted({evidence for evidence, _ in points})
    cuts = [0.0, *((a + b) / 2 for a, b in zip(values, values[1:], strict=False))]
    good = [evidence for evidence, answerable in points if answerable]
    bad = [evidence for evidence, answerable in points if not answerable]
    return max(cuts, key=lambda cut: sum(e >= cut for e in good) / len(good) + sum(e < cut for e in bad) / len(bad))
