"""
The vault in Redis; needs the extra `redis`.
"""

from __future__ import annotations

from meshwalk.budgets.vaults.redis.vault import RedisVault


__all__ = ["RedisVault"]
