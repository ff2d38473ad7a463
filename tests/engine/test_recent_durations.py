"""
The time that calls lately needed, as it is learned and forgotten.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshwalk.engine.recent_durations import MIN_SAMPLES, SAMPLES, WINDOW_US, RecentDurations


def learned(durations: list[int], at: int = 0) -> RecentDurations:
    recent = RecentDurations()
    for duration_us in durations:
        recent.add(at, duration_us)

    return recent


def test_few_calls_say_nothing() -> None:
    """
    Before enough calls have worked, no call is turned away for its time.
    """
    assert (0, 0) == learned([1_000_000] * (MIN_SAMPLES - 1)).quantiles_us(0)


def test_a_quarter_needed_less() -> None:
    """
    The lower figure is one that three of four calls reach; a few very slow ones move neither.
    """
    assert (100, 10_000_000) == learned([100] * 32 + [10_000_000] * 32).quantiles_us(0)
    assert (10_000_000, 10_000_000) == learned([100] * 8 + [10_000_000] * 56).quantiles_us(0)
    assert (100, 100) == learned([100] * 62 + [10_000_000] * 2).quantiles_us(0)


def test_old_successes_are_forgotten() -> None:
    """
    A backend that was slow is tried again once its last successes are old, even if nothing works meanwhile.
    """
    recent = learned([5_000_000] * SAMPLES)

    assert (5_000_000, 5_000_000) == recent.quantiles_us(WINDOW_US)
    assert (0, 0) == recent.quantiles_us(WINDOW_US + 1)


@given(st.lists(st.integers(0, 10**9), min_size=SAMPLES, max_size=4 * SAMPLES))
def test_only_the_latest_count(durations: list[int]) -> None:
    """
    However many calls worked, the figure lies among the latest, and at most so many are kept.
    """
    recent = learned(durations)
    # Up to eight newer ones may not be counted yet.
    latest = sorted(durations[-SAMPLES - 8 :])

    low_us, high_us = recent.quantiles_us(0)

    assert latest[0] <= low_us <= high_us <= latest[-1]
    assert SAMPLES == len(recent._samples)


def test_calls_that_were_cut_off_raise_what_is_enough() -> None:
    """
    Where long calls are cut off, the 95th percentile rises past the time they had; the lower quartile stays.
    """
    recent = learned([100] * 56)
    for _ in range(8):
        recent.add(0, 200, worked=False)

    assert (100, 250) == recent.quantiles_us(0)


def test_a_backend_that_hangs_says_nothing() -> None:
    """
    Calls that were cut off, and none that worked, turn nobody away.
    """
    recent = RecentDurations()
    for _ in range(SAMPLES):
        recent.add(0, 1_000_000, worked=False)

    assert (0, 0) == recent.quantiles_us(0)
