"""
The vault in Redis, on real servers: it agrees with the ledger, and does what every vault does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from meshwalk.vaults import Vault
from meshwalk.vaults.redis import RedisVault
from redis_server import BINARIES, RedisServer
from vaulting import Clock, VaultContract, VaultMachine


@pytest.fixture(scope="module", params=BINARIES)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), binary=request.param) as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    shared.ask("FLUSHALL")

    return shared


def test_agrees_with_the_ledger(server: RedisServer) -> None:
    """
    Whatever two replicas ask in whatever order, Redis answers as the ledger does.
    """

    class Machine(VaultMachine):
        async def open(self, clock: Clock) -> Sequence[Vault]:
            server.ask("FLUSHALL")

            return [await RedisVault.open(server.url, clock_us=clock) for _ in range(2)]

    run_state_machine_as_test(Machine, settings=settings(max_examples=50, stateful_step_count=40))


class TestContract(VaultContract):
    @pytest.fixture
    async def doors(self, clock: Clock, server: RedisServer) -> AsyncIterator[Sequence[Vault]]:
        doors = [await RedisVault.open(server.url, clock_us=clock) for _ in range(2)]
        yield doors
        for door in doors:
            await door.aclose()
