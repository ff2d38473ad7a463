"""
The time that calls lately needed: the lower quartile of those that worked, by which a call that cannot end is not begun.

The lower quartile is a careful choice: three of four calls lately took longer.  A median would turn away calls that have an
even chance, and where short answers and long ones mix it would turn away many more.  Calls that failed do not count, and an
old success is forgotten, so that a backend that was slow for a while is tried again.
"""

from __future__ import annotations

from collections import deque


# The successes that are looked at, the fewest that say anything, and the time after which one is forgotten.
SAMPLES = 128
MIN_SAMPLES = 20
WINDOW_US = 30_000_000

# The quartile is computed anew after so many successes.
_STEP = 8


class RecentDurations:
    """
    The durations of the latest successful calls of one kind, in microseconds.
    """

    __slots__ = ("_lower_quartile_us", "_samples", "_since")

    def __init__(self) -> None:
        # When each ended, and its duration.
        self._samples: deque[tuple[int, int]] = deque(maxlen=SAMPLES)
        self._lower_quartile_us = 0
        self._since = 0

    def add(self, at_us: int, duration_us: int) -> None:
        """
        Add a call that worked and ended at *at_us*.
        """
        self._samples.append((at_us, duration_us))
        self._since += 1
        if self._since >= _STEP:
            self._compute(at_us)

    def lower_quartile_us(self, at_us: int) -> int:
        """
        Return the time that a quarter of the calls needed at most; 0 while too few worked lately.
        """
        samples = self._samples
        if samples and at_us - samples[0][0] > WINDOW_US:
            self._compute(at_us)

        return self._lower_quartile_us

    def _compute(self, at_us: int) -> None:
        samples = self._samples
        while samples and at_us - samples[0][0] > WINDOW_US:
            samples.popleft()
        self._since = 0
        enough = len(samples) >= MIN_SAMPLES
        self._lower_quartile_us = sorted(duration for _, duration in samples)[len(samples) // 4] if enough else 0
