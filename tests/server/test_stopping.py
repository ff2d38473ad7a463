"""
A server that stops while walks run: what ends in time is answered, and the rest is cut off, settled, recorded and told of.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from anyio.lowlevel import checkpoint

from meshwalk.budgets.vaults import open_vault
from meshwalk.budgets.vaults.base import Vault
from meshwalk.mesh import Mesh
from meshwalk.model.problems import MeshClosed, MeshwalkError
from meshwalk.records.store import TraceReader, TraceWriter
from meshwalk.server import Server, serve
from meshwalk.trace import Outcome
from meshwalk.wire.client import Client
from tests.support.backends import Gate
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

PLAN = plan_of(
    """
    meshwalk: 1
    name: slow
    start: ask
    limits: {deadline: 10m, cost_usd: 1}
    budgets: {session: {cost_usd: 1}}
    backends: {little: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}}
    nodes: {ask: {role: primary, backend: little, max_tokens: 10, next: done}}
    """
)
WALKS = 4


class Stage(NamedTuple):
    """
    A server, a client of it, the gate before its model, and its vault.
    """

    server: Server
    client: Client
    gate: Gate
    vault: Vault


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """
    Serve a graph whose model answers once the gate is open, with a store and a vault in files.
    """
    gate, store, vault = Gate(), TraceWriter(folder), await open_vault(f"sqlite:{folder / 'vault.sqlite'}")
    try:
        async with (
            Mesh(PLAN, backends={"little": gate}, sinks=[store], vault=vault) as mesh,
            serve([mesh], grace=0) as server,
            Client(f"127.0.0.1:{server.port}") as client,
        ):
            yield Stage(server, client, gate, vault)
        reports = await vault.reports("default")
        assert [(0, 0)] == [(report.reserved.cost_nano_usd, report.reservations) for report in reports]
    finally:
        await vault.aclose()
        await store.aclose()


async def outcome_of(asked: Awaitable[Any]) -> Any:
    """
    Return a result, or the error in its place.
    """
    try:
        return await asked
    except MeshwalkError as error:
        return error


async def streamed(client: Client) -> Any:
    """
    Return the last event of a stream.
    """
    events = [event async for event in client.stream("hi", session="s")]

    return events[-1]


async def begin(at: Stage) -> list[asyncio.Task[Any]]:
    """
    Begin walks of every kind, and wait until each is at the model.
    """
    plain = [at.client.route("hi", session="s") for _ in range(WALKS)]
    keyed = [at.client.route("hi", session="s", idempotency_key=f"k{number}") for number in range(WALKS)]
    tasks = [asyncio.create_task(outcome_of(asked)) for asked in (*plain, *keyed, streamed(at.client))]
    with anyio.fail_after(20):
        while at.server.walk_counts.in_flight < len(tasks) or len(at.gate.requests) < len(tasks):
            await checkpoint()

    return tasks


async def test_walks_past_the_grace_are_cut_off_settled_and_recorded(tmp_path: Path) -> None:
    """
    Keyed or not: every walk is recorded as cancelled, holds nothing any more, and its caller has its record's id.
    """
    async with stage(tmp_path) as at:
        tasks = await begin(at)
        with anyio.fail_after(20):
            await at.server.stop(0.05)
        errors = await asyncio.gather(*tasks)
        # A key whose walk was cut off is free: another owner has it at once.
        claims = [await at.vault.claim("default", f"k{number}", "me", "f", 1_000_000) for number in range(WALKS)]
    with TraceReader(tmp_path) as reader:
        listed = {summary.traversal_id: summary.outcome for summary in reader.list()}

    assert [MeshClosed] * len(tasks) == [type(error) for error in errors]
    assert ["me"] * WALKS == [claim.owner for claim in claims]
    assert {Outcome.CANCELLED.value} == set(listed.values())
    assert listed.keys() == {error.traversal_id for error in errors}
    assert len(tasks) == len(listed)
    assert all(str(error).startswith(("this server stopped", "the mesh of graph 'slow' stopped")) for error in errors)


async def test_walks_within_the_grace_are_answered(tmp_path: Path) -> None:
    """
    A stop waits for walks that end in time, and no longer.
    """
    async with stage(tmp_path) as at:
        tasks = await begin(at)
        stopping = asyncio.create_task(at.server.stop(60))
        at.gate.open.set()
        with anyio.fail_after(20):
            results = await asyncio.gather(*tasks)
            await stopping

    assert ["at last"] * len(tasks) == [result.answer for result in results]


async def test_a_hastened_stop_waits_no_longer(tmp_path: Path) -> None:
    """
    Whoever is in a hurry cuts off what a stop would wait minutes for.
    """
    async with stage(tmp_path) as at:
        tasks = await begin(at)
        stopping = asyncio.create_task(at.server.stop(600, lame_duck=600))
        await checkpoint()
        at.server.hasten()
        with anyio.fail_after(20):
            await stopping
            errors = await asyncio.gather(*tasks)

    assert [MeshClosed] * len(tasks) == [type(error) for error in errors]


async def test_a_lame_duck_takes_calls(tmp_path: Path) -> None:
    """
    Health says NOT_SERVING first, and calls that come all the same are taken until the port closes.
    """
    async with stage(tmp_path) as at:
        at.gate.open.set()
        stopping = asyncio.create_task(at.server.stop(60, lame_duck=600))
        await checkpoint()
        answer = (await at.client.route("hi", session="s")).answer
        at.server.hasten()
        with anyio.fail_after(20):
            await stopping

    assert "at last" == answer
