"""
The vault in memory: the ledger as it is, and claims.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from meshwalk.budgets import Scope, SpendPath
from meshwalk.budgets.vaults import MemoryVault, Vault
from tests.budgets.vault_contract import VaultContract, spent
from tests.budgets.vault_machine import HOUR, Clock, VaultMachine


class Machine(VaultMachine):
    async def open(self, clock: Clock) -> Sequence[Vault]:
        return [MemoryVault(clock)]


@pytest.mark.slow
def test_agrees_with_the_ledger() -> None:
    """
    Whatever is asked in whatever order, the vault in memory answers as the ledger does.
    """
    run_state_machine_as_test(Machine, settings=settings(max_examples=50, stateful_step_count=50))


class TestContract(VaultContract):
    @pytest.fixture
    def doors(self, clock: Clock) -> Sequence[Vault]:
        vault = MemoryVault(clock)

        return [vault, vault]


@pytest.mark.anyio
async def test_claims_that_have_ended_make_room() -> None:
    """
    Keys that nobody retries are forgotten when their time is over, and the others are not.
    """
    clock = Clock()
    vault = MemoryVault(clock)
    kept = await vault.claim("ada", "kept", "t0", "f", HOUR)
    for number in range(5_000):
        clock.now += 1
        await vault.claim("ada", f"k{number}", "t1", "f", 100)

    assert len(vault._claims) < 1_100
    assert kept == await vault.claim("ada", "kept", "t2", "f", HOUR)


@pytest.mark.anyio
async def test_goes_by_the_wall_clock() -> None:
    """
    Unless a test steers it, time is the time of day, by which windows begin.
    """
    vault = MemoryVault()
    before = time.time_ns() // 1000
    await vault.charge("c", [Scope("ada", "session", "s", HOUR)], spent(1), SpendPath())
    (report,) = await vault.reports("ada")

    assert report.window_ends_unix_us is not None
    assert before < report.window_ends_unix_us <= before + 2 * HOUR
