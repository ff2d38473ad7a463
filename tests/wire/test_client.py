"""
The client: how it is opened, and what goes with each of its calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest

from meshwalk.mesh import Mesh
from meshwalk.model.problems import SetupError
from meshwalk.model.serving import Access, TenantRules
from meshwalk.server import serve
from meshwalk.trace import Outcome
from meshwalk.wire.blocking import BlockingClient
from meshwalk.wire.client import Client, TlsOptions, Unauthenticated
from meshwalk.wire.gen.meshwalk.v1beta1 import graph_pb2, graph_pb2_grpc
from tests.support.identities import key_of
from tests.support.service import ALONE


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


class TestCredentials:
    async def test_a_key_goes_with_every_call(self) -> None:
        """
        A key is a bearer's, beside the other headers.
        """
        graphs = Graphs()
        credentials = grpc.local_channel_credentials()
        async with (
            listening(graphs) as target,
            Client(target, credentials=credentials, metadata={"x-team": "blue"}, api_key="secret") as client,
        ):
            await client.graphs()

        assert [("blue", "Bearer secret")] == [(headers["x-team"], headers["authorization"]) for headers in graphs.headers]

    async def test_a_token_is_asked_for_each_time(self) -> None:
        """
        A function gives the token of each call, so that one may be renewed.
        """
        graphs = Graphs()
        tokens = iter(["first", "second"])
        credentials = grpc.local_channel_credentials()
        async with listening(graphs) as target, Client(target, credentials=credentials, token=lambda: next(tokens)) as client:
            await client.graphs()
            await client.graphs()

        assert ["Bearer first", "Bearer second"] == [headers["authorization"] for headers in graphs.headers]

    @pytest.mark.parametrize("target", ["192.0.2.7:1", "[2001:db8::1]:1", "no-such-host.invalid:1"])
    def test_nothing_secret_goes_in_the_clear_to_others(self, target: str) -> None:
        """
        A key for another machine needs TLS, or somebody who says that it may go without.
        """
        for options in ({"api_key": "secret"}, {"token": lambda: "secret"}):
            with pytest.raises(SetupError, match=r"a credential is not sent to .* in the clear") as refused:
                Client(target, **options)
            assert "secret" not in str(refused.value)
            Client(target, insecure=True, **options)
            Client(target, tls=TlsOptions(), **options)

    @pytest.mark.parametrize("target", ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:a.sock"])
    def test_this_machine_may_have_it(self, target: str) -> None:
        """
        Nobody else reads what goes over loopback and Unix sockets.
        """
        Client(target, api_key="secret")

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({"api_key": "a", "token": lambda: "b"}, "are two credentials"),
            ({"api_key": "two words"}, "the key holds spaces"),
            ({"api_key": 7}, "api_key is 7, and takes text"),
            ({"token": "text"}, "token is of the type str, and takes a function"),
            ({"tls": True}, "tls is True, and takes meshwalk.TlsOptions"),
            ({"tls": TlsOptions(ca="none.pem")}, "'none.pem' of the connection's TLS cannot be read: No such file"),
            ({"tls": TlsOptions(certificate="a.pem")}, "a caller's certificate and its key go together"),
        ],
    )
    def test_options_that_do_not_fit(self, options: dict[str, Any], why: str) -> None:
        """
        What no connection can have is refused when the client is made, and shows no secret.
        """
        with pytest.raises(SetupError, match=why) as refused:
            Client("127.0.0.1:1", **options)

        assert "two words" not in str(refused.value)

    async def test_a_stream_and_a_thread_send_it_too(self) -> None:
        """
        A stream of many requests, and a client for threads, come in with the same key.
        """
        key = key_of("acme")
        access = Access(keys=(key.entry,), tenants={"acme": TenantRules()})

        def ask(target: str) -> Outcome:
            with BlockingClient(target, api_key=key.text) as client:
                return client.route("hello").outcome

        async with Mesh(ALONE) as mesh, serve([mesh], access=access) as server:
            target = f"127.0.0.1:{server.port}"
            async with Client(target, api_key=key.text) as client, client.many() as many:
                outcomes = [(await many.route("hello")).outcome, await anyio.to_thread.run_sync(ask, target)]
            async with Client(target) as nobody, nobody.many() as many:
                with pytest.raises(Unauthenticated, match="this call has no credential"):
                    await many.route("hello")

        assert [Outcome.ANSWERED, Outcome.ANSWERED] == outcomes


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
