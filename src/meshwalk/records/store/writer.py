"""
The sink: what is recorded is encoded at once, and one thread commits it in batches.

To encode a record takes a few microseconds where the walk ends and all of it is at hand.  Kept for a thread to encode it would
cost more: what waits is a thousand small objects, which the walks that follow cannot reuse the memory of.

The thread wakes with the first traversal, lingers a moment for company, and commits what has come, so that a busy server pays
one commit for many traversals and an idle one wakes for none.  Each statement lets go of the interpreter and has to wait for
it afterwards, so one statement inserts many rows.

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

from meshwalk.model.resource import AsyncResource
from meshwalk.plan import Plan
from meshwalk.records.queue import LossLog, OnFull, RecordQueue
from meshwalk.records.store.database import open_to_write
from meshwalk.records.store.summary import COLUMNS, summarise
from meshwalk.trace import Traversal, encode


# How many rows one statement inserts, where there are so many.
TOGETHER = 32

_ROW = f"({', '.join('?' * len(COLUMNS))}, ?)"
_INSERT = f"INSERT OR IGNORE INTO traversals ({', '.join(COLUMNS)}, body) VALUES {_ROW}"  # noqa: S608 (our own names)
_INSERT_TOGETHER = _INSERT + f", {_ROW}" * (TOGETHER - 1)
_INSERT_PLAN = "INSERT OR IGNORE INTO plans (plan_digest, shape_digest, graph, canonical) VALUES (?, ?, ?, ?)"

Row = tuple[object, ...]
# What is to be written, or why it cannot be.
Item = tuple[Row | Exception, Plan]

_log = logging.getLogger(__name__)

# How long the writer waits for company before it commits a lone traversal.
LINGER_SECONDS = 0.1

# One transaction's worth, so that other writers of the file get their turn.
BATCH = 1_000


class TraceWriter(AsyncResource):
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
        self._inbox: RecordQueue[Item] = RecordQueue(capacity, on_full, linger=LINGER_SECONDS, batch=BATCH)
        self._plans: set[str] = set()
        self._failed = 0
        self._thread = threading.Thread(target=self._write, name="meshwalk-store", daemon=True)
        self._thread.start()
        # A daemon, so that a forgotten store does not keep a program from ending; its last batch is written all the same.
        atexit.register(self._close)

    def __repr__(self) -> str:
        return f"<TraceWriter {str(self.folder)!r}: {self.dropped} dropped, {self.failed} failed>"

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
        row: Row | Exception
        try:
            row = (*summarise(traversal), encode(traversal))
        except Exception as error:  # noqa: BLE001 (it is counted, and the log says why)
            row = error
        self._inbox.put((row, plan))

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
        drops = LossLog(_log, "traversals are dropped: the store's queue is full")
        failures = LossLog(_log, "traversals cannot be stored")
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
        rows = [row for row, _ in batch if not isinstance(row, Exception)]
        failed = [row for row, _ in batch if isinstance(row, Exception)]
        plans = {plan.plan_digest: plan for _, plan in batch if plan.plan_digest not in self._plans}
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for digest, plan in plans.items():
                self._connection.execute(_INSERT_PLAN, (digest, plan.shape_digest, plan.name, plan.canonical))
            for at in range(0, len(rows), TOGETHER):
                failed += self._put(rows[at : at + TOGETHER])
            self._connection.execute("COMMIT")
        except sqlite3.Error as fault:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            self._failed += len(batch)
            return fault
        self._failed += len(failed)
        self._plans |= plans.keys()

        return failed[-1] if failed else None

    def _put(self, rows: Sequence[Row]) -> list[Exception]:
        """
        Insert *rows*, and return what went wrong with those that cannot be.
        """
        if len(rows) == TOGETHER:
            try:
                self._connection.execute(_INSERT_TOGETHER, [value for row in rows for value in row])
            except sqlite3.OperationalError:
                raise
            except Exception:  # noqa: BLE001 (which of them it was is seen below)
                _log.debug("rows are inserted one by one: one of them cannot be")
            else:
                return []
        failed: list[Exception] = []
        for row in rows:
            try:
                self._connection.execute(_INSERT, row)
            except sqlite3.OperationalError:
                raise
            except Exception as fault:  # noqa: BLE001 (one record that cannot be stored must not cost the others)
                failed.append(fault)

        return failed
