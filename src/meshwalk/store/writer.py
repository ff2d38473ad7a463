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

from meshwalk.plan import Plan
from meshwalk.store.database import open_to_write
from meshwalk.store.inbox import Inbox, Item, OnFull
from meshwalk.store.summary import COLUMNS, summarise
from meshwalk.trace import Traversal, encode


_INSERT = f"INSERT OR IGNORE INTO traversals ({', '.join(COLUMNS)}, body) VALUES ({', '.join('?' * len(COLUMNS))}, ?)"  # noqa: S608 (our own names)
_INSERT_PLAN = "INSERT OR IGNORE INTO plans (plan_digest, shape_digest, graph, canonical) VALUES (?, ?, ?, ?)"

_log = logging.getLogger(__name__)


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
        self._inbox = Inbox(capacity, on_full)
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
        drops, failures = _Burst("traversals are dropped: the store's queue is full"), _Burst("traversals cannot be stored")
        while batch := self._inbox.take():
            error, count = self._commit(batch), len(batch)
            # Else the last of them would be held until there are more to write.
            del batch
            self._inbox.finish(count)
            drops.tell(self.dropped)
            failures.tell(self.failed, error)

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


class _Burst:
    """
    Log the first loss of a burst; a burst is over when a batch goes by without one.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._seen = 0
        self._going = False

    def tell(self, lost: int, error: Exception | None = None) -> None:
        new = lost > self._seen
        if new and not self._going:
            why = "" if error is None else f": {error}"
            # What SQLite says of its file is the whole story; anything else may be a fault of ours, and keeps its places.
            places = None if isinstance(error, sqlite3.Error) else error
            _log.warning("%s%s", self._message, why, exc_info=places, extra={"meshwalk.lost": lost})
        self._going, self._seen = new, lost
