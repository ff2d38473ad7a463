"""
No input makes the server die: random bytes and random fields, then one honest request on the same server.
"""

from __future__ import annotations

import random
from typing import Any

import grpc.aio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2, routing_pb2, routing_pb2_grpc
from tests.support.service import desk, stub_of


pytestmark = pytest.mark.anyio

METHODS = [
    "/meshwalk.v1beta1.RoutingService/Route",
    "/meshwalk.v1beta1.RoutingService/Decide",
    "/meshwalk.v1beta1.TraceService/GetTraversal",
    "/meshwalk.v1beta1.TraceService/ListTraversals",
    "/meshwalk.v1beta1.GraphService/DescribeGraph",
    "/meshwalk.v1beta1.RoutingService/Nothing",
]

TEXT = st.text(max_size=12) | st.sampled_from(["user", "task", "proof", "weight", "desk", "\x00", "é" * 400, "x" * 3000])
INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, -1])
DOUBLE = st.floats(allow_nan=True, allow_infinity=True)
VALUE = st.one_of(
    st.just(common_pb2.Value()),
    st.builds(lambda text: common_pb2.Value(string_value=text), TEXT),
    st.builds(lambda number: common_pb2.Value(double_value=number), DOUBLE),
    st.builds(lambda truth: common_pb2.Value(bool_value=truth), st.booleans()),
)


@st.composite
def requests(draw: st.DrawFn) -> routing_pb2.RouteRequest:
    request = routing_pb2.RouteRequest(graph=draw(st.sampled_from(["", "desk", "dusk"]) | TEXT))
    request.detail = draw(st.integers(-1, 5))  # type: ignore[assignment]
    for role, content, name in draw(st.lists(st.tuples(st.just("user") | TEXT, TEXT, TEXT), max_size=3)):
        request.messages.add(role=role, content=content, name=name)
    for name, value in draw(st.dictionaries(TEXT, VALUE, max_size=3)).items():
        request.attributes[name].CopyFrom(value)
    for part, names in (
        (request.sampling, ("max_tokens", "seed")),
        (request.limits, ("hops", "cost_nano_usd", "output_tokens")),
    ):
        for name in draw(st.sets(st.sampled_from(names))):
            setattr(part, name, draw(INT64))
    if draw(st.booleans()):
        request.sampling.temperature = draw(DOUBLE)
        request.sampling.stop.extend(draw(st.lists(TEXT, max_size=3)))
    if draw(st.booleans()):
        request.limits.deadline_us = draw(INT64)
    if draw(st.booleans()):
        request.scopes.session = draw(TEXT)

    return request


SOUND = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.FAILED_PRECONDITION,
}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batch=st.lists(requests(), min_size=1, max_size=12))
async def test_any_request_is_answered_or_refused(batch: list[routing_pb2.RouteRequest]) -> None:
    """
    Whatever the fields hold, a request gets a reply or an error that says whose fault it is; never INTERNAL or UNKNOWN.
    """
    codes = set()
    async with desk() as (client, _), stub_of(client, routing_pb2_grpc.RoutingServiceStub) as stub:
        for request in batch:
            stream = routing_pb2.RouteStreamRequest(request=request)
            try:
                await stub.Route(request)
                await stub.Decide(routing_pb2.DecideRequest(request=request))
                _ = [event async for event in stub.RouteStream(stream)]
            except grpc.aio.AioRpcError as error:
                codes.add(error.code())
        after = await client.route("hi")

    assert codes <= SOUND
    assert "small talk" == after.answer


async def test_any_bytes() -> None:
    """
    Bytes that are no message of ours, or one that was damaged, fail as one call and no more.
    """
    dice, codes = random.Random(7), set()
    honest = routing_pb2.RouteRequest(
        messages=[common_pb2.Message(role="user", content="hi")], attributes={"task": common_pb2.Value(string_value="prose")}
    ).SerializeToString()
    async with desk() as (client, server), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        for _ in range(300):
            damaged = bytearray(honest)
            for _ in range(dice.randrange(4)):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            for body in (bytes(damaged), dice.randbytes(dice.randrange(60))):
                call: Any = channel.unary_unary(dice.choice(METHODS))
                try:
                    await call(body)
                except grpc.aio.AioRpcError as error:
                    codes.add(error.code())
        after = await client.route("hi")

    assert codes <= {*SOUND, grpc.StatusCode.UNIMPLEMENTED}
    assert "small talk" == after.answer


async def test_bytes_that_are_no_message(caplog: pytest.LogCaptureFixture) -> None:
    """
    What cannot be read is INVALID_ARGUMENT, says why, and leaves nothing in the log.
    """
    async with desk() as (_, server), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call: Any = channel.unary_unary("/meshwalk.v1beta1.RoutingService/Route")
        with pytest.raises(grpc.aio.AioRpcError, match=r"request: cannot be read: .*(UTF-8|Error parsing)") as caught:
            await call(bytes([0x0A, 2, 0xFF, 0xFE]))

    assert grpc.StatusCode.INVALID_ARGUMENT is caught.value.code()
    assert [] == [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_name_that_would_fill_the_trailers() -> None:
    """
    An error that quotes what a caller sent still fits the trailers it travels in.
    """
    attributes = {name * 30_000: common_pb2.Value(string_value="x") for name in "aé∑"}
    request = routing_pb2.RouteRequest(messages=[common_pb2.Message(role="user", content="hi")], attributes=attributes)
    async with desk() as (client, _), stub_of(client, routing_pb2_grpc.RoutingServiceStub) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Route(request)

    assert grpc.StatusCode.INVALID_ARGUMENT is caught.value.code()


@pytest.mark.parametrize("header", ["", "nonsense", "00-0-0-0", "ff-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 4000])
async def test_a_traceparent_that_is_none(header: str) -> None:
    """
    A header that is not well formed is passed over, and the walk starts a trace of its own.
    """
    async with desk() as (client, _):
        done = await client.route("hi", traceparent=header)

    assert 32 == len(done.trace_id)
