"""
`RouteMany` beside unary `Route`: one connection each, the same server in a process of its own, the same client process.
"""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from harness import Arm, Compare, at_least, served
from meshwalk.trace import Message, Request, Scopes
from meshwalk.wire.client import Client, Many
from meshwalk.wire.gen.meshwalk.v1 import routing_pb2, routing_pb2_grpc
from test_route import QUESTION, calls, stub_at


# What `QUESTION` asks, in the house's words.
ASKED = Request((Message("user", "Why?"),), scopes=Scopes("s-1", "w-1"))

IN_FLIGHT = 128
FRAME = 32


def client_calls(many: Many) -> Arm:
    """
    Ask *n* times through the house's client, `IN_FLIGHT` at a time.
    """

    async def ask(n: int) -> None:
        for _ in range(n):
            await many.ask(ASKED, detail="HOPS")

    async def arm(n: int) -> None:
        await asyncio.gather(*(ask(-(-n // IN_FLIGHT)) for _ in range(IN_FLIGHT)))

    return arm


def framed_calls(call: Any) -> Arm:
    """
    Ask *n* times with bare frames of `FRAME`, so many under way that `IN_FLIGHT` requests are.
    """
    seqs = count(1)

    def frame() -> routing_pb2.RouteManyRequest:
        item = routing_pb2.RouteManyRequest.Item
        return routing_pb2.RouteManyRequest(items=[item(seq=next(seqs), request=QUESTION) for _ in range(FRAME)])

    async def arm(n: int) -> float:
        frames = max(IN_FLIGHT // FRAME, -(-n // FRAME))
        clock = asyncio.get_running_loop().time
        began, written, read = clock(), 0, 0
        while read < frames * FRAME:
            while written < frames * FRAME and written - read <= IN_FLIGHT - FRAME:
                await call.write(frame())
                written += FRAME
            read += len((await call.read()).results)

        return (clock() - began) * 1e9 / read

    return arm


@pytest.mark.parametrize("side", ["client", "bare frames"])
def test_route_many(compare: Compare, tmp_path: Path, side: str) -> None:
    """
    How many times the throughput of unary `Route` has `RouteMany`, on one connection, 128 in flight and frames of 32?
    """

    async def opened(port: int) -> tuple[routing_pb2_grpc.RoutingServiceAsyncStub, Any]:
        stub = await stub_at(port)

        return stub, stub.RouteMany()

    with served("route_server.py", str(tmp_path)) as port:
        stub, call = compare.run(opened(port))
        if side == "client":
            with (
                compare.opened(Client(f"127.0.0.1:{port}")) as client,
                compare.opened(client.many(largest=FRAME, in_flight=IN_FLIGHT)) as many,
            ):
                compare(calls(stub, IN_FLIGHT), client_calls(many), at_least(4), seconds=0.2)
        else:
            compare(calls(stub, IN_FLIGHT), framed_calls(call), at_least(4), seconds=0.2)
            assert isinstance(call, grpc.aio.StreamStreamCall)
        call.cancel()
