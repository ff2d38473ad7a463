"""
A vault in this process: exact, at once, and gone with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from meshwalk.budgets import AccountReport, Answer, Balance, Ledger, Reservation, Scope, Settlement, SpendPath
from meshwalk.budgets.vaults.base import Claim
from meshwalk.budgets.vaults.fifo import FifoWaiters
from meshwalk.model import Amount, Caps, ScopeKind


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


class MemoryVault:
    """
    Keep budgets in memory.

    Args:
        clock_us: Microseconds since the Unix epoch.
    """

    waits = False
    look_again_s = (1.0, 1.0)
    name = "memory"
    risks: tuple[str, ...] = ()

    def __init__(self, clock_us: Callable[[], int] = _wall_clock_us) -> None:
        self.room = FifoWaiters()
        self._clock_us = clock_us
        self._ledger = Ledger()
        self._claims: dict[tuple[str, str], tuple[Claim, int]] = {}
        self._sweep_at = 1024

    async def look(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        """
        Show how *scopes* stand.
        """
        return self._ledger.look(self._clock_us(), scopes)

    async def exchange(self, settlement: Settlement | None, hold: Reservation | None) -> Answer:
        """
        Settle one hold and take another.
        """
        return self._ledger.exchange(self._clock_us(), settlement, hold)

    async def charge(
        self, id_: str, scopes: Sequence[Scope], spent: Amount, place: SpendPath, *, assumed: bool = False
    ) -> None:
        """
        Count what was spent without a hold, once for each *id_*.
        """
        self._ledger.charge(self._clock_us(), id_, scopes, spent, place, assumed=assumed)

    async def statements(self, tenant: str, kind: ScopeKind | None = None, name: str | None = None) -> list[AccountReport]:
        """
        Show the accounts of *tenant*.
        """
        return in_order(self._ledger.statements(self._clock_us(), tenant), kind, name)

    async def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Put *caps* in place of what graphs say.
        """
        self._ledger.set_caps(tenant, kind, name, caps)

    async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        """
        Claim an idempotency key, unless somebody has it.
        """
        now = self._clock_us()
        claim, until = self._claims.get((tenant, key), (None, 0))
        if claim is not None and until > now:
            return claim
        self._sweep(now)
        claim = Claim(owner, fingerprint)
        self._claims[tenant, key] = claim, now + lease_us

        return claim

    async def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        """
        Leave a result for retries, or give the key free.
        """
        now = self._clock_us()
        claim, until = self._claims.get((tenant, key), (None, 0))
        if claim is None or claim.owner != owner or until <= now:
            return
        if result is None:
            del self._claims[tenant, key]
        else:
            self._claims[tenant, key] = claim._replace(result=result), now + keep_us

    async def flush(self) -> None:
        """
        Do nothing: everything was told when it was said.
        """

    async def aclose(self) -> None:
        """
        Do nothing: there is nothing to let go of.
        """

    def _sweep(self, now: int) -> None:
        if len(self._claims) >= self._sweep_at:
            self._claims = {key: kept for key, kept in self._claims.items() if kept[1] > now}
            self._sweep_at = max(1024, 2 * len(self._claims))


def in_order(statements: Iterable[AccountReport], kind: ScopeKind | None, name: str | None) -> list[AccountReport]:
    """
    Choose and sort what an operator asked to see.
    """
    chosen = [one for one in statements if kind in (None, one.kind) and name in (None, one.name)]

    return sorted(chosen, key=lambda one: (one.kind, one.name, one.window_us or 0, one.window_ends_unix_us or 0))
