"""
The circuit breaker of one endpoint: whether it is called, or left alone for a while.

Closed, every call goes through.  It opens after so many failures in a row, or when too great a share of the calls in the last
while failed (Envoy calls that outlier ejection).  Then it is left alone; once that time is over it is half open and lets one
call at a time through, as a probe.  A good probe closes it, and a bad one opens it again for twice as long.

A call tells one of three things about an endpoint: good (it replied, or refused this one request), bad (it could not be
reached, was overloaded, too slow, or replied with nonsense), or neither (the call was cancelled, or asked to come later).

Invariants:

1. Open, it admits nothing; half open, never a second probe beside one under way.
2. A call tells only of the time in which it began: what began before it opened or closed changes nothing after.
3. Failures in a row always open it.  A share of failures opens it only while the pool can spare the endpoint: otherwise a few
   flaws in every endpoint would leave the backend with none.
4. The share is that of the calls that ended within the last `window`, give or take a tenth of it.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

from meshwalk.model import Breaker


State = Literal["closed", "open", "half_open"]

# A bad probe doubles how long it is left alone, up to this many times.
_LONGEST = 6

# The window is counted in slices, so that a busy endpoint takes no more memory than a quiet one.
_SLICES = 10


class Ticket(NamedTuple):
    """
    The beginning of a call: its era, and whether it is a probe.
    """

    era: int
    probe: bool


class Circuit:
    """
    The breaker of one endpoint.
    """

    __slots__ = ("_calls", "_era", "_failed", "_in_a_row", "_open_until_us", "_opened", "_probing", "_rules", "_slices")

    def __init__(self, rules: Breaker) -> None:
        self._rules = rules
        self._era = 0
        self._probing = False
        # When it is half open; None while it is closed.
        self._open_until_us: int | None = None
        # The times it has opened since it was closed.
        self._opened = 0
        self._in_a_row = 0
        # (slice, calls, failed) of the window, and their sums.
        self._slices: deque[tuple[int, int, int]] = deque()
        self._calls = self._failed = 0

    def state(self, at_us: int) -> State:
        """
        Return its state at *at_us*.
        """
        if self._open_until_us is None:
            return "closed"

        return "open" if at_us < self._open_until_us else "half_open"

    @property
    def is_closed(self) -> bool:
        """
        Tell whether calls go through, and none of them is a probe.
        """
        return self._open_until_us is None

    def admits(self, at_us: int) -> bool:
        """
        Tell whether a call may begin at *at_us*.
        """
        return self._open_until_us is None or (at_us >= self._open_until_us and not self._probing)

    @property
    def probe_at_us(self) -> int | None:
        """
        Return the time from which the next call is let through as a probe; None if none is due, or one is under way.
        """
        return None if self._probing else self._open_until_us

    def begin(self) -> Ticket:
        """
        Begin a call that is admitted.
        """
        probe = self._open_until_us is not None
        self._probing = self._probing or probe

        return Ticket(self._era, probe)

    def end(self, ticket: Ticket, at_us: int, *, good: bool | None, spare: bool) -> None:
        """
        Count the end of a call; None is neither good nor bad.

        Args:
            spare: Whether the backend has another endpoint that is well.
        """
        if ticket.era != self._era:
            return
        if ticket.probe:
            self._probing = False
        if good is None:
            return
        if ticket.probe:
            if good:
                self._close()
            else:
                self._open(at_us)
            return
        self._count(at_us, failed=not good)
        self._in_a_row = 0 if good else self._in_a_row + 1
        if not good and (self._in_a_row >= self._rules.failures or (spare and self._too_many())):
            self._open(at_us)

    def _too_many(self) -> bool:
        return self._calls >= self._rules.min_calls and self._failed > self._rules.share * self._calls

    def _count(self, at_us: int, *, failed: bool) -> None:
        slice_ = at_us // max(1, self._rules.window_us // _SLICES)
        while self._slices and self._slices[0][0] <= slice_ - _SLICES:
            _, calls, bad = self._slices.popleft()
            self._calls -= calls
            self._failed -= bad
        if self._slices and self._slices[-1][0] == slice_:
            _, calls, bad = self._slices.pop()
        else:
            calls = bad = 0
        self._slices.append((slice_, calls + 1, bad + failed))
        self._calls += 1
        self._failed += failed

    def _open(self, at_us: int) -> None:
        self._forget()
        self._open_until_us = at_us + self._rules.open_us * min(1 << min(self._opened, 8), _LONGEST)
        self._opened += 1

    def _close(self) -> None:
        self._forget()
        self._open_until_us = None
        self._opened = 0

    def _forget(self) -> None:
        self._era += 1
        self._probing = False
        self._in_a_row = self._calls = self._failed = 0
        self._slices.clear()
