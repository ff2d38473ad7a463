"""
The time that calls lately needed: the lower quartile and the 95th percentile.

By the lower quartile a call that cannot end is not begun, though a place is free.  By the 95th percentile a call leaves the
line: one that comes to a place after a wait has little time left, and the place is better given to one that will end in time.

The lower quartile is a careful choice: three of four calls lately took longer.  A median would turn away calls that have an
even chance, and where short answers and long ones mix it would turn away many more.  It counts calls that worked, since a
backend that hangs tells nothing of the time that an answer takes.  The 95th percentile counts calls that ran out of time as
somewhat longer than they were let run; else it would sink with each long call that is cut off, and cut off the more.  An old
call is forgotten, so that a backend that was slow for a while is tried again.
"""

from __future__ import annotations

from collections import deque


# The calls that are looked at, the fewest successes that say anything, and the time after which a call is forgotten.
SAMPLES = 128
MIN_SAMPLES = 20
WINDOW_US = 30_000_000

# The figures are computed anew after so many calls.
_STEP = 8

# The least time that a call which was cut off is taken to have needed, as a multiple of the time that it had.
_CUT_OFF = 1.25


class RecentDurations:
    """
    The durations of the latest calls of one kind, in microseconds.
    """

    __slots__ = ("_high_us", "_low_us", "_samples", "_since")

    def __init__(self) -> None:
        # When each ended, its duration, and whether it worked.
        self._samples: deque[tuple[int, int, bool]] = deque(maxlen=SAMPLES)
        self._low_us = self._high_us = 0
        self._since = 0

    def add(self, at: int, duration_us: int, *, worked: bool = True) -> None:
        """
        Take that a call ended at *at*; one that did not work was cut off.
        """
        self._samples.append((at, duration_us if worked else int(duration_us * _CUT_OFF), worked))
        self._since += 1
        if self._since >= _STEP:
            self._compute(at)

    def quantiles_us(self, at: int) -> tuple[int, int]:
        """
        Return the lower quartile and the 95th percentile; 0 for each while too few calls worked lately.
        """
        samples = self._samples
        if samples and at - samples[0][0] > WINDOW_US:
            self._compute(at)

        return self._low_us, self._high_us

    def _compute(self, at: int) -> None:
        samples = self._samples
        while samples and at - samples[0][0] > WINDOW_US:
            samples.popleft()
        self._since = 0
        self._low_us = self._high_us = 0
        worked = sorted([duration for _, duration, worked in samples if worked])
        if len(worked) >= MIN_SAMPLES:
            every = sorted([duration for _, duration, _ in samples])
            self._low_us, self._high_us = worked[len(worked) // 4], every[len(every) * 95 // 100]
