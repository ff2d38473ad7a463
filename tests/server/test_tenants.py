"""
Tenants side by side at one server: what they share, and what they do not.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest

from meshwalk.mesh import Mesh
from meshwalk.model.private_text import joined, private
from meshwalk.model.problems import Malformed, TooManyWalks
from meshwalk.model.serving import Access, TenantRules
from meshwalk.records.store import TraceReader, TraceWriter
from meshwalk.server import serve
from meshwalk.trace import Outcome
from meshwalk.wire.client import Client, NotFound, TooManyRequests, Unauthenticated
from tests.support.backends import Gate, raising
from tests.support.identities import key_of
from tests.support.plans import plan_of
from tests.support.service import ALONE


@asynccontextmanager
async def tenants(mesh: Mesh, **rules: TenantRules) -> AsyncIterator[list[Client]]:
    """
    Serve *mesh* to tenants with these rules, and give a client of each.
    """
    keys = [key_of(name) for name in rules]
    access = Access(keys=tuple(key.entry for key in keys), tenants=rules)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve([mesh], access=access))
        target = f"127.0.0.1:{server.port}"
        yield [await stack.enter_async_context(Client(target, api_key=key.text)) for key in keys]


async def test_an_idempotency_key_is_its_tenants() -> None:
    """
    Two tenants that take the same key get an answer each, and the same tenant gets its own again.
    """
    async with Mesh(ALONE) as mesh, tenants(mesh, acme=TenantRules(), beta=TenantRules()) as (acme, beta):
        first, other, again = [await client.route("hello", idempotency_key="k") for client in (acme, beta, acme)]

    assert first.traversal_id == again.traversal_id
    assert first.traversal_id != other.traversal_id
    assert [False, False, True] == [one.repeated for one in (first, other, again)]


async def test_requests_a_minute_on_every_way_in() -> None:
    """
    Past its number a tenant is refused, on a stream's items, too, and told when there is room; another is not.
    """
    async with (
        Mesh(ALONE) as mesh,
        tenants(mesh, acme=TenantRules(requests_per_minute=3), beta=TenantRules()) as (acme, beta),
        acme.many() as many,
    ):
        await acme.route("hello")
        await many.route("hello")
        await acme.decide("hello")
        for refused in (acme.route("hello"), many.route("hello"), acme.decide("hello")):
            with pytest.raises(TooManyRequests) as error:
                await refused
            assert 0 < (error.value.retry_after or 0) <= 20
        assert Outcome.ANSWERED is (await beta.route("hello")).outcome


async def test_a_stream_outlasts_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A key that expires while a stream is open opens nothing more, on that stream, too.
    """
    now = time.time()
    key = key_of("acme", expires_unix=int(now) + 3_600)
    access = Access(keys=(key.entry,), tenants={"acme": TenantRules()})
    async with (
        Mesh(ALONE) as mesh,
        serve([mesh], access=access) as server,
        Client(f"127.0.0.1:{server.port}", api_key=key.text) as client,
        client.many() as many,
    ):
        assert Outcome.ANSWERED is (await many.route("hello")).outcome
        monkeypatch.setattr(time, "time", lambda: now + 7_200)
        with pytest.raises(Unauthenticated, match="has expired"):
            await many.route("hello")
        monkeypatch.undo()


async def test_walks_in_flight_of_a_tenant() -> None:
    """
    A tenant with its walks under way is refused a further one, and another tenant is not.
    """
    gate = Gate()
    outcomes: list[Outcome] = []

    async def ask(client: Client) -> None:
        outcomes.append((await client.route("hello")).outcome)

    async with (
        Mesh(ALONE, backends={"one": gate}) as mesh,
        tenants(mesh, acme=TenantRules(walks_in_flight=1), beta=TenantRules()) as (acme, beta),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(ask, acme)
        await gate.asked_for.wait()
        with pytest.raises(TooManyWalks, match="this tenant has 1 walks in flight"):
            await acme.route("hello")
        tasks.start_soon(ask, beta)
        gate.open.set()

    assert [Outcome.ANSWERED] * 2 == outcomes


async def test_words_of_a_provider_are_content(tmp_path: Path) -> None:
    """
    In records of a graph that keeps content, words that a provider quotes are for those alone who may read content.
    """
    plan = plan_of(
        """
        meshwalk: 1
        name: quoting
        start: only
        record: {content: true}
        backends:
          one: {kind: simulated}
        nodes:
          only: {role: primary, backend: one, next: done, on_error: [{class: [malformed], to: sorry}]}
          sorry: {role: refusal, reason: no model could answer}
        """
    )
    error = Malformed(joined("the model refused: ", private("you asked for the CANARY")), backend="one")
    rules = TenantRules(rights=frozenset({"route", "read", "read-content"}))
    keys = [key_of("acme"), key_of("acme", "route", "read")]
    access = Access(keys=tuple(key.entry for key in keys), tenants={"acme": rules})
    async with (
        TraceWriter(tmp_path) as writer,
        Mesh(plan, backends={"one": raising(error)}, sinks=[writer]) as mesh,
    ):
        with TraceReader(tmp_path) as reader:
            async with serve([mesh], traces=reader, access=access) as server:
                target = f"127.0.0.1:{server.port}"
                async with Client(target, api_key=keys[0].text) as whole, Client(target, api_key=keys[1].text) as blank:
                    walked = await blank.route("hello")
                    mesh.flush_records()
                    await writer.flush()
                    records = [await client.traversal(walked.traversal_id) for client in (whole, blank)]

    words = [
        " ".join(
            [
                record.message,
                *(hop.message for hop in record.hops),
                *(one.message for hop in record.hops for one in hop.attempts),
            ]
        )
        for record in records
    ]
    assert [True, False] == ["CANARY" in text for text in words]
    assert [True, False] == [record.content is not None for record in records]


async def test_two_servers_on_one_folder(tmp_path: Path) -> None:
    """
    Servers without identities that keep records in one folder show their own tenant's walks only.
    """
    ids: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        for tenant in ("acme", "beta"):
            writer = TraceWriter(tmp_path)
            stack.push_async_callback(writer.aclose)
            mesh = await stack.enter_async_context(Mesh(ALONE, sinks=[writer], tenant=tenant))
            reader = stack.enter_context(TraceReader(tmp_path))
            server = await stack.enter_async_context(serve([mesh], traces=reader))
            clients[tenant] = await stack.enter_async_context(Client(f"127.0.0.1:{server.port}"))
            ids[tenant] = (await clients[tenant].route("hello")).traversal_id
            mesh.flush_records()
            await writer.flush()

        for tenant, other in (("acme", "beta"), ("beta", "acme")):
            listed = (await clients[tenant].traversals()).traversals
            assert [ids[tenant]] == [row.traversal_id for row in listed]
            assert ids[tenant] == (await clients[tenant].traversal(ids[tenant])).traversal_id
            with pytest.raises(NotFound):
                await clients[tenant].traversal(ids[other])


async def test_a_store_from_before_there_were_tenants(tmp_path: Path) -> None:
    """
    A store without the column is read as `default`'s, and gets the column when it is written to, under an open reader, too.
    """
    async with TraceWriter(tmp_path) as writer, Mesh(ALONE, sinks=[writer]) as mesh:
        old = (await mesh.route("hello")).traversal_id
    with closing(sqlite3.connect(tmp_path / "traces.sqlite")) as connection, connection:
        connection.execute("DROP INDEX traversals_by_tenant")
        connection.execute("ALTER TABLE traversals DROP COLUMN tenant")
        connection.execute("PRAGMA user_version = 1")

    with TraceReader(tmp_path) as reader:
        assert ["default"] == [row.tenant for row in reader.list()]
        assert [old] == [row.traversal_id for row in reader.list(tenant="default")]
        assert [] == reader.list(tenant="acme")
        assert reader.get(old, "acme") is None
        async with TraceWriter(tmp_path) as writer, Mesh(ALONE, sinks=[writer], tenant="acme") as mesh:
            new = (await mesh.route("hello")).traversal_id

        assert [old] == [row.traversal_id for row in reader.list(tenant="default")]
        assert [new] == [row.traversal_id for row in reader.list(tenant="acme")]
        assert reader.get(new, "default") is None
        assert reader.get(new, "acme") is not None
