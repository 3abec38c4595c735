"""Statistics with their uncertainty: proportions (Wilson), means (bootstrap), and Cohen's kappa."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Z95 = 1.959963984540054


class Estimate(NamedTuple):
    """An estimate from ``n`` cases: value, standard error and 95 % interval, in the unit of the value.

    With a single case the standard error is None, and for a mean the interval too.
    """

    n: int
    value: float
    stderr: float | None
    low: float | None
    high: float | None


def proportion(hits: int, n: int) -> Estimate:
    """The proportion of ``hits`` in ``n`` cases (0 to 1) with the Wilson score interval.

    The standard error is that of lm-evaluation-harness (the sample standard deviation over the root of n).

    Raises:
        ValueError: There are no cases.
    """
    if n < 1:
        raise ValueError("a proportion needs at least one case")
    p, z = hits / n, Z95
    centre, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    stderr = math.sqrt(p * (1 - p) / (n - 1)) if n > 1 else None
    return Estimate(n, p, stderr, max(0.0, (centre - width) / scale), min(1.0, (centre + width) / scale))


def mean(values: Sequence[float], *, draws: int = 2000, seed: int = 0) -> Estimate:
    """The mean of ``values`` with the percentile interval of a bootstrap over the cases.

    Args:
        values: One number a case.
        draws: Bootstrap samples.
        seed: Of the bootstrap.

    Raises:
        ValueError: There are no cases.
    """
    if not len(values):
        raise ValueError("a mean needs at least one case")
    if len(values) == 1:
        return Estimate(1, float(values[0]), None, None, None)
    data = np.asarray(values, dtype=float)
    picks = np.random.default_rng(seed).integers(0, len(data), size=(draws, len(data)))
    low, high = np.percentile(data[picks].mean(axis=1), [2.5, 97.5])
    stderr = float(data.std(ddof=1) / math.sqrt(len(data)))
    return Estimate(len(data), float(data.mean()), stderr, float(low), float(high))


def kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Cohen's kappa of two labellings of the same cases; None when the expected agreement is 1.

    Raises:
        ValueError: The labellings are empty or differ in length.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"kappa needs two labels of each case, got {len(first)} and {len(second)}")
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    labels = set(first) | set(second)
    chance = sum(list(first).count(label) * list(second).count(label) for label in labels) / (n * n)
    return None if chance == 1.0 else (observed - chance) / (1 - chance)


def kappa_interval(
    first: Sequence[str], second: Sequence[str], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """The 95 % percentile interval of Cohen's kappa, by a bootstrap over the cases; None when no draw has a kappa.

    Raises:
        ValueError: The labellings are empty or differ in length.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"kappa needs two labels of each case, got {len(first)} and {len(second)}")
    labels, codes = np.unique([*first, *second], return_inverse=True)
    one, two = codes.reshape(2, -1)
    picks = np.random.default_rng(seed).integers(0, len(first), size=(draws, len(first)))
    observed = (one[picks] == two[picks]).mean(axis=1)
    shares = [[(side[picks] == n).mean(axis=1) for n in range(len(labels))] for side in (one, two)]
    chance = sum(a * b for a, b in zip(*shares, strict=True))
    known = chance < 1.0 - 1e-12
    if not known.any():
        return None
    low, high = np.percentile((observed[known] - chance[known]) / (1 - chance[known]), [2.5, 97.5])
    return float(low), float(high)
