"""Intervals and agreement, against numbers worked out by hand or taken from the literature."""

import numpy as np
import pytest

from evals.common import stats


def test_wilson_interval_of_a_known_case() -> None:
    # 10 of 100, z = 1.96: 0.0552 to 0.1744 (Wilson 1927, as in every table of it).
    rate = stats.proportion(10, 100)
    assert (rate.n, rate.value) == (100, 0.1)
    assert rate.low == pytest.approx(0.0552, abs=1e-4)
    assert rate.high == pytest.approx(0.1744, abs=1e-4)


def test_the_stderr_is_that_of_lm_eval() -> None:
    hits = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    assert stats.proportion(3, 8).stderr == pytest.approx(hits.std(ddof=1) / np.sqrt(8))


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (0, 1), (1, 1)])
def test_the_interval_stays_between_0_and_1_and_contains_the_proportion(hits: int, n: int) -> None:
    rate = stats.proportion(hits, n)
    assert rate.low is not None and rate.high is not None
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert rate.low < rate.high


def test_one_case_has_no_stderr_and_no_case_is_an_error() -> None:
    assert stats.proportion(1, 1).stderr is None
    assert stats.mean([4.0]) == (1, 4.0, None, None, None)
    with pytest.raises(ValueError, match="at least one"):
        stats.proportion(0, 0)
    with pytest.raises(ValueError, match="at least one"):
        stats.mean([])


def test_the_bootstrap_interval_is_repeatable_and_close_to_the_normal_one() -> None:
    values = np.random.default_rng(3).normal(70, 12, size=400).tolist()
    first, again = stats.mean(values), stats.mean(values)
    assert first == again
    assert first.stderr is not None
    assert first.low == pytest.approx(first.value - 1.96 * first.stderr, abs=0.25)
    assert first.high == pytest.approx(first.value + 1.96 * first.stderr, abs=0.25)


def test_kappa_of_a_hand_computed_table() -> None:
    # both yes 20, both no 15, only first yes 5, only second yes 10: p_o = .7, p_e = .5, kappa = .4
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert stats.kappa(first, second) == pytest.approx(0.4)
    assert stats.kappa(first, first) == 1.0


def test_kappa_is_none_when_the_expected_agreement_is_1() -> None:
    assert stats.kappa(["win", "win"], ["win", "win"]) is None
    assert stats.kappa(["win", "win"], ["lose", "lose"]) == 0.0
    with pytest.raises(ValueError, match="two labels"):
        stats.kappa(["win"], [])


def test_the_interval_of_kappa_contains_it_and_narrows_with_more_cases() -> None:
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    low, high = stats.kappa_interval(first, second) or (9.0, 9.0)
    # Fleiss, Cohen and Everitt (1969): standard error 0.1273 here
    assert (low, high) == (pytest.approx(0.4 - 1.96 * 0.1273, abs=0.04), pytest.approx(0.4 + 1.96 * 0.1273, abs=0.04))
    closer = stats.kappa_interval(first * 9, second * 9) or (9.0, 9.0)
    assert low < closer[0] < 0.4 < closer[1] < high
    assert stats.kappa_interval(first, first) == (1.0, 1.0)
    assert stats.kappa_interval(["win"] * 3, ["win"] * 3) is None
    with pytest.raises(ValueError, match="two labels"):
        stats.kappa_interval([], [])
