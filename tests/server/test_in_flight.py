"""
The limit of walks in flight: counted by itself, and through a real server and a real client.
"""

from __future__ import annotations

import logging

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.backends.base import ChatRequest
from meshwalk.mesh import Mesh
from meshwalk.model.problems import MeshwalkError, TooManyWalks
from meshwalk.server import serve
from meshwalk.server.in_flight import InFlightCounts, WalksInFlight
from meshwalk.trace import Reply
from meshwalk.wire.client import Client
from tests.support.plans import plan_of
from tests.support.service import ALONE


pytestmark = pytest.mark.anyio


class Held:
    """
    A backend whose calls end when they are let go.
    """

    waits = True

    def __init__(self) -> None:
        self.calls = 0
        self.released = anyio.Event()

    async def chat(self, request: ChatRequest) -> Reply:
        del request
        self.calls += 1
        await self.released.wait()

        return Reply("done")

    async def aclose(self) -> None:
        pass


class TestCounts:
    def test_the_server_s_limit_holds(self) -> None:
        """
        A walk past the limit is refused, and may come when another one has left.
        """
        in_flight = WalksInFlight(2)
        in_flight.enter()
        in_flight.enter()

        with pytest.raises(TooManyWalks, match="this server has 2 walks in flight"):
            in_flight.enter()
        in_flight.leave()
        in_flight.enter()

        assert InFlightCounts(2, 3, 1, 0) == in_flight.counts

    def test_a_tenant_s_limit_leaves_room_for_others(self) -> None:
        """
        A tenant at its own limit is refused, while others come in; the refused walk counts nowhere.
        """
        in_flight = WalksInFlight(10)
        in_flight.enter("acme", 1)

        with pytest.raises(TooManyWalks, match="this tenant has 1 walks in flight"):
            in_flight.enter("acme", 1)
        in_flight.enter("other", 1)
        in_flight.enter()

        assert InFlightCounts(3, 3, 0, 1) == in_flight.counts

    @given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.booleans()), max_size=60))
    def test_counts_come_back_to_nothing(self, steps: list[tuple[str, bool]]) -> None:
        """
        No order of coming and going passes a limit, and none leaves a count behind.
        """
        in_flight, inside = WalksInFlight(4, clock=lambda: 0.0), list[str]()
        for tenant, comes in steps:
            if comes:
                try:
                    in_flight.enter(tenant, 2)
                except TooManyWalks:
                    assert len(inside) == 4 or (tenant and inside.count(tenant) == 2)
                else:
                    inside.append(tenant)
            elif tenant in inside:
                inside.remove(tenant)
                in_flight.leave(tenant)
            assert len(inside) == in_flight.counts.in_flight <= 4
            assert all(inside.count(name) <= 2 for name in ("a", "b"))
        for tenant in inside:
            in_flight.leave(tenant)

        assert (0, {}) == (in_flight.counts.in_flight, in_flight._by_tenant)

    def test_refusals_are_logged_once_in_a_while(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        A thousand refusals are one line, and the next line says how many there were.
        """
        now = [100.0]
        in_flight = WalksInFlight(0, clock=lambda: now[0])

        def refused() -> None:
            with pytest.raises(TooManyWalks):
                in_flight.enter()

        with caplog.at_level(logging.WARNING):
            for _ in range(1000):
                refused()
            now[0] += 10
            refused()

        assert 2 == len(caplog.messages)
        assert caplog.messages[1].endswith("(999 more since the last such line)")


class TestServer:
    async def test_route_and_its_stream_are_refused_at_once(self) -> None:
        """
        Each way of routing one request hears RESOURCE_EXHAUSTED with a delay, and no model is called for it.
        """
        held = Held()
        async with (
            Mesh(ALONE, backends={"one": held}) as mesh,
            serve([mesh], walks_in_flight=1) as server,
            Client(f"127.0.0.1:{server.port}") as client,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(client.route, "first")
            while not held.calls:
                await anyio.lowlevel.checkpoint()

            with pytest.raises(TooManyWalks) as refused:
                await client.route("second")
            with pytest.raises(TooManyWalks):
                async for _ in client.stream("third"):
                    pass
            held.released.set()

        assert (True, 1.0, "RESOURCE_EXHAUSTED") == (refused.value.retryable, refused.value.retry_after, refused.value.hint)
        assert (1, InFlightCounts(0, 1, 2, 0)) == (held.calls, server.walk_counts)

    async def test_items_of_a_stream_are_refused_one_by_one(self) -> None:
        """
        Of many items those past the limit have a failure each, and the others their answers.
        """
        held, results = Held(), list[object]()
        async with (
            Mesh(ALONE, backends={"one": held}) as mesh,
            serve([mesh], walks_in_flight=3) as server,
            Client(f"127.0.0.1:{server.port}") as client,
            client.many() as many,
            anyio.create_task_group() as tasks,
        ):

            async def ask(prompt: str) -> None:
                try:
                    results.append((await many.route(prompt)).answer)
                except MeshwalkError as error:
                    results.append(type(error))

            for number in range(8):
                tasks.start_soon(ask, f"item {number}")
            while len(results) < 5:
                await anyio.lowlevel.checkpoint()
            held.released.set()

        assert [TooManyWalks] * 5 + ["done"] * 3 == results

    async def test_a_keyed_walk_counts_until_its_end(self) -> None:
        """
        A caller with an idempotency key that goes away leaves its walk behind, and that counts on.
        """
        held = Held()
        async with (
            Mesh(ALONE, backends={"one": held}) as mesh,
            serve([mesh], walks_in_flight=1) as server,
            Client(f"127.0.0.1:{server.port}") as client,
        ):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: client.route("first", idempotency_key="k-1"))
                while not held.calls:
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()

            with pytest.raises(TooManyWalks):
                await client.route("second")
            held.released.set()
            while server.walk_counts.in_flight:
                await anyio.lowlevel.checkpoint()
            again = await client.route("first", idempotency_key="k-1")

        assert (1, True) == (held.calls, again.repeated)

    async def test_a_refused_walk_is_charged_nothing(self) -> None:
        """
        No budget hears of a request that is refused for lack of room.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: counted
            start: only
            budgets: {session: {calls: 10}}
            backends: {one: {kind: simulated, usd_per_mtok: {input: 1, output: 1}, context_tokens: 1000}}
            nodes: {only: {role: primary, backend: one, max_tokens: 10, next: done}}
            """
        )
        async with (
            Mesh(plan, backends={"one": Held()}) as mesh,
            serve([mesh], walks_in_flight=0) as server,
            Client(f"127.0.0.1:{server.port}") as client,
        ):
            with pytest.raises(TooManyWalks):
                await client.route("refused", session="s-1")
            reports = await mesh.vault.reports("default")

        assert [] == reports
