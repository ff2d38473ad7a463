"""
The time that calls lately needed: the lower quartile and the 95th percentile.

By the lower quartile a call that cannot end is not begun, though a place is free.  By the 95th percentile a call leaves the
line: one that comes to a place after a wait has little time left, and the place is better given to one that will end in time.

The lower quartile is a careful choice: three of four calls lately took longer.  A median would turn away calls that have an
even chance, and where short answers and long ones mix it would turn away many more.  It counts calls that worked, since a
backend that hangs tells nothing of the time that an answer takes.  The 95th percentile counts calls that ran out of time as
somewhat longer than they were let run; else it would sink with each long call that is cut off, and cut off the more.  An old
call is forgotten, so that a backend that was slow for a while is tried again.

A backend may have fewer places than it is given calls; each call then waits there for the others, and where many are cut off
none may be left that ends in time.  So when more than a quarter were cut off the backend is taken to be crowded: a call is then
begun only if it would very likely end in time beside those under way, as long as 95 of 100 recent calls needed, in proportion
to how many they shared the backend with.  That lasts until nobody is cut off or refused any more for a while.
"""

from __future__ import annotations

from collections import deque


# The calls that are looked at, the fewest successes that say anything, and the time after which a call is forgotten.
SAMPLES = 128
MIN_SAMPLES = 20
WINDOW_US = 30_000_000

# The figures are computed anew after so many calls.
_STEP = 8

# So many calls at once do not crowd a backend.
_FEW = 4

# The time that a call beside many others is given, in hundredths of what it needs: it comes late that they are too many.
_SPARE = 140

# The least time that a call which was cut off is taken to have needed, as a multiple of the time that it had.
_CUT_OFF = 1.25


# A backend is crowded when more than one call in so many was cut off, and until fewer than one in so many were for the window.
_CROWDED, _CROWDED_STILL = 4, 32


class RecentDurations:
    """
    The durations of the latest calls of one kind, in microseconds.
    """

    __slots__ = ("_crowded_until", "_high_us", "_low_us", "_samples", "_since")

    def __init__(self) -> None:
        # When each ended, its duration, whether it worked, and how many were under way.
        self._samples: deque[tuple[int, int, bool, int]] = deque(maxlen=SAMPLES)
        self._low_us = self._high_us = 0
        self._since = 0
        # Until when the backend is taken to have more calls than it can serve.
        self._crowded_until = 0

    def add(self, at: int, duration_us: int, *, worked: bool = True, under_way: int = 1) -> None:
        """
        Take that a call ended at *at*, one of so many *under_way*; one that did not work was cut off.
        """
        self._samples.append((at, duration_us if worked else int(duration_us * _CUT_OFF), worked, max(1, under_way)))
        self._since += 1
        if self._since >= _STEP:
            self._compute(at)

    def refused(self, at: int) -> None:
        """
        Take that a call was refused at *at* for its time: a backend stays crowded while more calls come than it can serve.
        """
        if at < self._crowded_until:
            self._crowded_until = at + WINDOW_US

    def needed_us(self, at: int, under_way: int) -> tuple[int, int]:
        """
        Return the time without which a call is not begun beside so many *under_way*, and the time that it very likely ends in.

        The second is 0 while too few calls worked lately, and so is the first unless many were cut off.
        """
        samples = self._samples
        if samples and at - samples[0][0] > WINDOW_US:
            self._compute(at)
        if at >= self._crowded_until or not samples or under_way < _FEW:
            return self._low_us, self._high_us
        beside = sorted([duration * (under_way + 1) // others for _, duration, _, others in samples])

        return beside[len(beside) * 95 // 100] * _SPARE // 100, self._high_us

    def _compute(self, at: int) -> None:
        samples = self._samples
        while samples and at - samples[0][0] > WINDOW_US:
            samples.popleft()
        self._since = 0
        self._low_us = self._high_us = 0
        worked = sorted([duration for _, duration, worked, _ in samples if worked])
        cut_off = len(samples) - len(worked)
        crowded = _CROWDED_STILL if at < self._crowded_until else _CROWDED
        if worked and len(samples) >= MIN_SAMPLES and cut_off * crowded > len(samples):
            self._crowded_until = at + WINDOW_US
        if len(worked) >= MIN_SAMPLES:
            every = sorted([duration for _, duration, _, _ in samples])
            self._low_us, self._high_us = worked[len(worked) // 4], every[len(every) * 95 // 100]
