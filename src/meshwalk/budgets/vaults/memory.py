"""
A vault in the memory of this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from meshwalk.budgets import AccountReport, Answer, Balance, Ledger, Reservation, Scope, Settlement, SpendPath
from meshwalk.budgets.vaults.base import Claim
from meshwalk.budgets.vaults.fifo import FifoWaiters
from meshwalk.model import Amount, Caps, ScopeKind
from meshwalk.model.resource import AsyncResource


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


# The most bytes of results that wait for retries; the oldest go first.
MAX_RESULT_BYTES = 64 << 20

# The bytes of a claim besides its texts.
_CLAIM_BYTES = 500


class MemoryVault(AsyncResource):
    """
    Budgets in memory.

    Args:
        clock_us: Microseconds since the Unix epoch.
        max_result_bytes: The most bytes of claims with results; past these the oldest are forgotten, so that a retry walks.
    """

    waits = False
    poll_seconds = (1.0, 1.0)
    name = "memory"
    risks: tuple[str, ...] = ()

    def __init__(self, clock_us: Callable[[], int] = _wall_clock_us, *, max_result_bytes: int = MAX_RESULT_BYTES) -> None:
        self.waiters = FifoWaiters()
        self._clock_us = clock_us
        self._ledger = Ledger()
        self._claims: dict[tuple[str, str], tuple[Claim, int]] = {}
        self._sweep_at = 1024
        self._max_result_bytes = max_result_bytes
        # The claims that have a result, oldest first, with their bytes.
        self._finished: dict[tuple[str, str], int] = {}
        self._result_bytes = 0

    def __repr__(self) -> str:
        return f"<MemoryVault with {self._ledger.reservations} open reservations>"

    async def balances(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        """
        Return the balances of *scopes*.
        """
        return self._ledger.balances(self._clock_us(), scopes)

    async def exchange(self, settlement: Settlement | None, reservation: Reservation | None) -> Answer:
        """
        Settle one reservation and make another.
        """
        return self._ledger.exchange(self._clock_us(), settlement, reservation)

    async def charge(
        self, id_: str, scopes: Sequence[Scope], spent: Amount, spend_path: SpendPath, *, assumed: bool = False
    ) -> None:
        """
        Add spending that has no reservation, once for each *id_*.
        """
        self._ledger.charge(self._clock_us(), id_, scopes, spent, spend_path, assumed=assumed)

    async def reports(self, tenant: str, kind: ScopeKind | None = None, name: str | None = None) -> list[AccountReport]:
        """
        Report the accounts of *tenant*.
        """
        return sort_reports(self._ledger.reports(self._clock_us(), tenant), kind, name)

    async def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Override the caps of graphs.
        """
        self._ledger.set_caps(tenant, kind, name, caps)

    async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        """
        Claim an idempotency key, or return the claim that exists.
        """
        now_us = self._clock_us()
        claim, until = self._claims.get((tenant, key), (None, 0))
        if claim is not None and until > now_us:
            return claim
        self._forget(tenant, key)
        self._sweep(now_us)
        claim = Claim(owner, fingerprint)
        self._claims[tenant, key] = claim, now_us + lease_us

        return claim

    async def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        """
        Store a result for retries, or release the key.
        """
        now_us = self._clock_us()
        claim, until = self._claims.get((tenant, key), (None, 0))
        if claim is None or claim.owner != owner or until <= now_us:
            return
        if result is None:
            del self._claims[tenant, key]
        else:
            self._claims[tenant, key] = claim._replace(result=result), now_us + keep_us
            self._finished[tenant, key] = size = _CLAIM_BYTES + len(tenant) + len(key) + len(result)
            self._result_bytes += size
            while self._result_bytes > self._max_result_bytes:
                oldest = next(iter(self._finished))
                self._forget(*oldest)
                del self._claims[oldest]

    async def flush(self) -> None:
        """
        Do nothing: no message waits to be sent.
        """

    async def aclose(self) -> None:
        """
        Do nothing: there is nothing to close.
        """

    def _forget(self, tenant: str, key: str) -> None:
        self._result_bytes -= self._finished.pop((tenant, key), 0)

    def _sweep(self, now_us: int) -> None:
        if len(self._claims) >= self._sweep_at:
            self._claims = {key: kept for key, kept in self._claims.items() if kept[1] > now_us}
            for key in [key for key in self._finished if key not in self._claims]:
                self._forget(*key)
            self._sweep_at = max(1024, 2 * len(self._claims))


def sort_reports(reports: Iterable[AccountReport], kind: ScopeKind | None, name: str | None) -> list[AccountReport]:
    """
    Filter and sort the accounts that an operator asked for.
    """
    chosen = [one for one in reports if kind in (None, one.kind) and name in (None, one.name)]

    return sorted(chosen, key=lambda one: (one.kind, one.name, one.window_us or 0, one.window_ends_unix_us or 0))
