"""
Requests are judged by their bytes: each repeated field and map has a bound, wherever it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import grpc.aio
import pytest
from google.protobuf import descriptor_pool
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model import MAX_MESSAGES, MAX_REQUEST_FIELDS
from meshwalk.server.request_sizes import UNSCANNED_BYTES, is_repeated, max_elements, oversize, varints
from meshwalk.server.serving import SERVICES
from meshwalk.wire import convert
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2, routing_pb2
from tests.support.service import ALONE, desk


pytestmark = pytest.mark.anyio

MANY = 600_000
REQUEST = routing_pb2.RouteRequest


def varint(number: int) -> bytes:
    """
    Write *number* as the wire does.
    """
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7

    return bytes([*parts, number])


def within(numbers: tuple[int, ...], body: bytes) -> bytes:
    """
    Put *body* into messages within messages, the outermost field first.
    """
    for number in reversed(numbers):
        body = varint(number << 3 | 2) + varint(len(body)) + body

    return body


def repeated_fields(descriptor: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    """
    Find each repeated field and map below *descriptor*, with the numbers of the fields that lead to it.
    """
    for field in descriptor.fields:
        if is_repeated(field):
            yield path, field
        if field.message_type is not None:
            yield from repeated_fields(field.message_type, (*path, field.number))


def methods() -> list[tuple[str, Any, tuple[int, ...], Any]]:
    """
    List each repeated field of each request of each method.
    """
    pool = descriptor_pool.Default()

    return [
        (f"/{service}/{method.name}", method.input_type, path, field)
        for service in SERVICES
        for method in pool.FindServiceByName(service).methods
        for path, field in repeated_fields(method.input_type)
    ]


def flood(path: tuple[int, ...], field: Any, count: int) -> bytes:
    """
    Write a request whose *field* has *count* of the smallest elements there are.
    """
    if field.message_type is not None or field.type == field.TYPE_STRING:
        return within(path, (varint(field.number << 3 | 2) + b"\x00") * count)

    return within(path, varint(field.number << 3 | 2) + varint(count) + b"\x01" * count)


@pytest.mark.parametrize(("method", "descriptor", "path", "field"), methods(), ids=lambda value: getattr(value, "name", None))
def test_every_repeated_field_is_bounded(method: str, descriptor: Any, path: tuple[int, ...], field: Any) -> None:
    """
    One element more than a field may have is found in every message of every method, and as many as it may have pass.
    """
    most = max_elements(field)
    # A text beside it takes the request past the size from which requests are scanned.
    padding = within((1000,), b"x" * UNSCANNED_BYTES)
    more, as_many = (oversize(descriptor, padding + flood(path, field, count)) for count in (most + 1, most))

    assert more is not None, method
    assert more.field.split(".")[-1].split("[")[0] == field.name
    assert str(most) in more.description
    assert as_many is None


@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=8), text=st.text(max_size=40))
def test_a_request_within_bounds_passes(counts: list[int], text: str) -> None:
    """
    A scan finds no fault in what the encoder wrote, as long as no bound is passed.
    """
    request = REQUEST(graph=text, attributes={text: common_pb2.Value(string_value=text * UNSCANNED_BYTES)})
    for count in counts:
        calls = [common_pb2.ToolCall(id=text, name=text, arguments=text)] * count
        request.messages.add(role="user", content=text, tool_calls=calls)
    request.sampling.stop.extend([text] * min(counts))

    assert oversize(REQUEST.DESCRIPTOR, request.SerializeToString()) is None


@given(body=st.binary(max_size=200), head=st.sampled_from([b"", b"\x1a\x00", b"\x0a\x05abcde", b"\x1a\xff"]))
def test_any_bytes_are_scanned(body: bytes, head: bytes) -> None:
    """
    Bytes that are no message raise nothing.
    """
    body = head * 30 + body
    oversize(REQUEST.DESCRIPTOR, body + b"\x00" * UNSCANNED_BYTES)
    oversize(REQUEST.DESCRIPTOR, body * 20)


@pytest.mark.parametrize("unit", [b"\xf8\x07\x00", b"\x22\x00", b"\xfb\x07\xfc\x07", b"\x0a\x00"])
def test_fields_are_bounded_too(unit: bytes) -> None:
    """
    Fields without elements, known or not, are counted as well.
    """
    violation = oversize(REQUEST.DESCRIPTOR, unit * (MAX_REQUEST_FIELDS + 1))

    assert violation is not None
    assert "request" == violation.field
    assert oversize(REQUEST.DESCRIPTOR, unit * 1_000) is None


@given(numbers=st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_packed_numbers(numbers: list[int]) -> None:
    """
    Packed numbers are read as they were written.
    """
    assert numbers == varints(b"".join(map(varint, numbers)))


async def worst_stall(ended: asyncio.Event) -> float:
    """
    Return the longest time that the event loop did nothing else until *ended*.
    """
    worst, before = 0.0, perf_counter()
    while not ended.is_set():
        await asyncio.sleep(0)
        now = perf_counter()
        worst, before = max(worst, now - before), now

    return worst


FLOODS = {
    "messages": within((), b"\x1a\x00" * MANY),
    "tool_calls": within((3,), b"\x22\x00" * MANY),
    "parts": within((3,), b"\x3a\x00" * MANY),
    "tools": b"\x4a\x00" * MANY,
    "attributes": within((), b"\x2a\x00" * MANY),
    "stop": within((4,), b"\x2a\x00" * MANY),
    "one field again and again": b"\x22\x00" * MANY,
    "unknown fields": b"\xf8\x07\x00" * MANY,
    "messages of one letter": REQUEST(messages=[common_pb2.Message(role="user", content="x")]).SerializeToString() * 150_000,
    "unknown roles": REQUEST(messages=[common_pb2.Message(role="y", content="x")]).SerializeToString() * MAX_MESSAGES,
}


@pytest.mark.parametrize("body", FLOODS.values(), ids=FLOODS.keys())
@pytest.mark.parametrize("method", ["Route", "Decide", "RouteStream"])
async def test_a_flood_is_refused_at_once(method: str, body: bytes) -> None:
    """
    A request of up to 2 MB of the smallest elements is refused with its field named, and holds nobody else up.
    """
    if method != "Route":
        body = within((1,), body)
    async with desk(plan=ALONE) as (client, server), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        await client.route("hi")
        ended = asyncio.Event()
        stall = asyncio.create_task(worst_stall(ended))
        before = perf_counter()
        call: Any = channel.unary_unary(f"/meshwalk.v1beta1.RoutingService/{method}")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(body)
        seconds = perf_counter() - before
        ended.set()
        worst = await stall
        await client.route("hi")

    assert caught.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
    # Generous for a busy machine: without bounds both were several times as long.
    assert seconds < 1
    assert worst < 0.5


async def test_a_frame_of_many_items_is_refused_as_one() -> None:
    """
    A frame with more items than it may have gets one result, and its stream goes on.
    """
    async with desk(plan=ALONE) as (_, server), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call: Any = channel.stream_stream("/meshwalk.v1beta1.RoutingService/RouteMany")()
        for body in (b"\x0a\x00" * MANY, b"\x0a\x00" * MANY + b"\x0a\x02\xff\xff"):
            await call.write(body)
            frame = routing_pb2.RouteManyResponse.FromString(await call.read())
            assert [0] == [result.seq for result in frame.results]
            assert "items" == frame.results[0].failure.field_violations[0].field
        request = REQUEST(messages=[common_pb2.Message(role="user", content="hi")])
        await call.write(convert.pack_item(7, request, None, ""))
        frame = routing_pb2.RouteManyResponse.FromString(await call.read())
        await call.done_writing()

    assert [7] == [result.seq for result in frame.results]
    assert frame.results[0].HasField("reply")


async def test_a_large_item_fails_alone() -> None:
    """
    An item past a bound is refused under its own number, a large frame's other items are walked, and its cancellations count.
    """
    honest = REQUEST(messages=[common_pb2.Message(role="user", content="hi")])
    large = REQUEST(messages=[common_pb2.Message()] * (MAX_MESSAGES + 1))
    frame = convert.pack_item(1, honest, None, "") + convert.pack_item(2, large, None, "")
    frame += convert.pack_cancel([9, 300]) + convert.pack_item(3, honest, None, "")
    async with desk(plan=ALONE) as (_, server), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call: Any = channel.stream_stream("/meshwalk.v1beta1.RoutingService/RouteMany")()
        await call.write(frame)
        await call.done_writing()
        results: dict[int, routing_pb2.RouteManyResponse.Result] = {}
        while (body := await call.read()) is not grpc.aio.EOF:
            results |= {result.seq: result for result in routing_pb2.RouteManyResponse.FromString(body).results}

    assert {1, 2, 3} == set(results)
    assert results[1].HasField("reply")
    assert results[3].HasField("reply")
    assert "messages" in results[2].failure.field_violations[0].field
