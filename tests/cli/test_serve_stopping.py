"""
`meshwalk serve` told to stop while walks run, in one process and in several: nothing is lost, held or left in the dark.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from meshwalk.budgets.vaults import Vault, open_vault
from meshwalk.model.problems import MeshClosed, MeshwalkError
from meshwalk.records.store import TraceReader
from meshwalk.wire.client import Client
from tests.cli.test_serve import serving_beside


pytestmark = [pytest.mark.anyio, pytest.mark.process]

# The slow model takes far longer than any grace here, the quick one less.
GRAPH = """
meshwalk: 1
name: desk
start: intake
limits: {deadline: 10m, cost_usd: 1}
budgets: {session: {cost_usd: 100}}
request: {slow: {type: bool, default: true}}
backends:
  slow: {kind: simulated, latency: {p50: 9m, p99: 9m}, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
  quick: {kind: simulated, latency: {p50: 1s, p99: 1s}, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
nodes:
  intake: {role: classifier, use: features, next: [{to: long, when: request.slow}, {to: short}]}
  long: {role: primary, backend: slow, max_tokens: 10, next: done}
  short: {role: primary, backend: quick, max_tokens: 10, next: done}
"""
WALKS = 20


async def outcome_of(asked: Awaitable[Any]) -> Any:
    """
    Return a result, or the error in its place.
    """
    try:
        return await asked
    except MeshwalkError as error:
        return error


async def begun(vault: Vault, count: int) -> None:
    """
    Wait until so many walks hold a reservation.
    """
    with anyio.fail_after(60):
        while sum(report.reservations for report in await vault.reports("default")) < count:  # noqa: ASYNC110 (another process)
            await anyio.sleep(0.02)


def asked_of(client: Client, number: int, *, slow: bool) -> Awaitable[Any]:
    """
    Send a request, every other one with a key.
    """
    key = f"{'slow' if slow else 'quick'}{number}" if number % 2 else ""

    return client.route("hi", session="s", idempotency_key=key, attributes={"slow": slow})


@pytest.mark.parametrize(
    ("workers", "signals", "grace", "quick"),
    [
        (1, [signal.SIGTERM], "5s", WALKS),
        (2, [signal.SIGTERM], "5s", WALKS),
        (1, [signal.SIGHUP], "5s", WALKS),
        (1, [signal.SIGTERM, signal.SIGTERM], "10m", 0),
        (2, [signal.SIGINT, signal.SIGTERM], "10m", 0),
    ],
)
async def test_a_stop_under_load_loses_nothing(
    tmp_path: Path, workers: int, signals: list[signal.Signals], grace: str, quick: int
) -> None:
    """
    Walks that fit are answered, the others cut off; all are recorded and settled, no hold and no key is left, callers know.
    """
    graph, vault_at = tmp_path / "desk.yaml", f"sqlite:{tmp_path / 'vault.sqlite'}"
    graph.write_text(GRAPH, encoding="utf-8")
    words = ("--workers", str(workers), "--vault", vault_at, "--traces", tmp_path / "traces", "--grace", grace)
    async with AsyncExitStack() as stack:
        process, ready = await stack.enter_async_context(serving_beside(graph, *words))
        vault = await stack.enter_async_context(await open_vault(vault_at))
        clients = [await stack.enter_async_context(Client(ready["address"])) for _ in range(4)]
        long = [asyncio.create_task(outcome_of(asked_of(clients[n % 4], n, slow=True))) for n in range(WALKS)]
        await begun(vault, WALKS)
        short = [asyncio.create_task(outcome_of(asked_of(clients[n % 4], n, slow=False))) for n in range(quick)]
        await begun(vault, WALKS + quick)
        for each in signals:
            process.send_signal(each)
            # Two signals at once are one: the first is seen to be taken where calls are refused.
            await _port_closes(ready["address"])
        with anyio.fail_after(60):
            errors, answers = await asyncio.gather(*long), await asyncio.gather(*short)
            _, err = await anyio.to_thread.run_sync(process.communicate)
        claims = [await vault.claim("default", f"slow{n}", "me", "f", 1_000_000) for n in range(1, WALKS, 2)]
        (report,) = await vault.reports("default")
    with TraceReader(tmp_path / "traces") as reader:
        listed = {summary.traversal_id: summary.outcome for summary in reader.list(limit=1_000)}

    assert 0 == process.returncode, err
    assert [MeshClosed] * WALKS == [type(error) for error in errors], errors
    assert [None] * WALKS == [error.retry_after for error in errors]
    assert {error.traversal_id: "cancelled" for error in errors} == {
        traversal_id: outcome for traversal_id, outcome in listed.items() if outcome != "answered"
    }
    assert {answer.traversal_id for answer in answers} == {
        traversal_id for traversal_id, outcome in listed.items() if outcome == "answered"
    }
    assert (0, 0) == (report.reserved.cost_nano_usd, report.reservations)
    assert ["me"] * len(claims) == [claim.owner for claim in claims]


async def _port_closes(address: str) -> None:
    host, _, port = address.rpartition(":")
    with anyio.fail_after(60):
        while True:
            try:
                stream = await anyio.connect_tcp(host, int(port))
            except OSError:
                return
            await stream.aclose()
            await anyio.sleep(0.02)
