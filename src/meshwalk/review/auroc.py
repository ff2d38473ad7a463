"""
The area under the ROC curve: the power of a confidence to tell right answers from wrong ones.

It is the chance that a right answer, drawn at random, comes with a higher confidence than a wrong one, ties counting half
(Mann and Whitney).  A coin reaches 0.5, and a confidence that some threshold splits without a mistake reaches 1.  It says
nothing of calibration: any increasing function of a confidence has the same area.

Ties have midranks.  The interval is 95 % and normal, with the variance of DeLong, DeLong and Clarke-Pearson ("Comparing the
Areas under Two or More Correlated Receiver Operating Characteristic Curves", Biometrics 44, 1988), computed from ranks as Sun
and Xu do ("Fast Implementation of DeLong's Algorithm", IEEE Signal Processing Letters 21, 2014), and cut off at 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import NormalDist, fmean, variance
from typing import NamedTuple


_Z = NormalDist().inv_cdf(0.975)


class Area(NamedTuple):
    """
    One area; *value* is None if all answers are right or all are wrong.

    Args:
        n: How many answers had a confidence.
        right: How many of them were right.
    """

    n: int
    right: int
    value: float | None
    low: float = 0.0
    high: float = 1.0


def area(judged: Iterable[tuple[float, bool]]) -> Area:
    """
    Measure how well the confidence of each answer tells whether it is right.
    """
    right: list[float] = []
    wrong: list[float] = []
    for confidence, is_right in judged:
        (right if is_right else wrong).append(confidence)
    n = len(right) + len(wrong)
    if not right or not wrong:
        return Area(n, len(right), None)

    together = _midranks([*right, *wrong])
    # For each right answer the share of wrong ones below it, and for each wrong one the share of right ones above it.
    above = _shares(together[: len(right)], _midranks(right), len(wrong))
    below = [1 - share for share in _shares(together[len(right) :], _midranks(wrong), len(right))]
    value = fmean(above)
    if len(right) < 2 or len(wrong) < 2:
        # One answer says nothing about its own spread.
        return Area(n, len(right), value)
    reach = _Z * math.sqrt(variance(above) / len(right) + variance(below) / len(wrong))

    return Area(n, len(right), value, max(0.0, value - reach), min(1.0, value + reach))


def _shares(ranks: Sequence[float], own: Sequence[float], others: int) -> list[float]:
    return [(rank - alone) / others for rank, alone in zip(ranks, own, strict=True)]


def _midranks(values: Sequence[float]) -> list[float]:
    """
    Rank each value from 1, equal ones at the middle of the ranks they take.
    """
    ranks = [0.0] * len(values)
    start = 0
    for _, group in groupby(sorted(range(len(values)), key=values.__getitem__), key=values.__getitem__):
        places = list(group)
        for place in places:
            ranks[place] = start + (len(places) + 1) / 2
        start += len(places)

    return ranks
