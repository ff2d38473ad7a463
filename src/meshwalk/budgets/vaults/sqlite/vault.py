"""
A vault in an SQLite file: exact across the worker processes of one machine.

Each operation is part of an exclusive transaction, so no decision is based on a state that another process is changing.  Disk
work happens in a thread, in batches (`batch_executor`).  Every process opens the file itself: an open vault does not survive a
fork.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from meshwalk.budgets import AccountReport, Answer, Balance, Reservation, Scope, Settlement, SpendPath
from meshwalk.budgets.vaults.base import Claim
from meshwalk.budgets.vaults.fifo import FifoWaiters
from meshwalk.budgets.vaults.memory import sort_reports
from meshwalk.budgets.vaults.sqlite.batch_executor import BatchExecutor, Operation, Outcome
from meshwalk.budgets.vaults.sqlite.database import Database
from meshwalk.budgets.vaults.sqlite.ledger import SqliteLedger
from meshwalk.budgets.vaults.sqlite.reports import reports
from meshwalk.model import Amount, Caps, ScopeKind
from meshwalk.model.problems import SetupError, VaultUnavailable
from meshwalk.model.resource import AsyncResource


T = TypeVar("T")

# After so many new accounts of this process, up to twice as many expired accounts are deleted.
SWEEP_EVERY = 256

MAX_VALUE = 2**63 - 1

_RISK = (
    "a power cut or a crash of the machine may forget what was reserved and spent in the last seconds before it, "
    "which the end of a process does not"
)


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


class SqliteVault(AsyncResource):
    """
    Budgets in an SQLite file; `open` returns one.
    """

    waits = True
    # Settlements in other processes do not wake the waiters of this one.
    poll_seconds = (0.02, 0.25)

    def __init__(self, database: Database, name: str, risks: tuple[str, ...], clock_us: Callable[[], int]) -> None:
        self.waiters = FifoWaiters()
        self.name = name
        self.risks = risks
        self._clock_us = clock_us
        self._database = database
        self._executor = BatchExecutor[SqliteLedger](self._run)
        self._readers = CapacityLimiter(1)
        self._closed = False
        # The first sweep is due at once, so that short-lived processes sweep too.
        self._created = SWEEP_EVERY

    def __repr__(self) -> str:
        return f"<SqliteVault {self.name}{': closed' if self._closed else ''}>"

    @classmethod
    async def open(
        cls, path: str | Path, *, durable: bool = False, clock_us: Callable[[], int] = _wall_clock_us
    ) -> SqliteVault:
        """
        Open the file at *path*, and create it and its folder if need be.

        Args:
            durable: Wait for the disk in every transaction, so that not even a power cut forgets what was spent.
            clock_us: Microseconds since the Unix epoch.

        Raises:
            SetupError: If the file cannot be used.
            VaultUnavailable: If another process keeps it locked.
        """
        database = await to_thread.run_sync(lambda: Database(Path(path).absolute(), durable=durable))

        return cls(database, f"sqlite:{path}", () if durable else (_RISK,), clock_us)

    async def balances(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        """
        Return the balances of *scopes*.
        """
        return await self._do(lambda ledger: ledger.balances(scopes))

    async def exchange(self, settlement: Settlement | None, reservation: Reservation | None) -> Answer:
        """
        Settle one reservation and make another.
        """
        return await self._do(lambda ledger: ledger.exchange(settlement, reservation))

    async def charge(
        self, id_: str, scopes: Sequence[Scope], spent: Amount, spend_path: SpendPath, *, assumed: bool = False
    ) -> None:
        """
        Add spending that has no reservation, once for each *id_*.
        """
        await self._do(lambda ledger: ledger.charge(id_, scopes, spent, spend_path, assumed=assumed))

    async def reports(self, tenant: str, kind: ScopeKind | None = None, name: str | None = None) -> list[AccountReport]:
        """
        Report the accounts of *tenant*; the read does not block other operations, however many accounts there are.
        """

        def read() -> list[AccountReport]:
            with self._database.reading() as connection:
                return sort_reports(reports(connection, tenant, kind, name), None, None)

        # Charges the leases that have ended.
        await self._do(lambda _: None)

        return await to_thread.run_sync(read, limiter=self._readers)

    async def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Override the caps of graphs.
        """
        await self._do(lambda ledger: ledger.set_caps(tenant, kind, name, caps))

    async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        """
        Claim an idempotency key, or return the claim that exists.
        """
        return await self._do(lambda ledger: ledger.claim(tenant, key, owner, fingerprint, lease_us))

    async def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        """
        Store a result for retries, or release the key.
        """
        await self._do(lambda ledger: ledger.finish(tenant, key, owner, result, keep_us))

    async def flush(self) -> None:
        """
        Do nothing: no message waits to be sent.
        """

    async def aclose(self) -> None:
        """
        Finish operations under way and close the file; closing twice is fine.
        """
        self._closed = True
        with CancelScope(shield=True):
            # Queued behind all others, so that it runs last.
            await self._executor.do(_close)

    async def _do(self, operation: Callable[[SqliteLedger], T]) -> T:
        if self._closed:
            raise VaultUnavailable(f"the vault {self.name!r} is closed")

        return await self._executor.do(operation)

    # ---- in the thread ------------------------------------------------------------------------------------------

    def _run(self, operations: Sequence[Operation[SqliteLedger]]) -> Sequence[Outcome]:
        # No operation follows the first one that closes.
        work = [operation for operation in operations if operation is not _close]
        outcomes = self._attempt(work) if work else []
        if len(work) == len(operations):
            return outcomes
        self._database.close()

        return [*outcomes, *[None] * (len(operations) - len(work))]

    def _attempt(self, operations: Sequence[Operation[SqliteLedger]]) -> list[Outcome]:
        """
        Execute *operations* in one transaction; if one of them raises, each in its own.
        """
        try:
            return self._together(operations)
        except VaultUnavailable as away:
            # One exception each, because raising one changes it.
            return [VaultUnavailable(str(away)) for _ in operations]
        except Exception as fault:  # noqa: BLE001 (it is raised in the task that submitted the operation)
            if len(operations) > 1:
                return [outcome for operation in operations for outcome in self._attempt([operation])]

            return [SetupError(self._overflow_message()) if isinstance(fault, OverflowError) else fault]

    def _together(self, operations: Sequence[Operation[SqliteLedger]]) -> list[Outcome]:
        with self._database.transaction() as connection:
            ledger = SqliteLedger(connection, self._clock_us())
            outcomes = [operation(ledger) for operation in operations]
            created = self._created + ledger.close()
            if created >= SWEEP_EVERY:
                ledger.sweep(2 * SWEEP_EVERY)
                created = 0
        self._created = created

        return outcomes

    def _overflow_message(self) -> str:
        return (
            f"the vault {self.name!r} counts up to {MAX_VALUE} of a kind, and this goes past it; "
            "lower max_tokens, context_tokens or usd_per_mtok"
        )


def _close(_: SqliteLedger) -> None:
    """
    Mark the end of the vault in the queue of operations.
    """
