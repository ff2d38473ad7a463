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
async def test_results_are_bounded_in_bytes() -> None:
    """
    Past the bytes that results may have the oldest is forgotten, and its key can be claimed anew; claims under way are not.
    """
    vault = MemoryVault(Clock(), max_result_bytes=100_000)
    await vault.claim("ada", "under way", "t0", "f", HOUR)
    for number in range(100):
        key = f"k{number}"
        await vault.claim("ada", key, "t1", "f", HOUR)
        await vault.finish("ada", key, "t1", b"x" * 9_000, HOUR)
    claims = [await vault.claim("ada", f"k{number}", "t2", "f", HOUR) for number in range(100)]
    under_way = await vault.claim("ada", "under way", "t2", "f", HOUR)

    assert [None] * 90 == [claim.result for claim in claims[:90]]
    assert all(claim.result is not None for claim in claims[-5:])
    assert "t0" == under_way.owner


@pytest.mark.anyio
async def test_a_result_past_the_bound_is_not_kept() -> None:
    """
    A result that alone is larger than all may be is forgotten at once, and results that have expired leave room.
    """
    clock = Clock()
    vault = MemoryVault(clock, max_result_bytes=10_000)
    for result in (b"x" * 20_000, b"x" * 9_000, b"y" * 9_000):
        claim = await vault.claim("ada", "k", "t", "f", HOUR)
        assert claim.result is None
        await vault.finish("ada", "k", "t", result, 100)
        clock.now += 200
    await vault.claim("ada", "k", "t", "f", HOUR)
    await vault.finish("ada", "k", "t", b"z" * 9_000, HOUR)

    assert b"z" * 9_000 == (await vault.claim("ada", "k", "t", "f", HOUR)).result


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
