"""
The quality of scores on rows that they were not fitted to.

- *AUROC*: the chance that a row that came out right has the higher score than one that did not; ties count half.
- *Log-loss*: the mean of -ln of the probability given to the outcome; scores are cut off at 1e-6.
- *ECE*: rows in ten bins of equal width by score, the mean distance between score and share right, weighted by rows.
- *APGR*: the area under the share of the gap between the weak and the strong model that is won as the share of rows sent to
  the strong one grows from none to all, those first that score highest; rows of equal score go in together.  A random mix has
  0.5 (Ong et al. 2024, "RouteLLM", arXiv 2406.18665).

Intervals are 95 % percentiles of a bootstrap over rows: they tell how sure a figure is for these weights, and not how much
other training rows would have changed them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_BINS = 10
_LEAST = 1e-6
_RESAMPLES = 200
_NO_GAP = 1e-9


class Figure(NamedTuple):
    """
    One figure with its interval.
    """

    value: float
    low: float
    high: float


def auroc(scores: Floats, right: Floats) -> float:
    """
    Return the AUROC of *scores*; 0.5 where all rows came out alike.  A row that is half right counts as half of each.
    """
    order = np.argsort(scores, kind="stable")
    ranked, good = scores[order], right[order]
    _, group = np.unique(ranked, return_inverse=True)
    goods, bads = np.bincount(group, good), np.bincount(group, 1 - good)
    pairs = goods.sum() * bads.sum()
    if pairs == 0:
        return 0.5
    below = np.concatenate([[0.0], np.cumsum(bads)[:-1]])

    return float((goods * (below + bads / 2)).sum() / pairs)


def log_loss(scores: Floats, right: Floats) -> float:
    """
    Return the mean log-loss of *scores*.
    """
    sure = np.clip(scores, _LEAST, 1 - _LEAST)

    return float(-(right * np.log(sure) + (1 - right) * np.log(1 - sure)).mean())


def ece(scores: Floats, right: Floats) -> float:
    """
    Return the expected calibration error of *scores*.
    """
    bins = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    off = np.abs(np.bincount(bins, scores - right, minlength=_BINS))

    return float(off.sum() / len(scores))


def apgr(scores: Floats, gains: Floats) -> float:
    """
    Return the APGR of sending the rows with the highest *scores* to the strong model, which gains *gains* on them.

    It is not a number where the strong model gains nothing over all.
    """
    return over(area(scores, gains), gains)


def area(scores: Floats, gains: Floats) -> float:
    """
    Return the gain in rows, as the mean over all shares of strong calls.
    """
    order = np.argsort(-scores, kind="stable")
    _, group = np.unique(-scores[order], return_inverse=True)
    even = (np.bincount(group, gains[order]) / np.bincount(group))[group]
    won = np.concatenate([[0.0], np.cumsum(even)])

    return float(((won[1:] + won[:-1]) / 2).mean())


def over(area: float, gains: Floats) -> float:
    """
    Return *area* over the whole gap, or no number where there is no gap.
    """
    gap = float(gains.sum())

    return area / gap if abs(gap) > _NO_GAP else float("nan")


def bootstrapped(figure: Callable[[Rows], float], rows: int, seed: int) -> Figure:
    """
    Compute *figure* of all rows, and its interval over resamples of them.
    """
    dice = np.random.default_rng(seed)
    found = [figure(dice.integers(0, rows, rows)) for _ in range(_RESAMPLES)]
    low, high = np.nanpercentile(found, [2.5, 97.5])

    return Figure(figure(np.arange(rows)), float(low), float(high))
