"""
A server's life: listening, health, reflection, and stopping without breaking off what runs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from meshwalk.mesh import Mesh
from meshwalk.model.problems import InputTooLarge, MeshClosed, SetupError
from meshwalk.server import Server, serve
from meshwalk.server.serving import SERVICES
from meshwalk.testing import RecordList
from meshwalk.trace import Outcome
from meshwalk.wire.client import Client, RpcError
from tests.support.backends import Gate, saying
from tests.support.service import ALONE, DESK, desk


pytestmark = pytest.mark.anyio

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def channel_to(server: Server) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")


class TestListening:
    async def test_port_0_takes_a_free_one(self) -> None:
        """
        The server says at which port it listens.
        """
        async with desk() as (_, server):
            port = server.port

        assert 0 < port < 65536

    async def test_two_servers_do_not_share_a_port(self) -> None:
        """
        A second server at the same address is refused, in one sentence.
        """
        async with desk() as (_, server), Mesh(ALONE) as mesh:
            with pytest.raises(SetupError, match=rf"cannot listen at '127\.0\.0\.1:{server.port}'"):
                async with serve([mesh], listen=f"127.0.0.1:{server.port}"):
                    pass

    @pytest.mark.parametrize("listen", ["127.0.0.1:99999", "127.0.0.1", "127.0.0.1:abc"])
    async def test_no_address(self, listen: str) -> None:
        """
        A port that has no 16 bits is refused, not cut to some other.
        """
        async with Mesh(ALONE) as mesh:
            with pytest.raises(SetupError, match=f"'{listen}' is no address: write HOST:PORT"):
                async with serve([mesh], listen=listen):
                    pass

    async def test_two_graphs_of_one_name(self) -> None:
        """
        Requests name graphs, so two of one name are refused.
        """
        async with Mesh(ALONE) as first, Mesh(ALONE) as second:
            with pytest.raises(SetupError, match="two graphs are called 'alone'"):
                async with serve([first, second]):
                    pass

    async def test_no_graph(self) -> None:
        """
        A server without a graph is refused.
        """
        with pytest.raises(SetupError, match="no graph to serve"):
            async with serve([]):
                pass

    async def test_a_message_past_what_grpc_takes(self) -> None:
        """
        What gRPC itself cuts off fails too, and the server goes on.
        """
        async with desk() as (client, _):
            with pytest.raises(InputTooLarge, match=r"^messages: has 102400 characters .* limits\.input_bytes is 2000"):
                await client.route("x" * (100 << 10))
            with pytest.raises(RpcError, match=r"the request is larger than .* receives"):
                await client.route("x" * (300 << 10))
            done = await client.route("hi")

        assert "small talk" == done.answer

    async def test_a_long_answer(self) -> None:
        """
        An answer past gRPC's usual 4 MiB arrives whole, in one piece and in many.
        """
        long = "é" * (3 << 20)
        async with desk({"little": saying(long)}) as (client, _):
            done = await client.route("hi")

        assert long == done.answer


class TestReflection:
    async def test_lists_the_services(self) -> None:
        """
        A caller without our files can ask what is served.
        """
        async with desk() as (_, server), channel_to(server) as channel:
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            replies = [reply async for reply in stub.ServerReflectionInfo(asked)]
        names = {service.name for service in replies[0].list_services_response.service}

        assert {*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} == names

    async def test_describes_a_message(self) -> None:
        """
        The file that defines a request can be fetched.
        """
        async with desk() as (_, server), channel_to(server) as channel:
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol="meshwalk.v1beta1.RouteRequest")])
            replies = [reply async for reply in stub.ServerReflectionInfo(asked)]

        assert replies[0].file_descriptor_response.file_descriptor_proto


class TestStopping:
    async def test_a_running_walk_finishes(self) -> None:
        """
        A graceful stop takes no more calls and waits for the walk that runs.
        """
        gate, answers = Gate(), []
        async with desk({"little": gate}) as (client, server), anyio.create_task_group() as tasks:

            async def ask() -> None:
                answers.append((await client.route("hi")).answer)

            tasks.start_soon(ask)
            await gate.asked_for.wait()
            async with anyio.create_task_group() as stopping:
                stopping.start_soon(server.stop, 3600)
                async with channel_to(server) as channel:
                    await _until_refused(channel)
                gate.open.set()

        assert ["at last"] == answers

    async def test_a_walk_past_the_grace_is_cancelled_and_recorded(self) -> None:
        """
        What does not end in time is cancelled, and its record says so.
        """
        gate, listing, failures = Gate(), RecordList(), []
        async with desk({"little": gate}, sinks=[listing]) as (client, server), anyio.create_task_group() as tasks:

            async def ask() -> None:
                try:
                    await client.route("hi")
                except MeshClosed as error:
                    failures.append(error.traversal_id)

            tasks.start_soon(ask)
            await gate.asked_for.wait()
            await server.stop(0.05)
            await listing.recorded.wait()

        assert Outcome.CANCELLED is listing.traversals[0].outcome
        assert [listing.traversals[0].traversal_id] == failures

    async def test_waiting_for_the_end(self) -> None:
        """
        Whoever waits for the server hears of its stop.
        """
        async with Mesh(DESK) as mesh, serve([mesh]) as server, anyio.create_task_group() as tasks:
            tasks.start_soon(server.wait)
            assert f"<Server on port {server.port}: open>" == repr(server)
            await server.stop(0)
            assert f"<Server on port {server.port}: stopped>" == repr(server)

    @pytest.mark.parametrize("grace", [0.05, timedelta(milliseconds=50)])
    async def test_grace_is_seconds_or_a_timedelta(self, grace: timedelta | float) -> None:
        """
        A call that is under way when the context is left is cancelled after the grace, in either unit.
        """
        gate, listing = Gate(), RecordList()
        async with (
            desk({"little": gate}, sinks=[listing], grace=grace) as (client, server),
            anyio.create_task_group() as tasks,
        ):

            async def ask() -> None:
                with pytest.raises(MeshClosed, match=r"^this server stopped before this walk had ended; its record is "):
                    await client.route("hi")

            tasks.start_soon(ask)
            await gate.asked_for.wait()
            with anyio.fail_after(10):
                await server.stop(grace)
                await listing.recorded.wait()

        assert Outcome.CANCELLED is listing.traversals[0].outcome

    async def test_the_mesh_outlives_its_server(self) -> None:
        """
        A mesh that was served can be served again.
        """
        answers = []
        async with Mesh(ALONE, backends={"one": saying("one word")}) as mesh:
            for _ in range(2):
                async with serve([mesh]) as server, Client(f"127.0.0.1:{server.port}") as client:
                    answers.append((await client.route("hi")).answer)

        assert ["one word", "one word"] == answers


async def _until_refused(channel: grpc.aio.Channel) -> None:
    """
    Ask for health until the server takes no new calls.
    """
    stub: Any = health_pb2_grpc.HealthStub(channel)
    with anyio.fail_after(20):
        while True:
            try:
                await stub.Check(health_pb2.HealthCheckRequest())
            except grpc.aio.AioRpcError:
                return
