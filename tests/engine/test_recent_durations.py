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
    assert 0 == learned([1_000_000] * (MIN_SAMPLES - 1)).lower_quartile_us(0)


def test_a_quarter_needed_less() -> None:
    """
    The figure is one that three of four calls reach; a few very slow ones do not move it.
    """
    assert 100 == learned([100] * 32 + [10_000_000] * 32).lower_quartile_us(0)
    assert 10_000_000 == learned([100] * 8 + [10_000_000] * 56).lower_quartile_us(0)


def test_old_successes_are_forgotten() -> None:
    """
    A backend that was slow is tried again once its last successes are old, even if nothing works meanwhile.
    """
    recent = learned([5_000_000] * SAMPLES)

    assert 5_000_000 == recent.lower_quartile_us(WINDOW_US)
    assert 0 == recent.lower_quartile_us(WINDOW_US + 1)


@given(st.lists(st.integers(0, 10**9), min_size=SAMPLES, max_size=4 * SAMPLES))
def test_only_the_latest_count(durations: list[int]) -> None:
    """
    However many calls worked, the figure lies among the latest, and at most so many are kept.
    """
    recent = learned(durations)
    # Up to eight newer ones may not be counted yet.
    latest = sorted(durations[-SAMPLES - 8 :])

    assert latest[0] <= recent.lower_quartile_us(0) <= latest[-1]
    assert SAMPLES == len(recent._samples)
