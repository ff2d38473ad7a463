"""
What a vault is: the books of `budgets`, kept where all who spend from them can reach them.

A vault decides nothing of its own: it keeps accounts and holds as `budgets.Ledger` does, by its own clock, and every vault is
tested against that ledger.  It also keeps the claims of idempotency keys, because a retry may arrive at another server.

What a vault is asked for in one call happens at once or not at all.  Errors of a library or a server
are raised as `VaultUnavailable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from meshwalk.budgets import AccountReport, Answer, Balance, Reservation, Scope, Settlement, SpendPath
from meshwalk.budgets.vaults.fifo import FifoWaiters
from meshwalk.model import Amount, Caps, ScopeKind


# The tenant of callers for whom nobody answers.
DEFAULT_TENANT = "default"

# How a password gets into an address.
BY_NAME = "put it into an environment variable and name that: redis://:${NAME}@HOST:PORT/DB"


class Claim(NamedTuple):
    """
    Say what became of claiming an idempotency key.

    Args:
        owner: Who holds the claim, which is the one who asked if it was free.
        fingerprint: What request the key was first used for.
        result: What its owner left when it was done; None while it is not.
    """

    owner: str
    fingerprint: str
    result: bytes | None = None


class Vault(Protocol):
    """
    Keep shared budgets.

    Attributes:
        waits: Whether a call may wait for a disk or a network.
        look_again_s: How soon, and at last how seldom, one who waits for others to settle looks again, in seconds; who settles
            in this process wakes those who wait in `room`.
        name: How errors and people name it, without secrets.
        risks: What it may forget that it acknowledged, one sentence each for the operator, as found when it was opened.
    """

    waits: bool
    look_again_s: tuple[float, float]
    room: FifoWaiters
    name: str
    risks: tuple[str, ...]

    async def look(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        """
        Show how *scopes*, all of one tenant, stand.

        Raises:
            VaultUnavailable: If the vault does not answer.
        """
        ...

    async def exchange(self, settlement: Settlement | None, hold: Reservation | None) -> Answer:
        """
        Settle one hold and take another, in one step and at most one round trip.

        Raises:
            VaultUnavailable: If the vault does not answer; asking again with the same is safe.
        """
        ...

    async def charge(
        self, id_: str, scopes: Sequence[Scope], spent: Amount, place: SpendPath, *, assumed: bool = False
    ) -> None:
        """
        Count what was spent while the vault was away, once for each *id_*.

        Where that id is held after all, because only the answer was lost, this settles it; where it was charged before, or has
        expired and was charged at its worst, this is passed over.

        Raises:
            VaultUnavailable: If the vault does not answer; asking again with the same is safe.
        """
        ...

    async def statements(self, tenant: str, kind: ScopeKind | None = None, name: str | None = None) -> list[AccountReport]:
        """
        Show the accounts of *tenant*, sorted by kind, name and window.

        Raises:
            VaultUnavailable: If the vault does not answer.
        """
        ...

    async def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Put *caps* in place of what graphs say, from the next hold on; None leaves a part to them.

        Raises:
            VaultUnavailable: If the vault does not answer.
        """
        ...

    async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        """
        Claim an idempotency key for *owner*, for *lease_us* at most, unless somebody has it.

        Raises:
            VaultUnavailable: If the vault does not answer.
        """
        ...

    async def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        """
        Leave *result* for whoever comes with the key within *keep_us*; None gives the key free.

        Only its owner can, while its claim lasts; from anybody else, and later, this is passed over.

        Raises:
            VaultUnavailable: If the vault does not answer.
        """
        ...

    async def flush(self) -> None:
        """
        Tell what waits to be told, if anything does; whoever keeps a vault open calls this now and then.
        """
        ...

    async def aclose(self) -> None:
        """
        Let go of connections and files; calling it twice is fine.
        """
        ...
