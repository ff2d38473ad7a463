"""
The front door of the vaults: where shared budgets are kept.
"""

from __future__ import annotations

from meshwalk.vaults.base import DEFAULT_TENANT, Claim, Vault
from meshwalk.vaults.memory import MemoryVault
from meshwalk.vaults.opening import open_vault
from meshwalk.vaults.standby import StandbyVault
from meshwalk.vaults.waiting import WaitingRoom


__all__ = ["DEFAULT_TENANT", "Claim", "MemoryVault", "StandbyVault", "Vault", "WaitingRoom", "open_vault"]
