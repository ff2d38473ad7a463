"""
`Route` over gRPC, beside a bare grpc.aio echo of the same messages: same client, same run, each server in its own process.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc.aio
import pytest

from harness import Arm, Compare, Goal, at_most, served
from meshwalk.wire.gen.meshwalk.v1 import common_pb2, routing_pb2, routing_pb2_grpc


QUESTION = routing_pb2.RouteRequest(
    messages=[common_pb2.Message(role="user", content="Why?")],
    scopes=common_pb2.Scopes(session="s-1", workflow="w-1"),
    detail=routing_pb2.DETAIL_HOPS,
)


def calls(stub: routing_pb2_grpc.RoutingServiceAsyncStub, in_flight: int) -> Arm:
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


async def stub_at(port: int) -> routing_pb2_grpc.RoutingServiceAsyncStub:
    """
    Connect to the server at *port* of this machine.
    """
    return routing_pb2_grpc.RoutingServiceStub(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))


@pytest.mark.parametrize(("in_flight", "goal"), [(1, at_most(1.15)), (32, at_most(1 / 0.80))], ids=["alone", "32 in flight"])
def test_route(compare: Compare, tmp_path: Path, in_flight: int, goal: Goal) -> None:
    """
    How much longer does `Route` take, three hops, detail HOPS, store on and spans built, than a bare echo of its messages?
    """

    async def one_reply(stub: routing_pb2_grpc.RoutingServiceAsyncStub) -> routing_pb2.RouteResponse:
        return await stub.Route(QUESTION)

    with served("route_server.py", str(tmp_path)) as routed_port:
        routed = compare.run(stub_at(routed_port))
        reply = compare.run(one_reply(routed))
        with served("echo_server.py", first_line=reply.SerializeToString().hex() + "\n") as echo_port:
            echo = compare.run(stub_at(echo_port))
            compare(calls(routed, in_flight), calls(echo, in_flight), goal, seconds=0.2)


def test_route_with_budgets(compare: Compare, tmp_path: Path) -> None:
    """
    How much longer does `Route` take, 32 in flight, where each walk draws on a session's and a workflow's budget in memory?
    """
    with (
        served("route_server.py", str(tmp_path / "with"), "budgets") as with_budgets,
        served("route_server.py", str(tmp_path / "without")) as without,
    ):
        capped, free = compare.run(stub_at(with_budgets)), compare.run(stub_at(without))
        compare(calls(capped, 32), calls(free, 32), at_most(1 / 0.90), seconds=0.2)
