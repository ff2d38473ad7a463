"""
A server as a process: idle connections, floods, and callers that wait while it is held up.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc.aio
import orjson
import pytest

from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2, routing_pb2


pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads /proc"),
]

ROUTE = "/meshwalk.v1beta1.RoutingService/Route"
CHECK = "/grpc.health.v1.Health/Check"
REQUEST = routing_pb2.RouteRequest(messages=[common_pb2.Message(role="user", content="hi")]).SerializeToString()
GRAPH = """
meshwalk: 1
name: alone
start: only
backends:
  one: {kind: simulated}
nodes:
  only: {role: primary, backend: one, next: done}
"""


@asynccontextmanager
async def serving(
    folder: Path, prepare: Callable[[], None] | None = None
) -> AsyncIterator[tuple[subprocess.Popen[bytes], int]]:
    """
    Serve a graph from a process of its own; yield the process and its port.
    """
    graph = folder / "alone.yaml"
    graph.write_text(GRAPH, encoding="utf-8")
    words = [sys.executable, "-m", "meshwalk", "serve", str(graph), "--listen", "127.0.0.1:0", "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, preexec_fn=prepare)  # noqa: ASYNC220, PLW1509 (ours)
    assert process.stdout is not None
    try:
        ready = orjson.loads(await asyncio.to_thread(process.stdout.readline))
        yield process, int(str(ready["address"]).rpartition(":")[2])
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
        process.stdout.close()


def channel_to(port: int) -> grpc.aio.Channel:
    """
    Open a connection of its own.
    """
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=(("grpc.use_local_subchannel_pool", 1),))


def peak_mib(process: subprocess.Popen[bytes]) -> int:
    """
    Return the most memory that *process* ever had, in MiB.
    """
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()

    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) >> 10


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1_500, reason="it opens 1,100 connections itself")
async def test_idle_connections_leave_callers_served(tmp_path: Path) -> None:
    """
    Where a process may open 1,024 files, 1,100 idle connections shut nobody off who is connected, and new callers wait for
    some seconds.
    """
    async with serving(tmp_path, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, 1_024))) as (_, port):
        sockets: list[socket.socket] = []
        async with channel_to(port) as connected:
            route: Any = connected.unary_unary(ROUTE)
            await route(REQUEST)
            try:
                for _ in range(1_100):
                    sockets.append(socket.socket())
                    sockets[-1].setblocking(False)
                    sockets[-1].connect_ex(("127.0.0.1", port))
                for _ in range(20):
                    await route(REQUEST, timeout=5)
                async with channel_to(port) as late:
                    of_late: Any = late.unary_unary(ROUTE)
                    await of_late(REQUEST, timeout=30, wait_for_ready=True)
            finally:
                for idle in sockets:
                    idle.close()


async def test_callers_wait_out_a_process_that_is_held_up(tmp_path: Path) -> None:
    """
    Thousands of calls that come while a process stands still are all answered when it goes on, and none is dropped.
    """
    async with serving(tmp_path) as (process, port):
        channels = [channel_to(port) for _ in range(3)]
        routes: list[Any] = [channel.unary_unary(ROUTE) for channel in channels]
        for route in routes:
            await route(REQUEST)
        process.send_signal(signal.SIGSTOP)
        calls = [asyncio.ensure_future(routes[number % 3](REQUEST, timeout=60)) for number in range(3_600)]
        # Once this has passed the calls have been sent: the kernel takes them, and the process none.
        await asyncio.wait(calls, timeout=2)
        process.send_signal(signal.SIGCONT)
        results = await asyncio.gather(*calls, return_exceptions=True)
        for channel in channels:
            await channel.close()
    codes = Counter(result.code() if isinstance(result, grpc.aio.AioRpcError) else "answered" for result in results)

    assert {"answered": 3_600} == codes


async def test_floods_cost_little(tmp_path: Path) -> None:
    """
    Requests of 2 MB of the smallest elements cost no more than 64 MiB together, are answered within a second, and pings beside
    them are answered at once.
    """
    floods = [unit * (2_090_000 // len(unit)) for unit in (b"\x1a\x00", b"\x4a\x00", b"\x2a\x00", b"\x22\x00", b"\xf8\x07\x00")]
    floods += [REQUEST * (2_090_000 // len(REQUEST))]
    async with serving(tmp_path) as (process, port), channel_to(port) as flooding, channel_to(port) as pinging:
        ping: Any = pinging.unary_unary(CHECK)
        route: Any = flooding.unary_unary(ROUTE)
        await route(REQUEST)
        await ping(b"")
        before, ended, pings = peak_mib(process), asyncio.Event(), list[float]()

        async def keep_pinging() -> None:
            while not ended.is_set():
                began = perf_counter()
                await ping(b"")
                pings.append(perf_counter() - began)

        beside = asyncio.create_task(keep_pinging())
        seconds: list[float] = []
        for flood in floods:
            began = perf_counter()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await route(flood, timeout=60)
            assert grpc.StatusCode.RESOURCE_EXHAUSTED is caught.value.code()
            seconds.append(perf_counter() - began)
        ended.set()
        await beside
        more = peak_mib(process) - before

    assert more <= 64
    # Both are a tenth of this on a machine that does nothing else.
    assert max(seconds) < 1
    assert max(pings) < 0.5
