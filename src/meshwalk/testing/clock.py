"""
A clock that goes on when a test says so.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from anyio.lowlevel import checkpoint


class FakeClock:
    """
    A clock for `Mesh(clock=…)` that stands still until `advance` or `sleep` moves it.

    Attributes:
        sleeps: The seconds of each sleep, in order; a sleep ends at once.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.sleeps: list[float] = []
        self._start_ns = round(start.timestamp() * 1e9)
        self._passed_ns = 0

    def advance(self, time: timedelta | float) -> None:
        """
        Let *time* pass at once; a number is seconds.
        """
        self._passed_ns += round((time.total_seconds() if isinstance(time, timedelta) else time) * 1e9)

    def monotonic_ns(self) -> int:
        """
        Return nanoseconds since the clock was made.
        """
        return self._passed_ns

    def unix_ns(self) -> int:
        """
        Return nanoseconds since the Unix epoch.
        """
        return self._start_ns + self._passed_ns

    async def sleep(self, seconds: float, /) -> None:
        """
        Let *seconds* pass at once.
        """
        self.sleeps.append(seconds)
        self.advance(seconds)
        await checkpoint()

    def __repr__(self) -> str:
        return f"<FakeClock {self._passed_ns / 1e9:g} s after its start, {len(self.sleeps)} sleeps>"
