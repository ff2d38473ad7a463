"""
The front door of the vaults.
"""

from __future__ import annotations

from meshwalk.vaults.base import DEFAULT_TENANT, Claim, Vault
from meshwalk.vaults.memory import MemoryVault
from meshwalk.vaults.waiting import WaitingRoom


async def open_vault(where: str) -> Vault:
    """
    Open the vault at *where*.
    """
    assert where == "memory"

    return MemoryVault()


__all__ = ["DEFAULT_TENANT", "Claim", "MemoryVault", "Vault", "WaitingRoom", "open_vault"]
