"""
The vault in memory: the ledger under a lock it does not need, and claims.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from meshwalk.vaults import MemoryVault, Vault
from vaulting import Clock, VaultContract, VaultMachine


class Machine(VaultMachine):
    async def open(self, clock: Clock) -> Sequence[Vault]:
        return [MemoryVault(clock)]


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
