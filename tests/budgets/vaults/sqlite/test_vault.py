"""
The vault in a file: the ledger's answers, and what only a file can do.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from meshwalk.budgets.vaults import Vault
from meshwalk.budgets.vaults.sqlite import SqliteVault
from tests.budgets.vault_contract import VaultContract
from tests.budgets.vault_machine import Clock, VaultMachine


class Machine(VaultMachine):
    async def open(self, clock: Clock) -> Sequence[Vault]:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())

        return [await SqliteVault.open(Path(folder, "budgets.sqlite"), clock_us=clock) for _ in range(2)]


@pytest.mark.slow
def test_agrees_with_the_ledger() -> None:
    """
    Whatever is asked in whatever order and through either of two connections, the file answers as the ledger does.
    """
    run_state_machine_as_test(Machine, settings=settings(max_examples=50, stateful_step_count=50))


class TestContract(VaultContract):
    @pytest.fixture
    async def doors(self, clock: Clock, tmp_path: Path) -> AsyncIterator[Sequence[Vault]]:
        doors = [await SqliteVault.open(tmp_path / "new" / "budgets.sqlite", clock_us=clock) for _ in range(2)]
        yield doors
        for door in doors:
            await door.aclose()
