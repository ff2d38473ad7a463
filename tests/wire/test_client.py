"""
The client: how it is opened, and what goes with each of its calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from meshwalk.model.problems import SetupError
from meshwalk.wire.client import Client
from meshwalk.wire.gen.meshwalk.v1beta1 import graph_pb2, graph_pb2_grpc


pytestmark = pytest.mark.anyio


class Graphs(graph_pb2_grpc.GraphServiceServicer):
    """
    A service without graphs that keeps what came with each call.
    """

    def __init__(self) -> None:
        self.headers: list[dict[str, Any]] = []
        self.transports: list[object] = []

    async def ListGraphs(self, request: graph_pb2.ListGraphsRequest, context: Any) -> graph_pb2.ListGraphsResponse:  # noqa: ARG002, N802
        self.headers.append(dict(context.invocation_metadata()))
        self.transports.append(context.auth_context().get("transport_security_type"))

        return graph_pb2.ListGraphsResponse()

    async def DescribeGraph(self, request: graph_pb2.DescribeGraphRequest, context: Any) -> graph_pb2.DescribeGraphResponse:  # noqa: N802
        raise AssertionError(f"nobody asks for {request} in {context}")


@asynccontextmanager
async def listening(graphs: Graphs) -> AsyncIterator[str]:
    """
    Serve *graphs* to those who come with local credentials.
    """
    server = grpc.aio.server()
    graph_pb2_grpc.add_GraphServiceServicer_to_server(graphs, server)
    port = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


class TestOpening:
    async def test_a_closed_client_says_how_to_open_it(self) -> None:
        """
        Every call of a client that is not open fails with the remedy, as a mesh's does.
        """
        client = Client("127.0.0.1:1")
        calls = [client.route("Hello"), client.decide("Hello"), client.graphs(), client.traversals(), client.budgets()]
        for call in calls:
            with pytest.raises(SetupError, match=r"the client of 127\.0\.0\.1:1 is not open; use it inside `async with`"):
                await call
        with pytest.raises(SetupError, match="is not open"):
            client.many()

    async def test_an_open_client_is_not_opened_again(self) -> None:
        """
        One client is one connection.
        """
        async with Client("127.0.0.1:1") as client:
            with pytest.raises(SetupError, match="is open already"):
                await client.__aenter__()

            assert "<Client of 127.0.0.1:1: open>" == repr(client)
        assert "<Client of 127.0.0.1:1: closed>" == repr(client)


class TestCalls:
    async def test_credentials_secure_the_channel(self) -> None:
        """
        A client with credentials reaches a server that takes no others.
        """
        graphs = Graphs()
        async with listening(graphs) as target, Client(target, credentials=grpc.local_channel_credentials()) as client:
            await client.graphs()

        assert [[b"local"]] == graphs.transports

    async def test_metadata_goes_with_every_call(self) -> None:
        """
        Headers of the client come with each call that it makes.
        """
        graphs = Graphs()
        credentials = grpc.local_channel_credentials()
        async with listening(graphs) as target, Client(target, credentials=credentials, metadata={"x-team": "blue"}) as client:
            await client.graphs()

        assert ["blue"] == [headers["x-team"] for headers in graphs.headers]
