"""
`RouteMany` beside unary `Route`: one connection each, the same server in a process of its own, the same client process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from harness import Arm, Compare, Served, at_least, served
from meshwalk.trace import Message, Request, Scopes
from meshwalk.wire.client import Client
from meshwalk.wire.convert.enums import DETAILS
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2, routing_pb2_grpc
from meshwalk.wire.types import Detail
from test_route import QUESTION, stub_at


# What `QUESTION` asks, in the house's words.
ASKED = Request((Message("user", "Why?"),), scopes=Scopes("s-1", "w-1"))

IN_FLIGHT = 128
FRAME = 32


def in_flight(ask: Callable[[], Awaitable[object]]) -> Arm:
    """
    Ask *n* times or a little more, `IN_FLIGHT` at a time, and measure what was asked: many more than one for a small *n*.
    """

    async def arm(n: int) -> float:
        each, clock = -(-n // IN_FLIGHT), asyncio.get_running_loop().time

        async def some() -> None:
            for _ in range(each):
                await ask()

        began = clock()
        await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))

        return (clock() - began) * 1e9 / (each * IN_FLIGHT)

    return arm


def framed_calls(call: Any, question: routing_pb2.RouteRequest) -> Arm:
    """
    Ask *question* *n* times with bare frames of `FRAME`, so many under way that `IN_FLIGHT` requests are.
    """
    seqs = count(1)

    def frame() -> routing_pb2.RouteManyRequest:
        item = routing_pb2.RouteManyRequest.Item
        return routing_pb2.RouteManyRequest(items=[item(seq=next(seqs), request=question) for _ in range(FRAME)])

    async def arm(n: int) -> float:
        frames = max(IN_FLIGHT // FRAME, -(-n // FRAME))
        clock = asyncio.get_running_loop().time
        began, written, read = clock(), 0, 0
        while read < frames * FRAME:
            while written < frames * FRAME and written - read <= IN_FLIGHT - FRAME:
                await call.write(frame())
                written += FRAME
            results = (await call.read()).results
            assert all(result.HasField("reply") for result in results)
            read += len(results)

        return (clock() - began) * 1e9 / read

    return arm


@pytest.mark.parametrize("detail", ["HOPS", "NONE"])
@pytest.mark.parametrize("side", ["client", "bare frames"])
def test_route_many(compare: Compare, tmp_path: Path, side: str, detail: Detail) -> None:
    """
    How many times the throughput of unary `Route` has `RouteMany`, on one connection, 128 in flight and frames of 32?
    """
    question = routing_pb2.RouteRequest()
    question.CopyFrom(QUESTION)
    question.detail = DETAILS.number[detail]

    async def opened(server: Served) -> tuple[routing_pb2_grpc.RoutingServiceAsyncStub, Any]:
        stub = await stub_at(server)

        return stub, stub.RouteMany()

    with served("route_server.py", str(tmp_path)) as server:
        if side == "client":
            with (
                compare.opened(Client(f"127.0.0.1:{server.port}")) as client,
                compare.opened(client.many(largest=FRAME, in_flight=IN_FLIGHT)) as many,
            ):
                unary, framed = partial(client.send, ASKED, detail=detail), partial(many.send, ASKED, detail=detail)
                compare(in_flight(framed), in_flight(unary), at_least(4), counts="throughput", seconds=0.2)
        else:
            stub, call = compare.run(opened(server))
            compare(
                framed_calls(call, question),
                in_flight(partial(stub.Route, question)),
                at_least(4),
                counts="throughput",
                seconds=0.2,
            )
            assert isinstance(call, grpc.aio.StreamStreamCall)
            call.cancel()
