from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.review.training.metrics import Figure, apgr, auroc, bootstrapped, ece, log_loss


scores = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
rows = st.lists(st.tuples(scores, st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=8)
gains = st.lists(st.tuples(scores, st.sampled_from([-1.0, 0.0, 1.0])), min_size=1, max_size=5)


class TestAuroc:
    @given(rows)
    def test_it_is_the_share_of_pairs_in_order(self, given: list[tuple[float, float]]) -> None:
        """
        It equals going through every pair of a right and a wrong answer, ties for half.
        """
        pairs = won = 0.0
        for (high, good), (low, other) in itertools.product(given, given):
            weight = good * (1 - other)
            pairs += weight
            won += weight * (1.0 if high > low else 0.5 if high == low else 0.0)
        expected = won / pairs if pairs else 0.5
        own, right = np.array(given).T

        assert pytest.approx(expected) == auroc(own, right)


class TestApgr:
    @given(gains)
    def test_it_is_the_mean_over_orders_of_ties(self, given: list[tuple[float, float]]) -> None:
        """
        It equals the trapezoid under the gap won, call by call, as the mean of every order that the scores allow.
        """
        own, gain = np.array(given).T
        if not gain.sum():
            assert math.isnan(apgr(own, gain))
            return
        areas = []
        for order in itertools.permutations(range(len(given))):
            ranked = own[list(order)]
            if all(one >= other for one, other in itertools.pairwise(ranked)):
                won = np.concatenate([[0.0], np.cumsum(gain[list(order)])]) / gain.sum()
                areas.append(float(np.mean((won[1:] + won[:-1]) / 2)))

        assert pytest.approx(np.mean(areas)) == apgr(own, gain)

    def test_to_know_nothing_is_half(self) -> None:
        """
        One score for all is a random mix.
        """
        assert pytest.approx(0.5) == apgr(np.zeros(4), np.array([1.0, 0.0, -1.0, 1.0]))

    def test_to_know_all_is_more_than_one(self) -> None:
        """
        Who sends only what is worth it first wins more than the whole gap on the way.
        """
        gain = np.array([1.0, 1.0, 0.0, -1.0])

        assert apgr(gain, gain) > 1 - 0.5 * 0.5


class TestCalibration:
    def test_sure_and_right_is_no_error(self) -> None:
        """
        Scores that are as right as they say have no calibration error, others as much as they are off.
        """
        right = np.array([1.0, 1.0, 0.0, 0.0])

        assert pytest.approx(0.0) == ece(np.full(4, 0.5), right)
        assert pytest.approx(0.4) == ece(np.full(4, 0.9), right)
        assert pytest.approx(0.0) == ece(right, right)

    def test_log_loss(self) -> None:
        """
        Log-loss is the mean of what was said of what came, and stays finite.
        """
        assert pytest.approx(math.log(2)) == log_loss(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
        assert math.isfinite(log_loss(np.array([0.0]), np.array([1.0])))


def test_intervals_hold_the_figure_and_shrink() -> None:
    """
    A bootstrap's interval holds the figure of all rows, is the same each time, and narrows with the rows.
    """

    def mean(count: int) -> Figure:
        values = np.arange(count) % 2.0
        return bootstrapped(lambda some: float(values[some].mean()), count, seed=1)

    few, many = mean(40), mean(4000)

    assert few == mean(40)
    assert few.low < 0.5 < few.high
    assert many.high - many.low < few.high - few.low
