"""
More load than a model can take, with nothing declared in the graph: a real server, a real model server, real callers.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from meshwalk.model.problems import MeshwalkError
from meshwalk.wire.client import Client
from overload import Load, measure, model_counts, overloaded


pytestmark = [pytest.mark.slow, pytest.mark.process]

# 40 answers a second, which both the places of the model and the connections to it allow.
LOAD = Load(places=10, seconds=0.25, deadline="30s")


@pytest.mark.timeout(120)
def test_ten_times_the_load_leaves_the_goodput() -> None:
    """
    As many are answered as at full load; the others hear of it at once, pay nothing, and never reach the model.
    """
    with overloaded(LOAD) as (pid, port, _):
        one = asyncio.run(measure(pid, port, LOAD.capacity, 6, 1))
    with overloaded(LOAD) as (pid, port, model):
        ten = asyncio.run(measure(pid, port, LOAD.capacity * 10, 12, 4))
        came, answered, peak = model_counts(model)

    assert {"ANSWERED", "REFUSED"} == set(ten.words)
    assert ten.goodput >= 0.9 * one.goodput
    assert ten.refused_ms <= 50
    assert 0 == ten.refused_nano_usd
    assert ten.answered == answered == came
    assert 100 == peak
    assert ten.memory_mb[1] <= 1.2 * ten.memory_mb[0]


@pytest.mark.timeout(120)
def test_calls_that_come_while_the_server_stands_still_are_answered() -> None:
    """
    However many wait when it goes on, each hears an answer or a refusal that may be sent again, and none is cancelled.
    """
    with overloaded(LOAD) as (pid, port, _):
        words = asyncio.run(waiting(pid, port, 4_000))

    assert 4_000 == sum(words.values())
    assert {"ANSWERED", "REFUSED", "TooManyWalks"} >= set(words)


async def waiting(pid: int, port: int, count: int) -> Counter[str]:
    """
    Send *count* requests to a server that is stopped, let it go on, and count the ends.
    """

    async def ask(client: Client) -> str:
        try:
            return (await client.route("Why?", timeout=60)).outcome.name
        except MeshwalkError as error:
            return f"{type(error).__name__}" if error.retryable else f"{type(error).__name__}: {error}"

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(f"127.0.0.1:{port}")) for _ in range(8)]
        await asyncio.gather(*(client.route("Why?") for client in clients))
        os.kill(pid, signal.SIGSTOP)
        try:
            asked = [asyncio.create_task(ask(clients[number % len(clients)])) for number in range(count)]
            # The kernel takes them, since nobody else does.
            await asyncio.sleep(2)
        finally:
            os.kill(pid, signal.SIGCONT)

        return Counter(await asyncio.gather(*asked))
