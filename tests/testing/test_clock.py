"""
The fake clock, alone and in a mesh.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from meshwalk.mesh import Mesh
from meshwalk.mesh.clock import Clock, SystemClock
from meshwalk.model.problems import Overloaded
from meshwalk.testing import FakeClock, ScriptedBackend
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

RETRYING = plan_of(
    """
    meshwalk: 1
    name: patient
    start: a
    backends:
      model: {kind: simulated}
    nodes:
      a: {role: answer, backend: model, retries: 2, deadline: 60s, next: done}
    """
)


class TestFakeClock:
    async def test_is_a_clock(self) -> None:
        """
        The fake clock and the system's have the same methods.
        """
        clocks: list[Clock] = [FakeClock(), SystemClock()]

        assert [True, True] == [clock.monotonic_ns() <= clock.monotonic_ns() for clock in clocks]

    async def test_stands_until_it_is_moved(self) -> None:
        """
        Time passes by `advance` and by `sleep` alone, on both of its scales.
        """
        start = datetime(2026, 1, 1, tzinfo=UTC)
        clock = FakeClock(start)
        clock.advance(1.5)
        clock.advance(timedelta(seconds=2))
        await clock.sleep(0.5)

        assert 4_000_000_000 == clock.monotonic_ns()
        assert start + timedelta(seconds=4) == datetime.fromtimestamp(clock.unix_ns() / 1e9, UTC)
        assert [0.5] == clock.sleeps
        assert "<FakeClock 4 s after its start, 1 sleeps>" == repr(clock)

    async def test_times_and_dates_the_walks_of_a_mesh(self) -> None:
        """
        A mesh takes latency, pauses between retries and dates from its clock.
        """
        clock = FakeClock(datetime(2026, 5, 17, tzinfo=UTC))
        busy = Overloaded("come back later", backend="model")
        backend = ScriptedBackend.replying(busy, busy, "at last")
        async with Mesh(RETRYING, backends={"model": backend}, clock=clock, chance=lambda: 0.5) as mesh:
            done = await mesh.route("Hello")

        assert ("at last", 2) == (done.answer, len(clock.sleeps))
        assert sum(clock.sleeps) * 1e6 == pytest.approx(done.latency_us)
        assert round(datetime(2026, 5, 17, tzinfo=UTC).timestamp() * 1e6) == done.traversal.began_unix_us
