"""
The sink: what is recorded goes into an inbox, and one thread encodes it and commits it in batches.

The thread wakes with the first traversal, lingers a moment for company, and commits what has come, so that a busy server pays
one commit for many traversals and an idle one wakes for none.

A server must outlive its disk: what cannot be written is counted and logged, never raised, and never tried again, because
a queue that waits for a full disk holds up those who wait for the queue.
"""

from __future__ import annotations

import atexit
import logging
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from anyio import CancelScope, to_thread

from meshwalk.inbox import Burst, Inbox, OnFull
from meshwalk.plan import Plan
from meshwalk.store.database import open_to_write
from meshwalk.store.summary import COLUMNS, summarise
from meshwalk.trace import Traversal, encode


_INSERT = f"INSERT OR IGNORE INTO traversals ({', '.join(COLUMNS)}, body) VALUES ({', '.join('?' * len(COLUMNS))}, ?)"  # noqa: S608 (our own names)
_INSERT_PLAN = "INSERT OR IGNORE INTO plans (plan_digest, shape_digest, graph, canonical) VALUES (?, ?, ?, ?)"

Item = tuple[Traversal, Plan]

_log = logging.getLogger(__name__)

# How long the writer waits for company before it commits a lone traversal.
LINGER_SECONDS = 0.1

# One transaction's worth, so that other writers of the file get their turn.
BATCH = 1_000


class TraceStore:
    """
    Write traversals to `<folder>/traces.sqlite`.

    Args:
        on_full: When the disk falls behind, `drop` loses what comes and counts it; `block` makes `record` wait for
            room, and with it the event loop that calls it: nothing is lost, and nothing is served meanwhile.
        capacity: How many traversals may wait.

    Raises:
        SetupError: If the folder cannot be written.
        TraceError: If the file in it is of a newer meshwalk.
    """

    def __init__(self, folder: str | Path, *, on_full: OnFull = "drop", capacity: int = 10_000) -> None:
        self.folder = Path(folder)
        self._connection = open_to_write(folder)
        self._inbox: Inbox[Item] = Inbox(capacity, on_full, linger=LINGER_SECONDS, batch=BATCH)
        self._plans: set[str] = set()
        self._failed = 0
        self._thread = threading.Thread(target=self._write, name="meshwalk-store", daemon=True)
        self._thread.start()
        # A daemon, so that a forgotten store does not keep a program from ending; its last batch is written all the same.
        atexit.register(self._close)

    @property
    def dropped(self) -> int:
        """
        Count the traversals lost because there was no room, or because they came after the store was closed.
        """
        return self._inbox.dropped

    @property
    def failed(self) -> int:
        """
        Count the traversals lost because they could not be encoded or written.
        """
        return self._failed

    def record(self, traversal: Traversal, plan: Plan) -> None:
        """
        Take *traversal*, to be committed soon.
        """
        self._inbox.put((traversal, plan))

    async def flush(self) -> None:
        """
        Return when everything recorded so far is committed, or counted as lost.
        """
        await to_thread.run_sync(self._inbox.wait)

    async def aclose(self) -> None:
        """
        Commit what waits and let go of the file; closing twice is fine.
        """
        with CancelScope(shield=True):
            await to_thread.run_sync(self._close)

    def _close(self) -> None:
        self._inbox.close()
        self._thread.join()
        self._connection.close()
        atexit.unregister(self._close)

    # ---- the thread ---------------------------------------------------------------------------------------------

    def _write(self) -> None:
        drops = Burst(_log, "traversals are dropped: the store's queue is full")
        failures = Burst(_log, "traversals cannot be stored")
        while batch := self._inbox.take():
            error, count = self._commit(batch), len(batch)
            # Else the last of them would be held until there are more to write.
            del batch
            self._inbox.finish(count)
            drops.tell(self.dropped)
            # What SQLite says of its file is the whole story; anything else may be a fault of ours, and keeps its places.
            failures.tell(self.failed, str(error or ""), None if isinstance(error, sqlite3.Error) else error)

    def _commit(self, batch: Sequence[Item]) -> Exception | None:
        """
        Write *batch* in one transaction, and return what went wrong if something did.
        """
        plans: set[str] = set()
        failed, error = 0, None
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for traversal, plan in batch:
                try:
                    self._put(traversal, plan, plans)
                except sqlite3.OperationalError:
                    raise
                except Exception as fault:  # noqa: BLE001 (one record that cannot be stored must not cost the others)
                    failed, error = failed + 1, fault
            self._connection.execute("COMMIT")
        except sqlite3.Error as fault:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            self._failed += len(batch)
            return fault
        self._failed += failed
        self._plans |= plans

        return error

    def _put(self, traversal: Traversal, plan: Plan, plans: set[str]) -> None:
        row = (*summarise(traversal), encode(traversal))
        digest = plan.plan_digest
        if digest not in self._plans and digest not in plans:
            self._connection.execute(_INSERT_PLAN, (digest, plan.shape_digest, plan.name, plan.canonical))
            plans.add(digest)
        self._connection.execute(_INSERT, row)
