"""
`meshwalk serve --workers`: what several processes behind one port cost, and who does the work.

CPU time is the kernel's count over all server-side processes, the supervisor's too.  Every round opens channels of its own, so
that the split is decided anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc.aio
import pytest

from harness import ROUNDS, Arm, Compare, at_least, middle
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2, routing_pb2_grpc
from processes import cpu_seconds
from test_route import QUESTION
from three_hops import BUDGETS, FEATURES, TEXT


CHANNELS = 16
# For each worker: who shares the work shares no less of it, and what is done for many at once is done for as many.
IN_FLIGHT = 32


class Fleet(NamedTuple):
    """
    Know a server by its first process, its workers and its port.
    """

    pid: int
    workers: list[int]
    port: int


@contextmanager
def serving(folder: Path, workers: int, *, budgets: bool) -> Iterator[Fleet]:
    """
    Run `meshwalk serve` with its store on, and with shared budgets that every walk draws on or without.
    """
    folder.mkdir()
    graph = folder / "three-hops.yaml"
    graph.write_bytes(TEXT.replace(b"USE", FEATURES) + (BUDGETS if budgets else b""))
    kept = ("--traces", str(folder / "traces"), "--vault", f"sqlite:{folder / 'vault.sqlite'}")
    words = ("--listen", "127.0.0.1:0", "--workers", str(workers), *kept, "--json")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with subprocess.Popen(
        (sys.executable, "-m", "meshwalk", "serve", str(graph), *words),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        try:
            yield Fleet(process.pid, ready["pids"], ready["port"])
        finally:
            process.terminate()


async def ask(port: int, n: int, in_flight: int) -> None:
    """
    Route *n* requests over channels that share no connection.
    """
    async with AsyncExitStack() as stack:
        own = (("grpc.use_local_subchannel_pool", 1),)
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=own))
            for _ in range(CHANNELS)
        ]
        stubs: list[routing_pb2_grpc.RoutingServiceAsyncStub] = [routing_pb2_grpc.RoutingServiceStub(one) for one in channels]

        async def some(stub: routing_pb2_grpc.RoutingServiceAsyncStub) -> None:
            for _ in range(-(-n // in_flight)):
                answer: routing_pb2.RouteResponse = await stub.Route(QUESTION)
                assert answer.path

        await asyncio.gather(*(some(stubs[number % CHANNELS]) for number in range(in_flight)))


def cpu_time(fleet: Fleet, shares: list[float]) -> Arm:
    """
    Make an arm that answers with the CPU nanoseconds a request takes on the server's side, and keeps the least worker's share.
    """

    async def arm(n: int) -> float:
        before, each = cpu_seconds(fleet.pid), [cpu_seconds(pid) for pid in fleet.workers]
        in_flight = IN_FLIGHT * len(fleet.workers)
        await ask(fleet.port, n, in_flight)
        took = [cpu_seconds(pid) - begun for pid, begun in zip(fleet.workers, each, strict=True)]
        shares.append(min(took) / sum(took) if sum(took) else 0)
        asked = in_flight * -(-n // in_flight)

        return (cpu_seconds(fleet.pid) - before) * 1e9 / asked

    return arm


@pytest.mark.parametrize("budgets", [False, True], ids=["one store", "one store and one vault that every walk draws on"])
def test_two_workers(compare: Compare, tmp_path: Path, budgets: bool) -> None:
    """
    How many requests a CPU-second do two workers serve, for each that one serves?
    """
    shares: list[float] = []
    with ExitStack() as stack:
        one = stack.enter_context(serving(tmp_path / "one", 1, budgets=budgets))
        two = stack.enter_context(serving(tmp_path / "two", 2, budgets=budgets))
        compare(cpu_time(two, shares), cpu_time(one, []), at_least(0.9), counts="throughput", seconds=0.8)
    if compare.timed:
        kept = "with budgets" if budgets else "without budgets"
        measured, spread = middle(shares[-ROUNDS:])
        question = f"What share of the work does the less busy of two workers do, over {CHANNELS} channels?"
        compare.tell(f"split between two workers, {kept}", f"{question} ({kept})", at_least(0.4), measured, spread, ROUNDS)
