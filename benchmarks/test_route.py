"""
`Route` over gRPC, beside a bare grpc.aio echo of the same messages: same client, same run, each server in its own process.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import grpc.aio
import pytest

from harness import Arm, Beside, Compare, Served, at_least, at_most, served
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2, routing_pb2, routing_pb2_grpc
from processes import cpu_seconds


QUESTION = routing_pb2.RouteRequest(
    messages=[common_pb2.Message(role="user", content="Why?")],
    scopes=common_pb2.Scopes(session="s-1", workflow="w-1"),
    detail=routing_pb2.DETAIL_HOPS,
)


Stub: TypeAlias = "routing_pb2_grpc.RoutingServiceAsyncStub"  # known to type checkers only


def calls(stub: Stub, in_flight: int) -> Arm:
    """
    Ask *n* times, *in_flight* at a time.
    """

    async def ask(n: int) -> None:
        for _ in range(n):
            await stub.Route(QUESTION)

    async def arm(n: int) -> None:
        each = -(-n // in_flight)
        await asyncio.gather(*(ask(each) for _ in range(in_flight)))

    return arm


def latency(stub: Stub) -> Arm:
    """
    Ask *n* times, one after the other, and give the median time of a call.
    """

    async def arm(n: int) -> float:
        took = []
        for _ in range(n):
            began = time.perf_counter_ns()
            await stub.Route(QUESTION)
            took.append(time.perf_counter_ns() - began)

        return statistics.median(took)

    return arm


async def stub_at(server: Served) -> Stub:
    """
    Connect to *server*.
    """
    return routing_pb2_grpc.RoutingServiceStub(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))


@contextmanager
def routed_and_echo(compare: Compare, folder: Path, *options: str) -> Iterator[tuple[Served, Served]]:
    """
    Serve three hops, store on and spans built, and beside it an echo of the reply that they give.
    """

    async def one_reply(stub: Stub) -> routing_pb2.RouteResponse:
        return await stub.Route(QUESTION)

    with served("route_server.py", str(folder), *options) as routed:
        reply = compare.run(one_reply(compare.run(stub_at(routed))))
        with served("echo_server.py", first_line=reply.SerializeToString().hex() + "\n") as echo:
            yield routed, echo


def test_route_alone(compare: Compare, tmp_path: Path) -> None:
    """
    How much longer does `Route` take, three hops, detail HOPS, store on and spans built, than a bare echo of its messages?
    """
    with routed_and_echo(compare, tmp_path) as servers:
        routed, echo = (compare.run(stub_at(server)) for server in servers)
        compare(latency(routed), latency(echo), at_most(1.15), seconds=0.2)


def test_route_in_flight(compare: Compare, tmp_path: Path) -> None:
    """
    How much of a bare echo's throughput has `Route`, 32 in flight, three hops, detail HOPS, store on and spans built?
    """
    with routed_and_echo(compare, tmp_path) as servers:
        routed, echo = (compare.run(stub_at(server)) for server in servers)
        used = [partial(cpu_seconds, server.pid) for server in servers]
        work = Beside("requests per server CPU-second", at_least(0.80), used[0], used[1])
        compare(calls(routed, 32), calls(echo, 32), at_least(0.80), counts="throughput", seconds=0.5, beside=[work])


def test_route_exporting(compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    How much of a bare echo's throughput has `Route`, 32 in flight, store on, where every span goes over OTLP to a receiver?
    """
    # None is to be dropped: then it would not be measured.
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1000000")
    with served("otlp_receiver.py") as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.port}")
        with routed_and_echo(compare, tmp_path, "export") as servers:
            routed, echo = (compare.run(stub_at(server)) for server in servers)
            used = [partial(cpu_seconds, server.pid) for server in servers]
            work = Beside("requests per server CPU-second", at_least(0.60), used[0], used[1])
            compare(calls(routed, 32), calls(echo, 32), at_least(0.60), counts="throughput", seconds=0.5, beside=[work])


def test_route_with_budgets(compare: Compare, tmp_path: Path) -> None:
    """
    How much of its throughput has `Route`, 32 in flight, where walks draw on a session's and a workflow's budget in memory?
    """
    with (
        served("route_server.py", str(tmp_path / "with"), "budgets") as with_budgets,
        served("route_server.py", str(tmp_path / "without")) as without,
    ):
        capped, free = compare.run(stub_at(with_budgets)), compare.run(stub_at(without))
        compare(calls(capped, 32), calls(free, 32), at_least(0.90), counts="throughput", seconds=0.5)
