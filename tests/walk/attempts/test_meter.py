"""
An allowance by the minute: how fast it fills, what waits, and what is paid back.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshwalk.walk.attempts import Meter


MINUTE = 60_000_000


class TestMeter:
    def test_a_burst_of_a_minute_is_let_through(self) -> None:
        """
        After a quiet while a whole minute's worth may be taken at once, and then one for each part of a minute.
        """
        meter = Meter(60)
        meter.take(5, 60)

        assert [1_000_005, 2_000_005, 60_000_005] == [meter.free_at_us(5, amount) for amount in (1, 2, 60)]
        assert 0 == meter.by(5, 5)
        assert 3 == meter.by(5, 3_000_005)

    def test_what_is_more_than_a_minutes_worth_waits_for_all_of_it(self) -> None:
        """
        A call larger than the allowance goes through when the bucket is full, and what comes after pays for it.
        """
        meter = Meter(100)

        assert 0 == meter.free_at_us(0, 250)
        meter.take(0, 250)
        assert 2.5 * MINUTE == meter.free_at_us(0, 250)
        assert 1.5 * MINUTE + MINUTE // 100 == meter.free_at_us(0, 1)

    def test_what_was_not_used_is_given_back(self) -> None:
        """
        A correction makes room at once, and one upwards takes it.
        """
        meter = Meter(100)
        meter.take(0, 100)
        meter.correct(0, 100, 40)
        assert 60 == meter.by(0, 0)

        meter.correct(0, 40, 200)
        assert MINUTE + MINUTE // 100 == meter.free_at_us(0, 1)

    def test_a_clock_that_stands_still_does_no_harm(self) -> None:
        """
        A moment before the last one is taken for that.
        """
        meter = Meter(60)
        meter.take(1_000, 60)
        meter.take(500, 1)

        assert 2_001_000 == meter.free_at_us(1_000, 1)


class TestLaws:
    @given(
        per_minute=st.integers(1, 10_000),
        wants=st.lists(st.tuples(st.integers(0, 2 * MINUTE), st.integers(0, 12_000)), max_size=30),
    )
    def test_no_time_sees_more_than_its_share(self, per_minute: int, wants: list[tuple[int, int]]) -> None:
        """
        Over any stretch no more begins than one minute's worth and what the stretch fills; and a call that waits until
        `free_at_us` is in time, and no later than need be.
        """
        meter, at = Meter(per_minute), 0
        taken: list[tuple[int, int]] = []
        for gap, amount in wants:
            want = min(amount, per_minute)
            at += gap
            free = meter.free_at_us(at, want)
            assert (want <= meter.by(at, at)) == (free == at)
            assert free == at or meter.free_at_us(free - 1, want) == free
            assert want <= meter.by(at, free)
            at = free
            meter.take(at, want)
            taken.append((at, want))
            for since, _ in taken:
                used = sum(amount for when, amount in taken if when >= since)
                assert used * MINUTE <= per_minute * (MINUTE + at - since)
