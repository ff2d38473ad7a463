"""
The writer of a trace store: a sink that encodes each traversal at once, and a thread that commits them in batches.

Encoding takes a few microseconds when the walk ends.  Encoding in the thread would cost more: until then a record is a thousand
small objects, whose memory the following walks cannot reuse.

The thread wakes with the first traversal, lingers for more, and commits the batch, so a busy server pays one commit for many
traversals and an idle one does not wake.  Each statement releases the interpreter and has to reacquire it, so one statement
inserts many rows.

A server must survive a full disk: a traversal that cannot be written is counted and logged.  It is neither raised nor retried,
because a queue that waits for the disk would block the walks.  Each burst of losses is logged as it begins and ends, and their
sum at the close.

A file that was removed or replaced under a running server would take records that nobody can read, and SQLite does not notice.
So the file is compared with the one that was opened before each commit, and opened anew where it is another.
"""

from __future__ import annotations

import atexit
import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from anyio import CancelScope, to_thread

from meshwalk.model.arguments import checked_setup, path_fault
from meshwalk.model.problems import MeshwalkError
from meshwalk.model.resource import AsyncResource
from meshwalk.plan import Plan
from meshwalk.records.metrics import RECORDS_LOST, Reading
from meshwalk.records.queue import LossLog, OnFull, RecordQueue
from meshwalk.records.store.database import FILE, open_to_write
from meshwalk.records.store.summary import COLUMNS, summarise
from meshwalk.trace import Traversal, encode


# The number of rows that one statement inserts, if there are so many.
TOGETHER = 32

_ROW = f"({', '.join('?' * len(COLUMNS))}, ?)"
_INSERT = f"INSERT OR IGNORE INTO traversals ({', '.join(COLUMNS)}, body) VALUES {_ROW}"  # noqa: S608 (our own names)
_INSERT_TOGETHER = _INSERT + f", {_ROW}" * (TOGETHER - 1)
_INSERT_PLAN = "INSERT OR IGNORE INTO plans (plan_digest, shape_digest, graph, canonical) VALUES (?, ?, ?, ?)"

Row = tuple[object, ...]
# The row to write, or the reason why there is none.
Item = tuple[Row | Exception, Plan]

_log = logging.getLogger(__name__)

# The time an incomplete batch waits for more traversals.
LINGER_SECONDS = 0.1

# The size of a transaction at most, so that other writers of the file get their turn.
BATCH = 1_000


class TraceWriter(AsyncResource):
    """
    The writer of `<folder>/traces.sqlite`.

    Args:
        on_full: When the disk falls behind, `drop` discards new traversals and counts them; `block` makes `record` wait, and
            with it the event loop of the caller: nothing is lost, and nothing is served meanwhile.
        capacity: The number of traversals that may wait.

    Raises:
        SetupError: If the folder cannot be written.
        TraceError: If the file in it was written by a newer meshwalk.
    """

    def __init__(self, folder: str | Path, *, on_full: OnFull = "drop", capacity: int = 10_000) -> None:
        checked_setup(folder=path_fault(folder))
        self.folder = Path(folder)
        self._open()
        self._queue: RecordQueue[Item] = RecordQueue(capacity, on_full, linger_seconds=LINGER_SECONDS, batch=BATCH)
        self._failed = 0
        self._losing = False
        self._thread = threading.Thread(target=self._write, name="meshwalk-store", daemon=True)
        self._thread.start()
        # A daemon, so that a store left open does not keep the program running; `atexit` still writes the last batch.
        atexit.register(self._close)

    def __repr__(self) -> str:
        return f"<TraceWriter {str(self.folder)!r}: {self.dropped} dropped, {self.failed} failed>"

    @property
    def dropped(self) -> int:
        """
        Return the number of traversals lost because the queue was full or the store was closed.
        """
        return self._queue.dropped

    @property
    def losing(self) -> bool:
        """
        Tell whether the latest batch lost anything.
        """
        return self._losing

    @property
    def failed(self) -> int:
        """
        Return the number of traversals lost because they could not be encoded or written.
        """
        return self._failed

    def readings(self) -> Iterator[Reading]:
        """
        Return its losses as readings.
        """
        yield Reading(RECORDS_LOST, self.dropped + self.failed, {"of": "store"})

    def record(self, traversal: Traversal, plan: Plan) -> None:
        """
        Queue *traversal* for the next commit.
        """
        row: Row | Exception
        try:
            row = (*summarise(traversal), encode(traversal))
        except Exception as error:  # noqa: BLE001 (it is counted, and the log says why)
            row = error
        self._queue.put((row, plan))

    async def flush(self) -> None:
        """
        Wait until everything recorded so far is committed, or counted as lost.
        """
        await to_thread.run_sync(self._queue.wait)

    async def aclose(self) -> None:
        """
        Commit the queued traversals and close the file; closing twice is fine.
        """
        with CancelScope(shield=True):
            await to_thread.run_sync(self._close)

    def _close(self) -> None:
        self._queue.close()
        self._thread.join()
        self._connection.close()
        atexit.unregister(self._close)

    def _open(self) -> None:
        self._connection = open_to_write(self.folder)
        self._file = _identity(self.folder / FILE)
        self._plans: set[str] = set()

    # ---- the thread ---------------------------------------------------------------------------------------------

    def _write(self) -> None:
        drops = LossLog(_log, "traversals are dropped: the store's queue is full")
        failures = LossLog(_log, "traversals cannot be stored")
        while batch := self._queue.take():
            error, count = self._commit(batch), len(batch)
            # A reference here would keep the last traversal until the next batch.
            del batch
            drops.update(self.dropped)
            # An error of the file speaks for itself; any other may be a fault of this program, so its traceback is logged.
            of_file = isinstance(error, sqlite3.Error | MeshwalkError)
            failures.update(self.failed, str(error or ""), None if of_file else error)
            self._losing = drops.going or failures.going
            self._queue.finish(count)
        drops.update(self.dropped)
        drops.close()
        failures.close()

    def _commit(self, batch: Sequence[Item]) -> Exception | None:
        """
        Write *batch* in one transaction, and return the last error, if any.
        """
        rows = [row for row, _ in batch if not isinstance(row, Exception)]
        failed = [row for row, _ in batch if isinstance(row, Exception)]
        plans = {plan.plan_digest: plan for _, plan in batch if plan.plan_digest not in self._plans}
        try:
            self._recognise()
            self._connection.execute("BEGIN IMMEDIATE")
            for digest, plan in plans.items():
                self._connection.execute(_INSERT_PLAN, (digest, plan.shape_digest, plan.name, plan.canonical))
            for at in range(0, len(rows), TOGETHER):
                failed += self._put(rows[at : at + TOGETHER])
            self._connection.execute("COMMIT")
        except (sqlite3.Error, MeshwalkError) as fault:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            self._failed += len(batch)
            return fault
        self._failed += len(failed)
        self._plans |= plans.keys()

        return failed[-1] if failed else None

    def _recognise(self) -> None:
        """
        Open the file anew if it is no longer the one that was opened.

        Raises:
            SetupError, TraceError: If no store can be opened there.
        """
        if _identity(self.folder / FILE) == self._file:
            return
        _log.error(
            "the traces in %r were removed or replaced while they were written: the records of this run up to now are gone, "
            "and the next ones go into a new file",
            str(self.folder / FILE),
        )
        self._connection.close()
        self._open()

    def _put(self, rows: Sequence[Row]) -> list[Exception]:
        """
        Insert *rows*, and return the errors of those that cannot be inserted.
        """
        if len(rows) == TOGETHER:
            try:
                self._connection.execute(_INSERT_TOGETHER, [value for row in rows for value in row])
            except sqlite3.OperationalError:
                raise
            except Exception:  # noqa: BLE001 (the loop below finds the row)
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


def _identity(path: Path) -> tuple[int, int] | None:
    """
    Return what tells a file from another one of the same name; None if there is none.
    """
    try:
        found = path.stat()
    except OSError:
        return None

    return found.st_dev, found.st_ino
