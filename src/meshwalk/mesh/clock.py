"""
The time that a mesh goes by, as one object that tests can replace.

It times walks, limits and caches, dates their records, and waits between retries.  Timeouts of calls run in real time.
"""

from __future__ import annotations

import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """
    A source of time; `meshwalk.testing.FakeClock` is one for tests.
    """

    def monotonic_ns(self) -> int:
        """
        Return nanoseconds that never go back.
        """
        ...

    def unix_ns(self) -> int:
        """
        Return nanoseconds since the Unix epoch.
        """
        ...

    async def sleep(self, seconds: float, /) -> None:
        """
        Wait.
        """
        ...


class SystemClock:
    """
    The clock of this machine.
    """

    monotonic_ns = staticmethod(time.perf_counter_ns)
    unix_ns = staticmethod(time.time_ns)
    sleep = staticmethod(anyio.sleep)
