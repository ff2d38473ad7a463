"""
The vault in a Redis server that is at its memory limit, or that lost the library, on each kind of server that is there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from harness.redis_server import BINARIES, RedisServer
from meshwalk.budgets import Settlement, SpendPath
from meshwalk.budgets.vaults.fallback import FallbackVault
from meshwalk.budgets.vaults.redis import RedisVault
from meshwalk.model import Caps
from meshwalk.model.problems import VaultUnavailable
from tests.budgets.vault_contract import balance_of, reservation_of, session, spent


pytestmark = [pytest.mark.anyio, pytest.mark.redis]

SCOPE = session(cost_nano_usd=1_000)
MINUTE_US = 60_000_000


@pytest.fixture(params=BINARIES)
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, binary=request.param) as server:
        yield server


@pytest.fixture
async def vault(server: RedisServer) -> AsyncIterator[RedisVault]:
    vault = await RedisVault.open(server.url)
    yield vault
    await vault.aclose()


async def ask(server: RedisServer, *command: str | int) -> None:
    client: Any = Redis.from_url(server.url)
    await client.execute_command(*command)
    await client.aclose()


async def fill(server: RedisServer) -> None:
    """
    Leave the server no memory for what needs any.
    """
    await ask(server, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    await ask(server, "CONFIG", "SET", "maxmemory", 1)


class TestMemoryLimit:
    async def test_settlements_and_reads_pass(self, server: RedisServer, vault: RedisVault) -> None:
        """
        What was spent is recorded and what was held is given back; only a new reservation is refused.
        """
        for number in range(3):
            await vault.exchange(None, reservation_of(f"h{number}", SCOPE, cost=100))
        await fill(server)

        await vault.exchange(Settlement("ada", "h0", spent(70)), None)
        with pytest.raises(VaultUnavailable, match="no memory left") as full:
            await vault.exchange(Settlement("ada", "h1", spent(60)), reservation_of("h9", SCOPE, cost=1))
        await vault.charge("c1", [SCOPE], spent(5), SpendPath("g", "a"))
        await vault.set_caps("ada", "session", SCOPE.name, Caps(cost_nano_usd=2_000))
        balance = await balance_of(vault, SCOPE)
        (report,) = await vault.reports("ada")

        assert full.value.is_full
        assert (spent(135).cost_nano_usd, 100, 2_000) == (
            balance.spent.cost_nano_usd,
            balance.reserved.cost_nano_usd,
            balance.caps.cost_nano_usd,
        )
        assert 135 == report.spent.cost_nano_usd

    async def test_claims_are_read_and_released(self, server: RedisServer, vault: RedisVault) -> None:
        """
        A retry finds the result that is kept, a key can be given free, and a new key is refused.
        """
        await vault.claim("ada", "done", "me", "f", MINUTE_US)
        await vault.finish("ada", "done", "me", b"answer", MINUTE_US)
        await vault.claim("ada", "open", "me", "f", MINUTE_US)
        await fill(server)

        repeated = await vault.claim("ada", "done", "you", "f", MINUTE_US)
        under_way = await vault.claim("ada", "open", "you", "f", MINUTE_US)
        await vault.finish("ada", "open", "me", None, MINUTE_US)
        with pytest.raises(VaultUnavailable, match="no memory left"):
            await vault.claim("ada", "open", "you", "f", MINUTE_US)

        assert (b"answer", "me", None) == (repeated.result, under_way.owner, under_way.result)

    async def test_it_is_no_outage(self, server: RedisServer, vault: RedisVault) -> None:
        """
        Behind the fallback a full server is still told what was spent, at once, and still answers readers.
        """
        fallback = FallbackVault(vault)
        await fallback.exchange(None, reservation_of("h0", SCOPE, cost=100))
        await fill(server)

        answer = await fallback.exchange(None, reservation_of("h1", SCOPE, cost=100))
        await fallback.exchange(Settlement("ada", "h0", spent(70)), None)
        (report,) = await fallback.reports("ada")

        assert answer.refusal is not None
        assert "has no room left" in answer.refusal.message
        assert (70, 0) == (report.spent.cost_nano_usd, report.reservations)


class TestLostLibrary:
    async def test_flushed_functions_are_loaded_again(self, server: RedisServer, vault: RedisVault) -> None:
        """
        Every kind of call goes on where somebody removed all functions.
        """
        await vault.exchange(None, reservation_of("h0", SCOPE, cost=100))
        await ask(server, "FUNCTION", "FLUSH")
        await vault.exchange(Settlement("ada", "h0", spent(70)), reservation_of("h1", SCOPE, cost=1))
        await ask(server, "FUNCTION", "FLUSH")
        balance = await balance_of(vault, SCOPE)

        assert (70, 1) == (balance.spent.cost_nano_usd, balance.reserved.cost_nano_usd)

    async def test_a_restart_without_persistence_loads_it_again(self, server: RedisServer, vault: RedisVault) -> None:
        """
        A server that came back empty takes reservations at once, and the loss is counted.
        """
        await vault.exchange(None, reservation_of("h0", SCOPE, cost=100))
        server.restart()
        answer = await vault.exchange(None, reservation_of("h1", SCOPE, cost=1))

        assert (None, 1) == (answer.refusal, vault.losses)

    async def test_a_promoted_replica_goes_on(self, server: RedisServer, vault: RedisVault, tmp_path: Path) -> None:
        """
        A replica has the library and the accounts, refuses writes with the remedy, and takes them once it is promoted.
        """
        folder = tmp_path / "replica"
        folder.mkdir()
        await vault.exchange(None, reservation_of("h0", SCOPE, cost=100))
        with RedisServer(folder, binary=server._binary) as replica:
            second = await RedisVault.open(replica.url)
            client: Any = Redis.from_url(replica.url)
            await client.execute_command("REPLICAOF", "127.0.0.1", server.port)
            while (await client.info("replication"))["master_link_status"] != "up":
                pass
            with pytest.raises(VaultUnavailable, match="is a replica that takes no writes"):
                await second.exchange(None, reservation_of("h1", SCOPE, cost=1))
            server.kill()
            await client.execute_command("REPLICAOF", "NO", "ONE")
            await ask(replica, "FUNCTION", "FLUSH")
            answer = await second.exchange(Settlement("ada", "h0", spent(70)), reservation_of("h2", SCOPE, cost=1))
            await client.aclose()
            await second.aclose()

        assert (None, 70) == (answer.refusal, answer.balances[0].spent.cost_nano_usd)


async def test_two_versions_of_the_library_share_a_server(
    server: RedisServer, vault: RedisVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Servers of two versions read and write the same accounts, each by functions of its own name.
    """
    text, prefix = vault._server._library
    other = RedisVault(vault._server.__class__(server.url), (), None)
    older = prefix[:-2] + "0_"
    monkeypatch.setattr(other._server, "_library", type(vault._server._library)(text.replace(prefix[:-1], older[:-1]), older))
    await vault.exchange(None, reservation_of("h0", SCOPE, cost=100))
    await other.exchange(Settlement("ada", "h0", spent(70)), reservation_of("h1", SCOPE, cost=1))
    balance = await balance_of(vault, SCOPE)
    await other.aclose()

    assert prefix != older
    assert (70, 1) == (balance.spent.cost_nano_usd, balance.reserved.cost_nano_usd)
