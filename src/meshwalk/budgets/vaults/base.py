"""
The interface of a vault: a shared store of accounts and reservations.

A vault makes no decisions of its own: it keeps accounts and reservations as `budgets.Ledger` does, by its own clock, and every
vault is tested against that ledger.  It also stores the claims of idempotency keys, because a retry may reach another server.

Each call is atomic.  Errors of a library or a server are raised as `VaultUnavailable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from meshwalk.budgets import AccountReport, Answer, Balance, Reservation, Scope, Settlement, SpendPath
from meshwalk.budgets.vaults.fifo import FifoWaiters
from meshwalk.model import Amount, Caps, ScopeKind


# The tenant of unauthenticated callers.
DEFAULT_TENANT = "default"

# The remedy for a password in an address.
PASSWORD_REMEDY = "put it into an environment variable and name that: redis://:${NAME}@HOST:PORT/DB"  # noqa: S105 (no password)


class Claim(NamedTuple):
    """
    The claim on an idempotency key.

    Args:
        owner: The holder of the claim: the caller, if the key was free.
        fingerprint: The digest of the request that first used the key.
        result: The result stored by the owner; None until it is done.
    """

    owner: str
    fingerprint: str
    result: bytes | None = None


class Vault(Protocol):
    """
    A store of shared budgets, closed at the end of `async with`.

    Attributes:
        waits: Whether a call may wait for a disk or a network.
        poll_seconds: The first and the longest interval at which a walk polls while others have reserved the budget.
        waiters: The walks of this process that wait for a budget; a settlement in this process wakes them.
        name: The name in errors and listings, without secrets.
        risks: The losses of acknowledged data that are possible, one sentence each for the operator, found on opening.
    """

    waits: bool
    poll_seconds: tuple[float, float]
    waiters: FifoWaiters
    name: str
    risks: tuple[str, ...]

    async def balances(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        """
        Return the balances of *scopes*, all of one tenant.

        Raises:
            VaultUnavailable: If the vault does not answer.
        """
        ...

    async def exchange(self, settlement: Settlement | None, reservation: Reservation | None) -> Answer:
        """
        Settle one reservation and make another, atomically and in at most one round trip.

        Raises:
            VaultUnavailable: If the vault does not answer; repeating the call is safe.
        """
        ...

    async def charge(
        self, id_: str, scopes: Sequence[Scope], spent: Amount, spend_path: SpendPath, *, assumed: bool = False
    ) -> None:
        """
        Add spending of a time when the vault was unavailable, once for each *id_*.

        If *id_* has an open reservation, because only the answer was lost, this settles it.  If it was charged before, or has
        expired and was charged at its worst case, the call is ignored.

        Raises:
            VaultUnavailable: If the vault does not answer; repeating the call is safe.
        """
        ...

    async def reports(self, tenant: str, kind: ScopeKind | None = None, name: str | None = None) -> list[AccountReport]:
        """
        Report the accounts of *tenant*, sorted by kind, name and window.

        Raises:
            VaultUnavailable: If the vault does not answer.
        """
        ...

    async def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Override the caps of graphs from the next reservation on; None leaves a part to the graph.

        Raises:
            VaultUnavailable: If the vault does not answer.
        """
        ...

    async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        """
        Claim an idempotency key for *owner*, for at most *lease_us*, or return the claim that exists.

        Raises:
            VaultUnavailable: If the vault does not answer.
        """
        ...

    async def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        """
        Store *result* for retries with the key within *keep_us*; None releases the key.

        The call is ignored unless *owner* holds the claim.

        Raises:
            VaultUnavailable: If the vault does not answer.
        """
        ...

    async def flush(self) -> None:
        """
        Send queued messages, if there are any; the owner of an open vault calls this periodically.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    async def aclose(self) -> None:
        """
        Close connections and files; calling it twice is fine.
        """
        ...
