"""
Calls are counted, and requests that do not arrive whole are ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from meshwalk.model.problems import TooManyWalks
from meshwalk.server import receiving
from meshwalk.server.lenient_decode import ServiceRegistrar
from meshwalk.server.receiving import Receiving
from meshwalk.wire.errors import unpack_error


pytestmark = pytest.mark.anyio

CHECK = "/grpc.health.v1.Health/Check"
BODY = health_pb2.HealthCheckRequest(service="x" * 1_000).SerializeToString()

# Frames of HTTP/2: their kinds, and the flag that ends the headers.
DATA, HEADERS, SETTINGS, END_HEADERS = 0, 1, 4, 4


class Slow(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """
    Answer once `open` is set.
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.entered = asyncio.Event()

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:  # noqa: N802
        del request, context
        self.entered.set()
        await self.open.wait()

        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def serving(receiving: Receiving, servicer: Slow) -> AsyncIterator[int]:
    """
    Serve the health service with *receiving*; yield the port.
    """
    server = grpc.aio.server()
    registrar: Any = ServiceRegistrar(server, receiving)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, registrar)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    receiving.start()
    try:
        yield port
    finally:
        await server.stop(0)
        receiving.stop()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """
    Write a frame of HTTP/2.
    """
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def begun(stream: int) -> bytes:
    """
    Write the headers of a call, and its request but for the last byte.
    """
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": CHECK,
        ":authority": "here",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    headers = b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in fields.items()
    )
    message = b"\x00" + len(BODY).to_bytes(4, "big") + BODY

    return frame(HEADERS, END_HEADERS, stream, headers) + frame(DATA, 0, stream, message[:-1])


async def ended_streams(port: int, count: int) -> set[int]:
    """
    Send *count* requests but for their last bytes, and wait until the server has ended as many streams.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b""))
    writer.write(b"".join(begun(2 * number + 1) for number in range(count)))
    ended: set[int] = set()
    while len(ended) < count:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3], "big"))
        stream = int.from_bytes(head[5:], "big")
        # The flag of the last frame of a stream.
        if head[3] == HEADERS and head[4] & 1:
            ended.add(stream)
    writer.close()

    return ended


async def test_half_a_request_is_ended_in_time() -> None:
    """
    Requests that lack their last byte are ended with a status once their time is up, and others are answered meanwhile.
    """
    servicer = Slow()
    servicer.open.set()
    async with serving(Receiving(arrival_seconds=1.2), servicer) as port:
        ending = asyncio.create_task(ended_streams(port, 20))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        async with asyncio.timeout(20):
            ended = await ending

    assert health_pb2.HealthCheckResponse.SERVING == reply.status
    assert {2 * number + 1 for number in range(20)} == ended


async def test_few_requests_may_be_slow() -> None:
    """
    Past the most slow requests the oldest are ended long before their time is up.
    """
    async with serving(Receiving(arrival_seconds=3_600, max_slow=0), Slow()) as port, asyncio.timeout(20):
        assert 5 == len(await ended_streams(port, 5))


async def test_calls_past_the_limit_are_refused() -> None:
    """
    A call too many is refused before its request is read, in a way that a caller may try again; those before it are answered.
    """
    servicer = Slow()
    async with serving(Receiving(limit=1), servicer) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        first = stub.Check(health_pb2.HealthCheckRequest())
        await servicer.entered.wait()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Check(health_pb2.HealthCheckRequest())
        servicer.open.set()
        await first
        await stub.Check(health_pb2.HealthCheckRequest())
    error = unpack_error(refused.value, "here")

    assert isinstance(error, TooManyWalks)
    assert error.retryable
    assert "1 calls in flight" in str(error)


async def test_a_call_without_a_request() -> None:
    """
    A caller that closes its side without a message is told so.
    """
    async with serving(Receiving(), Slow()) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.stream_unary(CHECK)()
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError, match="request: is missing"):
            await call


@pytest.mark.parametrize("most", [0, 1])
async def test_calls_of_reflection_are_bounded(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """
    A call of reflection past the most is refused, and one within it is answered.
    """
    monkeypatch.setattr(receiving, "MAX_GENERATORS", most)
    server = grpc.aio.server()
    registrar: Any = ServiceRegistrar(server, Receiving(), lenient=False, bounded=False)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(["a.Service"]), registrar)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        try:
            replies = [reply async for reply in stub.ServerReflectionInfo(requests)]
            outcome = replies[0].list_services_response.service[0].name
        except grpc.aio.AioRpcError as error:
            outcome = error.code().name
    await server.stop(0)

    assert ("a.Service" if most else "RESOURCE_EXHAUSTED") == outcome
