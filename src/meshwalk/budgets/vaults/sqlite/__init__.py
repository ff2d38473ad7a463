"""
The vault in an SQLite file.
"""

from __future__ import annotations

from meshwalk.budgets.vaults.sqlite.vault import SqliteVault


__all__ = ["SqliteVault"]
