"""
What is left of walks when they have ended: nothing in memory, whoever records them.

What Python allocated is counted, so that texts in a dictionary count as much as objects do.
"""

from __future__ import annotations

import gc
import statistics
import tracemalloc
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import anyio.lowlevel
import pytest

from meshwalk.mesh import Mesh
from meshwalk.records.store import TraceWriter
from meshwalk.server import serve
from meshwalk.wire.client import Client
from three_hops import REQUEST, building_spans, plan


pytestmark = pytest.mark.anyio

PLAN = plan(features=True)

# What is left for good would be one object at the least; less is noise, such as the cursors that SQLite has not swept yet.
MIN_BYTES = 48

Act = Callable[[], Awaitable[object]]


async def left_by_each(act: Act, settle: Act, *, count: int) -> float:
    """
    Return how many bytes each of *count* acts leaves, in the middle one of five goes.

    What is under way between two goes differs by some thousand bytes; what is left for good is left by every one.
    """

    async def held(times: int) -> int:
        for _ in range(times):
            await act()
        await settle()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        marks = [await held(count) for _ in range(7)][1:]
        return statistics.median(after - before for before, after in pairwise(marks)) / count
    finally:
        tracemalloc.stop()


class TestMemory:
    @pytest.mark.slow
    async def test_a_walk_leaves_nothing(self, tmp_path: Path) -> None:
        """
        Walks that were stored and traced hold no memory.
        """
        store, telemetry = TraceWriter(tmp_path), building_spans()
        async with Mesh(PLAN, sinks=[store, telemetry]) as mesh:

            async def written() -> None:
                await store.flush()
                await telemetry.flush()

            left = await left_by_each(lambda: mesh.walk(REQUEST), written, count=200)

        await telemetry.aclose()
        await store.aclose()
        assert left < MIN_BYTES

    @pytest.mark.slow
    async def test_a_call_leaves_nothing(self) -> None:
        """
        Calls over gRPC, with all hops asked for, hold no memory of the server's or the client's.
        """
        async with Mesh(PLAN) as mesh, serve([mesh]) as server, Client(f"127.0.0.1:{server.port}") as client:
            left = await left_by_each(lambda: client.route("Why?", detail="HOPS"), anyio.lowlevel.checkpoint, count=100)

        assert left < MIN_BYTES
