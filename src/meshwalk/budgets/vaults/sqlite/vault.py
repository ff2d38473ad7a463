"""
A vault in a file of SQLite: for several worker processes on one machine, exact between them.

Each operation is part of one transaction that keeps all others out, so nothing is ever judged on what another process is just
changing.  Disk work is done in a thread, in batches (`combiner`).  A process opens the file for itself: an open vault is not
taken along into a fork.
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
from meshwalk.budgets.vaults.memory import in_order
from meshwalk.budgets.vaults.sqlite.batch_executor import BatchExecutor, Operation, Outcome
from meshwalk.budgets.vaults.sqlite.database import Database
from meshwalk.budgets.vaults.sqlite.ledger import SqliteLedger
from meshwalk.budgets.vaults.sqlite.statements import statements
from meshwalk.model import Amount, Caps, ScopeKind
from meshwalk.model.problems import SetupError, VaultUnavailable


T = TypeVar("T")

# So often, counted in new accounts of this process, accounts whose time is over are looked for; twice as many may go.
SWEEP_EVERY = 256

MOST = 2**63 - 1

_RISK = (
    "a power cut or a crash of the machine may forget what was reserved and spent in the last seconds before it, "
    "which the end of a process does not"
)


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


class SqliteVault:
    """
    Keep budgets in a file; `open` opens it.
    """

    waits = True
    # Who settles in another process cannot call those who wait in this one.
    look_again_s = (0.02, 0.25)

    def __init__(self, database: Database, name: str, risks: tuple[str, ...], clock_us: Callable[[], int]) -> None:
        self.room = FifoWaiters()
        self.name = name
        self.risks = risks
        self._clock_us = clock_us
        self._database = database
        self._combiner = BatchExecutor[SqliteLedger](self._run)
        self._readers = CapacityLimiter(1)
        self._closed = False
        # At once for the first time: processes that are started often should sweep too.
        self._made = SWEEP_EVERY

    @classmethod
    async def open(
        cls, path: str | Path, *, durable: bool = False, clock_us: Callable[[], int] = _wall_clock_us
    ) -> SqliteVault:
        """
        Open the file at *path*, making it and its folder if need be.

        Args:
            durable: Wait for the disk in every transaction, so that not even a power cut forgets what was spent.
            clock_us: Microseconds since the Unix epoch.

        Raises:
            SetupError: If it cannot be used.
            VaultUnavailable: If another process does not let go of it.
        """
        database = await to_thread.run_sync(lambda: Database(Path(path).absolute(), durable=durable))

        return cls(database, f"sqlite:{path}", () if durable else (_RISK,), clock_us)

    async def look(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        """
        Show how *scopes* stand.
        """
        return await self._do(lambda books: books.look(scopes))

    async def exchange(self, settlement: Settlement | None, hold: Reservation | None) -> Answer:
        """
        Settle one hold and take another.
        """
        return await self._do(lambda books: books.exchange(settlement, hold))

    async def charge(
        self, id_: str, scopes: Sequence[Scope], spent: Amount, place: SpendPath, *, assumed: bool = False
    ) -> None:
        """
        Count what was spent without a hold, once for each *id_*.
        """
        await self._do(lambda books: books.charge(id_, scopes, spent, place, assumed=assumed))

    async def statements(self, tenant: str, kind: ScopeKind | None = None, name: str | None = None) -> list[AccountReport]:
        """
        Show the accounts of *tenant*; however many there are, nobody waits for it to end.
        """

        def read() -> list[AccountReport]:
            with self._database.reading() as connection:
                return in_order(statements(connection, tenant, kind, name), None, None)

        # Charges the leases that have ended.
        await self._do(lambda _: None)

        return await to_thread.run_sync(read, limiter=self._readers)

    async def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        """
        Put *caps* in place of what graphs say.
        """
        await self._do(lambda books: books.set_caps(tenant, kind, name, caps))

    async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        """
        Claim an idempotency key, unless somebody has it.
        """
        return await self._do(lambda books: books.claim(tenant, key, owner, fingerprint, lease_us))

    async def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
        """
        Leave a result for retries, or give the key free.
        """
        await self._do(lambda books: books.finish(tenant, key, owner, result, keep_us))

    async def flush(self) -> None:
        """
        Do nothing: everything was told when it was said.
        """

    async def aclose(self) -> None:
        """
        Finish what is under way and let go of the file; closing twice is fine.
        """
        self._closed = True
        with CancelScope(shield=True):
            # In line with all others, so that it is the last.
            await self._combiner.do(_close)

    async def _do(self, operation: Callable[[SqliteLedger], T]) -> T:
        if self._closed:
            raise VaultUnavailable(f"the vault {self.name!r} is closed")

        return await self._combiner.do(operation)

    # ---- in the thread ------------------------------------------------------------------------------------------

    def _run(self, operations: Sequence[Operation[SqliteLedger]]) -> Sequence[Outcome]:
        # Nothing comes after the first that closes.
        asked = [operation for operation in operations if operation is not _close]
        outcomes = self._attempt(asked) if asked else []
        if len(asked) == len(operations):
            return outcomes
        self._database.close()

        return [*outcomes, *[None] * (len(operations) - len(asked))]

    def _attempt(self, operations: Sequence[Operation[SqliteLedger]]) -> list[Outcome]:
        """
        Do *operations* in one transaction; if one of them is at fault, each in its own.
        """
        try:
            return self._together(operations)
        except VaultUnavailable as away:
            # Each its own, because raising one writes to it.
            return [VaultUnavailable(str(away)) for _ in operations]
        except Exception as fault:  # noqa: BLE001 (it is raised where the operation was asked for)
            if len(operations) > 1:
                return [outcome for operation in operations for outcome in self._attempt([operation])]

            return [SetupError(self._too_much()) if isinstance(fault, OverflowError) else fault]

    def _together(self, operations: Sequence[Operation[SqliteLedger]]) -> list[Outcome]:
        with self._database.transaction() as connection:
            books = SqliteLedger(connection, self._clock_us())
            outcomes = [operation(books) for operation in operations]
            made = self._made + books.close()
            if made >= SWEEP_EVERY:
                books.sweep(2 * SWEEP_EVERY)
                made = 0
        self._made = made

        return outcomes

    def _too_much(self) -> str:
        return (
            f"the vault {self.name!r} counts up to {MOST} of a kind, and this goes past it; "
            "lower max_tokens, context_tokens or usd_per_mtok"
        )


def _close(_: SqliteLedger) -> None:
    """
    Stand in line for the end of the vault.
    """
