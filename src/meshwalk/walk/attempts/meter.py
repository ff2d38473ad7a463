"""
A token bucket in whole numbers: the rest of an allowance by the minute.

The bucket holds one minute's worth and fills evenly.  Providers count by fixed minutes or by such a bucket of their own, and
either takes a burst of a minute's worth after a quiet while; a bucket of one second's worth would hold back what they would
take.  In the worst minute, a burst and all that is filled meanwhile, twice the allowance may be used; what a provider then
refuses it answers with 429, and the endpoint rests.

Invariants:

1. Over any time, no more is taken than one minute's worth and what that time fills, but for what ends larger than it began.
2. A call that waits until `free_at_us` finds what it needs, if nobody else takes it.
3. A call that alone needs more than a minute's worth is let through on a full bucket, and paid back before anything else is.
"""

from __future__ import annotations


_MINUTE_US = 60_000_000


class Meter:
    """
    A bucket that fills by *per_minute*.
    """

    __slots__ = ("_at_us", "_owed", "per_minute")

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        # The amount taken and not filled up yet, in parts of which a microsecond fills `per_minute`, so that all stays whole.
        self._owed = 0
        self._at_us = 0

    def free_at_us(self, at_us: int, amount: int) -> int:
        """
        Return when *amount* may be taken, from *at_us* on.
        """
        lacking = self._owing(at_us) + (min(amount, self.per_minute) - self.per_minute) * _MINUTE_US

        return at_us if lacking <= 0 else at_us - (-lacking // self.per_minute)

    def by(self, at_us: int, until_us: int) -> int:
        """
        Return the whole amount that may be taken between *at_us* and *until_us*.
        """
        filled = self.per_minute * (_MINUTE_US + max(0, until_us - at_us))

        return max(0, filled - self._owing(at_us)) // _MINUTE_US

    def take(self, at_us: int, amount: int) -> None:
        """
        Take *amount*, which may be more than there is.
        """
        self._owed = self._owing(at_us) + amount * _MINUTE_US
        self._at_us = max(at_us, self._at_us)

    def correct(self, at_us: int, taken: int, used: int) -> None:
        """
        Replace what was *taken* by what was *used*.
        """
        self._owed = max(0, self._owing(at_us) + (used - taken) * _MINUTE_US)
        self._at_us = max(at_us, self._at_us)

    def _owing(self, at_us: int) -> int:
        return max(0, self._owed - self.per_minute * max(0, at_us - self._at_us))
