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
    assert (0, 0) == learned([1_000_000] * (MIN_SAMPLES - 1)).needed_us(0, 0)


def test_a_quarter_needed_less() -> None:
    """
    The lower figure is one that three of four calls reach; a few very slow ones move neither.
    """
    assert (100, 10_000_000) == learned([100] * 32 + [10_000_000] * 32).needed_us(0, 0)
    assert (10_000_000, 10_000_000) == learned([100] * 8 + [10_000_000] * 56).needed_us(0, 0)
    assert (100, 100) == learned([100] * 62 + [10_000_000] * 2).needed_us(0, 0)


def test_old_successes_are_forgotten() -> None:
    """
    A backend that was slow is tried again once its last successes are old, even if nothing works meanwhile.
    """
    recent = learned([5_000_000] * SAMPLES)

    assert (5_000_000, 5_000_000) == recent.needed_us(WINDOW_US, 0)
    assert (0, 0) == recent.needed_us(WINDOW_US + 1, 0)


@given(st.lists(st.integers(0, 10**9), min_size=SAMPLES, max_size=4 * SAMPLES))
def test_only_the_latest_count(durations: list[int]) -> None:
    """
    However many calls worked, the figure lies among the latest, and at most so many are kept.
    """
    recent = learned(durations)
    # Up to eight newer ones may not be counted yet.
    latest = sorted(durations[-SAMPLES - 8 :])

    low_us, high_us = recent.needed_us(0, 0)

    assert latest[0] <= low_us <= high_us <= latest[-1]
    assert SAMPLES == len(recent._samples)


def test_calls_that_were_cut_off_raise_what_is_enough() -> None:
    """
    Where long calls are cut off, the 95th percentile rises past the time they had; the lower quartile stays.
    """
    recent = learned([100] * 56)
    for _ in range(8):
        recent.add(0, 200, worked=False)

    assert (100, 250) == recent.needed_us(0, 0)


def test_a_backend_that_hangs_says_nothing() -> None:
    """
    Calls that were cut off, and none that worked, turn nobody away.
    """
    recent = RecentDurations()
    for _ in range(SAMPLES):
        recent.add(0, 1_000_000, worked=False)

    assert (0, 0) == recent.needed_us(0, 0)


def crowded() -> RecentDurations:
    """
    Make calls of which half were cut off after 2 s, beside 100 others, and half worked in as long.
    """
    recent = RecentDurations()
    for number in range(64):
        recent.add(0, 2_000_000, worked=number % 2 == 0, under_way=100)

    return recent


def test_a_crowded_backend_gets_fewer_calls() -> None:
    """
    Where many calls are cut off a call is given time in proportion to those it would share the backend with.
    """
    recent = crowded()
    needed = [recent.needed_us(0, under_way)[0] for under_way in (9, 19, 49, 99)]

    # 2.5 s, and spare time, beside 99 others.
    assert [350_000, 700_000, 1_750_000, 3_500_000] == needed


def test_a_few_calls_are_always_let_through() -> None:
    """
    However crowded it was, calls to a backend that has hardly any are begun, so that something is learned again.
    """
    assert 2_000_000 == crowded().needed_us(0, 3)[0]


def test_it_stays_crowded_while_calls_are_refused() -> None:
    """
    The end of the crowd is known by a while in which nobody was cut off or refused, not by the lack of cut-offs alone.
    """
    recent, at = crowded(), 0
    for _ in range(10):
        at += WINDOW_US // 2
        for _ in range(SAMPLES):
            recent.add(at, 1_000_000, under_way=50)
        recent.refused(at)
    still = recent.needed_us(at, 99)[0]
    for _ in range(SAMPLES):
        recent.add(at + WINDOW_US, 1_000_000, under_way=50)

    assert 2_800_000 == still
    assert 1_000_000 == recent.needed_us(at + WINDOW_US, 99)[0]
