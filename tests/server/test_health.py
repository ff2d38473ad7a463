"""
`grpc.health.v1.Health`: checks, lists and watchers, which do not hold up a stop.
"""

from __future__ import annotations

from typing import Any

import anyio
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshwalk.server import Server
from meshwalk.server.health import Health
from meshwalk.server.serving import SERVICES
from tests.support.service import desk


pytestmark = pytest.mark.anyio

has_list = pytest.mark.skipif(not hasattr(health_pb2, "HealthListRequest"), reason="before grpcio-health-checking 1.85")

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def channel_to(server: Server) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")


@pytest.mark.parametrize("service", ["", *SERVICES])
async def test_serving(service: str) -> None:
    """
    The server and each of its services serve.
    """
    async with desk() as (_, server), channel_to(server) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=service))

    assert SERVING == reply.status


async def test_an_unknown_service() -> None:
    """
    A service that is not here is NOT_FOUND.
    """
    async with desk() as (_, server), channel_to(server) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="coffee"))

    assert grpc.StatusCode.NOT_FOUND is caught.value.code()


async def test_a_watcher_hears_of_the_stop_and_does_not_hold_it_up() -> None:
    """
    A watcher is told NOT_SERVING and its call ends, well before the grace period is over.
    """
    async with desk(grace=3600) as (_, server), channel_to(server) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
        first = await watch.read()
        with anyio.fail_after(20):
            await server.stop(3600)
        last, end = await watch.read(), await watch.read()

    assert (SERVING, NOT_SERVING) == (first.status, last.status)
    assert grpc.aio.EOF is end


@has_list
async def test_list() -> None:
    """
    A list has the server, each of its services, its readiness and that of its records.
    """
    async with desk() as (_, server), channel_to(server) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        reply = await stub.List(health_pb2.HealthListRequest())

    names = ["", *SERVICES, "readiness", "readiness/desk", "records"]

    assert dict.fromkeys(names, SERVING) == {name: health.status for name, health in reply.statuses.items()}


@has_list
async def test_a_list_during_a_stop() -> None:
    """
    From the stop on, every entry of a list is NOT_SERVING.
    """
    health = Health()
    nobody: Any = None
    await health.start(("words.Words",))
    await health.stop()
    reply = await health.List(health_pb2.HealthListRequest(), nobody)

    assert {"": NOT_SERVING, "words.Words": NOT_SERVING} == {name: health.status for name, health in reply.statuses.items()}
