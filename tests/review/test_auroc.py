"""
The area under the ROC curve: against pairs counted one by one, by hand, and how far it may be off.
"""

from __future__ import annotations

import random
from itertools import product
from statistics import fmean, variance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.review.auroc import Area, area


JUDGED = st.lists(st.tuples(st.sampled_from([-1.5, 0.0, 0.2, 0.5, 0.9, 1.0]) | st.floats(-2, 2), st.booleans()), max_size=40)


def beats(one: float, other: float) -> float:
    return 1.0 if one > other else 0.5 if one == other else 0.0


def slowly(judged: list[tuple[float, bool]]) -> tuple[float, float] | None:
    """
    Count every pair of a right and a wrong answer; return the area and DeLong's variance as their paper defines them.
    """
    right = [confidence for confidence, is_right in judged if is_right]
    wrong = [confidence for confidence, is_right in judged if not is_right]
    if not right or not wrong:
        return None
    of_right = [fmean(beats(one, other) for other in wrong) for one in right]
    of_wrong = [fmean(beats(other, one) for other in right) for one in wrong]
    spread = 0.0
    if len(right) > 1 and len(wrong) > 1:
        spread = variance(of_right) / len(right) + variance(of_wrong) / len(wrong)

    return fmean(beats(one, other) for one, other in product(right, wrong)), spread


class TestArea:
    @given(JUDGED)
    def test_against_every_pair(self, judged: list[tuple[float, bool]]) -> None:
        """
        Ranks give what counting pairs gives, ties and all, for the area and for its spread.
        """
        found, expected = area(judged), slowly(judged)

        assert (len(judged), sum(right for _, right in judged)) == (found.n, found.right)
        if expected is None:
            assert (None, 0.0, 1.0) == found[2:]
        else:
            value, spread = expected
            reach = 1.959964 * spread**0.5
            assert pytest.approx(value) == found.value
            if 1 < found.right < found.n - 1:
                assert pytest.approx((max(0, value - reach), min(1, value + reach)), abs=1e-6) == (found.low, found.high)

    @given(JUDGED)
    def test_only_the_order_counts(self, judged: list[tuple[float, bool]]) -> None:
        """
        An increasing function changes nothing, and turning the order round takes the area from one.
        """
        found = area(judged)
        stretched = area((confidence * 4 - 1, right) for confidence, right in judged)
        turned = area((-confidence, right) for confidence, right in judged)

        # Two numbers that are nearly equal may become equal on the way.
        if len({confidence for confidence, _ in judged}) == len({confidence * 4 - 1 for confidence, _ in judged}):
            assert found == stretched
        if found.value is not None:
            assert pytest.approx(1 - found.value) == turned.value

    @pytest.mark.parametrize(
        ("judged", "expected"),
        [
            ([(0.9, True), (0.8, True), (0.3, False), (0.1, False)], 1.0),
            ([(0.5, True), (0.5, False)], 0.5),
            ([(0.9, True), (0.5, False), (0.5, True), (0.1, False)], 0.875),
        ],
    )
    def test_by_hand(self, judged: list[tuple[float, bool]], expected: float) -> None:
        """
        A confidence that splits right from wrong reaches one, and one that says nothing a half.
        """
        assert expected == area(judged).value

    @pytest.mark.parametrize("judged", [[], [(0.5, True)], [(0.5, False), (0.7, False)]])
    def test_one_kind_of_answer_has_no_area(self, judged: list[tuple[float, bool]]) -> None:
        """
        Where nothing is wrong, or nothing right, there is nothing to tell apart.
        """
        assert Area(len(judged), sum(right for _, right in judged), None) == area(judged)

    def test_the_interval_holds_what_it_promises(self) -> None:
        """
        Of many samples from a known distribution about 95 in a hundred intervals hold its area.
        """
        dice = random.Random(7)
        held = 0
        for _ in range(400):
            judged = [(dice.gauss(1.0, 1.0), True) for _ in range(60)] + [(dice.gauss(0.0, 1.0), False) for _ in range(40)]
            found = area(judged)
            held += found.low <= 0.7602 <= found.high

        assert 0.92 <= held / 400 <= 0.98
