"""
Vaults: storage of shared budgets.
"""

from __future__ import annotations

from meshwalk.budgets.vaults.base import DEFAULT_TENANT, Claim, Vault
from meshwalk.budgets.vaults.fallback import answers
from meshwalk.budgets.vaults.fifo import FifoWaiters
from meshwalk.budgets.vaults.memory import MemoryVault
from meshwalk.budgets.vaults.opening import open_vault


__all__ = ["DEFAULT_TENANT", "Claim", "FifoWaiters", "MemoryVault", "Vault", "answers", "open_vault"]
