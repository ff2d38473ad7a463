"""
What a round trip to a vault costs: one hold settled and the next taken, in a session and a workflow at once.
"""

from __future__ import annotations

import shutil
import statistics
import time
from itertools import count
from pathlib import Path

import pytest
import redis.asyncio

from harness import Compare, each_awaited
from harness.redis_server import RedisServer
from meshwalk.budgets import Need, Reservation, Scope, Settlement
from meshwalk.budgets.vaults import Vault
from meshwalk.budgets.vaults.redis import RedisVault
from meshwalk.model import Amount, Caps


SCOPES = (
    Scope("bench", "session", "s-1", 3_600_000_000, Caps(cost_nano_usd=10**15)),
    Scope("bench", "workflow", "w-1", None, Caps(cost_nano_usd=10**15, calls=10**12)),
)
NEED = Need(1_000_000, 100, 100, 1, 1)
SPENT = Amount(400_000, 60, 30, 1, 1)


def test_a_redis_round_trip(compare: Compare, tmp_path: Path) -> None:
    """
    How much longer does it take to settle one hold in Redis and take the next, than a bare PING by redis-py?
    """
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server on the PATH; on Debian: apt-get install redis-server")
    took: list[int] = []

    async def opened() -> RedisVault:
        return await RedisVault.open(server.url)

    async def exchange() -> None:
        began = time.perf_counter_ns()
        number = next(numbers)
        await settled_and_held(vault, number)
        took.append(time.perf_counter_ns() - began)

    numbers = count(1)
    with RedisServer(tmp_path) as server:
        vault, bare = compare.run(opened()), redis.asyncio.Redis(port=server.port)
        compare(
            each_awaited(exchange),
            each_awaited(bare.ping),
            None,
            note=lambda: f"p50 of a round trip: {statistics.median(took) / 1000:.0f} us",
        )
        compare.run(vault.aclose())
        compare.run(bare.aclose())


async def settled_and_held(vault: Vault, number: int) -> None:
    """
    Settle hold *number* and take the next.
    """
    answer = await vault.exchange(
        Settlement("bench", f"walk.{number}", SPENT), Reservation(f"walk.{number + 1}", SCOPES, NEED, 60_000_000)
    )
    assert answer.refusal is None
