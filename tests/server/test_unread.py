"""
Replies that nobody reads are bounded in bytes and in time, and their walks are recorded all the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.mesh import Mesh
from meshwalk.model.problems import ReplyUnread
from meshwalk.plan import Plan
from meshwalk.server.lenient_decode import ServiceRegistrar
from meshwalk.server.receiving import Receiving
from meshwalk.server.registry import MeshRegistry
from meshwalk.server.routing import Routing
from meshwalk.server.unread import Unread
from meshwalk.trace import Traversal
from meshwalk.wire.errors import unpack_error, unpack_failure
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2, routing_pb2, routing_pb2_grpc
from tests.support.backends import saying
from tests.support.service import ALONE


pytestmark = pytest.mark.anyio

MIB = 1 << 20
REQUEST = routing_pb2.RouteRequest(messages=[common_pb2.Message(role="user", content="hi")])
UNBOUNDED = (("grpc.max_receive_message_length", -1),)


class Records:
    """
    The records that are made; `complete` is set when there are *count*.
    """

    def __init__(self, count: int) -> None:
        self.outcomes: list[str] = []
        self.complete = anyio.Event()
        self._count = count

    def record(self, traversal: Traversal, plan: Plan) -> None:
        del plan
        self.outcomes.append(traversal.finish.outcome.value)
        if len(self.outcomes) == self._count:
            self.complete.set()


class Watched(Unread):
    """
    An `Unread` whose `given_up` is set when a reply was not read in time.
    """

    def __init__(self, *, seconds: float) -> None:
        super().__init__(seconds=seconds)
        self.given_up = anyio.Event()

    async def written(self, context: Any, message: Any) -> None:
        try:
            await super().written(context, message)
        except ReplyUnread:
            self.given_up.set()
            raise


@asynccontextmanager
async def answering(text: str, unread: Unread, count: int = 1) -> AsyncIterator[tuple[Any, Records]]:
    """
    Serve a model that answers *text*; yield a stub, and the records that are made.
    """
    records = Records(count)
    async with Mesh(ALONE, backends={"one": saying(text)}, sinks=[records]) as mesh:
        server = grpc.aio.server(options=(("grpc.max_send_message_length", -1),))
        registrar: Any = ServiceRegistrar(server, Receiving())
        routing_pb2_grpc.add_RoutingServiceServicer_to_server(Routing(MeshRegistry([mesh]), unread=unread), registrar)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=UNBOUNDED) as channel:
            yield routing_pb2_grpc.RoutingServiceStub(channel), records
        await server.stop(0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60)), max_size=30))
def test_bytes_are_counted(takes: list[tuple[str, int]]) -> None:
    """
    What is taken stays within both bounds, and all of it can be given back.
    """
    unread = Unread(100, of_connection=60)
    granted: list[tuple[str, int]] = []
    for peer, size in takes:
        of_peer = sum(taken for other, taken in granted if other == peer)
        total = sum(taken for _, taken in granted)
        may = total + size <= 100 and of_peer + size <= 60
        assert may == unread.take(peer, size)
        if may:
            granted.append((peer, size))
    for peer, size in granted:
        unread.give(peer, size)

    assert "<Unread: 0 bytes>" == repr(unread)
    assert unread.take("a", 60)


async def test_a_stream_that_is_not_read_ends() -> None:
    """
    A caller that takes nothing for the time it has gets an error, and the walk is recorded.
    """
    unread = Watched(seconds=0.2)
    async with answering("x" * 8 * MIB, unread) as (stub, records):
        call = stub.RouteStream(routing_pb2.RouteStreamRequest(request=REQUEST))
        with anyio.fail_after(20):
            await unread.given_up.wait()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            _ = [event async for event in call]
        error = unpack_error(caught.value, "here")

    assert isinstance(error, ReplyUnread)
    assert "not read for 0.2 s" in str(error)
    assert ["answered"] == records.outcomes


async def test_results_past_the_bound_are_dropped() -> None:
    """
    Of a stream's results as many bytes are kept as may wait; the others are failures that say so, and each item has one end.
    """
    unread = Unread(4 * MIB)
    async with answering("x" * MIB, unread, 40) as (stub, records):
        call: Any = stub.RouteMany()
        items = [routing_pb2.RouteManyRequest.Item(seq=seq, request=REQUEST) for seq in range(1, 41)]
        await call.write(routing_pb2.RouteManyRequest(items=items))
        await call.done_writing()
        with anyio.fail_after(20):
            await records.complete.wait()
        results: list[routing_pb2.RouteManyResponse.Result] = []
        async for frame in call:
            results += frame.results
        kept = [result for result in results if result.HasField("reply")]
        dropped = [unpack_failure(result.failure) for result in results if result.HasField("failure")]

    assert {*range(1, 41)} == {result.seq for result in results}
    assert 3 <= len(kept) < 40
    assert {ReplyUnread} == {type(error) for error in dropped}
    assert "<Unread: 0 bytes>" == repr(unread)


async def test_a_reply_past_the_bound_is_an_error() -> None:
    """
    A reply for which there is no room is not written, and one for which there is comes whole.
    """
    async with answering("x" * MIB, Unread(2 * MIB)) as (stub, _):
        reply = await stub.Route(REQUEST)
    async with answering("x" * MIB, Unread(MIB // 2)) as (stub, records):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Route(REQUEST)

    assert MIB == len(reply.answer.text)
    assert isinstance(unpack_error(caught.value, "here"), ReplyUnread)
    assert ["answered"] == records.outcomes
