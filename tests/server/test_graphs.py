"""
GraphService: which graphs are served, and what a caller may send to them.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio
import pytest

from meshwalk.mesh import Mesh
from meshwalk.model import Caps, Limits, Price
from meshwalk.model.problems import RequestError
from meshwalk.server import serve
from meshwalk.wire.client import Client, NotFound
from meshwalk.wire.gen.meshwalk.v1beta1 import graph_pb2, graph_pb2_grpc
from meshwalk.wire.types import AttributeInfo, BackendInfo, BudgetInfo, EdgeInfo, ThresholdInfo
from tests.support.plans import plan_of
from tests.support.service import ALONE, DESK, desk, stub_of


SHARED = plan_of("""
    meshwalk: 1
    name: shared
    start: only
    limits: {input_tokens: 900, calls: 3, pressure_from: 0.5}
    budgets:
      session: {cost_usd: 1, hops: 90, window: 1h, required: true}
      tenant: {input_tokens: 1e6, output_tokens: 1e5, calls: 99, pressure_from: 0.25, away: local}
    backends:
      one: {kind: simulated, usd_per_mtok: {input: 0, output: 0}}
    nodes:
      only: {role: primary, backend: one, max_tokens: 9, next: done}
""")

pytestmark = pytest.mark.anyio


async def test_list() -> None:
    """
    Every graph is listed, in the order it was given, with its digests.
    """
    async with (
        Mesh(DESK) as first,
        Mesh(ALONE) as second,
        serve([first, second]) as server,
        Client(f"127.0.0.1:{server.port}") as client,
    ):
        cards = await client.graphs()

    assert [("desk", "A desk with two clerks."), ("alone", "")] == [(card.plan.graph, card.description) for card in cards]
    assert DESK.shape_digest == cards[0].plan.shape_digest


async def test_pages() -> None:
    """
    A page has as many graphs as were asked for, and its token leads to the next; the last page has none.
    """
    plans = [ALONE, DESK, SHARED]
    async with AsyncExitStack() as stack:
        meshes = [await stack.enter_async_context(Mesh(plan)) for plan in plans]
        server = await stack.enter_async_context(serve(meshes))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))
        stub: Any = graph_pb2_grpc.GraphServiceStub(channel)
        first = await stub.ListGraphs(graph_pb2.ListGraphsRequest(page_size=2))
        last = await stub.ListGraphs(graph_pb2.ListGraphsRequest(page_size=2, page_token=first.next_page_token))

    assert [["alone", "desk"], ["shared"]] == [[graph.plan.graph for graph in page.graphs] for page in (first, last)]
    assert "" == last.next_page_token


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (graph_pb2.ListGraphsRequest(page_size=-1), "page_size: is -1, and it lies in 0 to 1000"),
        (graph_pb2.ListGraphsRequest(page_size=1_001), "page_size: is 1001"),
        (graph_pb2.ListGraphsRequest(page_token="moon"), "page_token: names no page of this server"),
    ],
)
async def test_no_page(request_: graph_pb2.ListGraphsRequest, said: str) -> None:
    """
    A size out of range and a token of no page are refused, with the field named.
    """
    async with desk() as (client, _), stub_of(client, graph_pb2_grpc.GraphServiceStub) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match=said):
            await stub.ListGraphs(request_)


class TestDescribe:
    async def test_budgets(self) -> None:
        """
        Shared budgets are described with all that decides in them, and so is where a walk feels its own limits.
        """
        async with desk(plan=SHARED) as (client, _):
            described = await client.describe()

        assert 0.5 == described.pressure_from
        assert Limits(input_tokens=900, calls=3) == described.limits
        assert (
            BudgetInfo("session", Caps(cost_nano_usd=10**9, hops=90), 3_600_000_000, 0.8, True, "closed"),
            BudgetInfo("tenant", Caps(input_tokens=10**6, output_tokens=10**5, calls=99), None, 0.25, False, "local"),
        ) == described.budgets

    async def test_what_a_caller_may_send(self) -> None:
        """
        Attributes are described with type, members, range and default, the built-in ones too; so are parameters and limits.
        """
        async with desk() as (client, _):
            described = await client.describe()
        attributes = {attribute.name: attribute for attribute in described.attributes}

        assert {"urgency", "correctness", "task", "weight", "polite"} == attributes.keys()
        assert AttributeInfo("task", "string", ("prose", "proof"), None, "prose", "what is asked for") == attributes["task"]
        assert AttributeInfo("weight", "number", (), (0.0, 1.0), None, "") == attributes["weight"]
        assert attributes["polite"].default is True
        assert ("max_tokens", "temperature") == described.params
        assert Limits(cost_nano_usd=500_000_000, input_bytes=2000) == described.limits

    async def test_how_it_decides(self) -> None:
        """
        Nodes are described with their edges and guards, thresholds with their values, backends with their prices.
        """
        async with desk() as (client, _):
            described = await client.describe("desk")
        nodes = {node.name: node for node in described.nodes}

        assert ("intake", ["intake", "small", "large", "sorry"]) == (described.start, list(nodes))
        assert EdgeInfo("hard", "large", "request.correctness == 'strict'", (), "", "") == nodes["intake"].next[1]
        assert EdgeInfo("", "large", "", ("overloaded",), "", "") == nodes["small"].on_error[0]
        assert ("primary", "big", 15_000_000) == (nodes["large"].role, nodes["large"].backend, nodes["large"].deadline_us)
        assert (ThresholdInfo("sure", 0.5, (0.0, 1.0), ""),) == described.thresholds
        assert (
            BackendInfo("little", "simulated", "", "quick", Price(1_000_000_000, 2_000_000_000), 4096) == described.backends[0]
        )

    async def test_prices_in_parts(self) -> None:
        """
        Prices are described with all their parts and their version, and a cache with the price of what it keeps.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: priced
            start: a
            prices: {version: "2026-11"}
            backends:
              great: {kind: simulated, usd_per_mtok: {input: 1, output: 2, cached_input: 0.5, reasoning: 3}}
              kept: {kind: cache, of: great}
            nodes:
              a: {role: answer, backend: kept, next: done}
            """
        )
        async with Mesh(plan) as mesh, serve([mesh]) as server, Client(f"127.0.0.1:{server.port}") as client:
            described = await client.describe()
        price = Price(1_000_000_000, 2_000_000_000, 500_000_000, 3_000_000_000)

        assert "2026-11" == described.prices
        assert [("simulated", price), ("cache", price)] == [(backend.kind, backend.price) for backend in described.backends]

    async def test_the_plan_itself(self) -> None:
        """
        The canonical plan comes as the bytes that its digest is taken over, and as a drawing.
        """
        async with desk() as (client, _):
            described = await client.describe("desk")

        assert DESK.canonical == described.canonical
        assert "desk" == json.loads(described.canonical)["graph"]["name"]
        assert "flowchart" in described.mermaid

    async def test_unknown(self) -> None:
        """
        A graph that is not served is NOT_FOUND, and with several a name is needed.
        """
        async with (
            Mesh(DESK) as first,
            Mesh(ALONE) as second,
            serve([first, second]) as server,
            Client(f"127.0.0.1:{server.port}") as client,
        ):
            with pytest.raises(NotFound, match="'dusk' is not served here"):
                await client.describe("dusk")
            with pytest.raises(RequestError, match="graph: must be said"):
                await client.describe()
