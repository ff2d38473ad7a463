"""
Flat combining for tasks: one task at a time, the leader, executes the queued operations of all tasks as one batch in a thread.

The method is that of D. Hendler, I. Incze, N. Shavit and M. Tzafrir, "Flat Combining and the Synchronization-Parallelism
Tradeoff", SPAA 2010.  It pays here because a transaction costs about as much for thirty operations as for one.  While one batch
runs, the operations of the next one queue up; the first of them becomes the next leader.  No thread needs starting or stopping.

Invariants:

1. At most one batch runs at a time, and its operations run in the order of their arrival.
2. An operation runs once, or not at all if its task was cancelled before the operation began.
3. A leader stays until its batch is done, even when cancelled, because the other tasks of the batch depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from anyio import CancelScope, CapacityLimiter, Event, get_cancelled_exc_class, sleep, to_thread


S = TypeVar("S")
T = TypeVar("T")

# The result of an operation; an exception is raised in the task that submitted the operation.
Outcome = Any
Operation = Callable[[S], Outcome]

# The bound on a batch: a transaction keeps other processes out.
MAX_BATCH = 256

# The interval at which a cancelled leader checks whether its thread is done.
_POLL_SECONDS = 0.001


class BatchExecutor(Generic[S]):
    """
    The queue of operations, and the batches made of it.

    Args:
        run: Executes a batch in a thread; returns one outcome for each operation and raises nothing.
    """

    def __init__(self, run: Callable[[Sequence[Operation[S]]], Sequence[Outcome]]) -> None:
        self._run = run
        self._queue: list[_Entry[S]] = []
        self._has_leader = False
        # Its own limiter, so that other users of threads in this process cannot delay budgets.
        self._limiter = CapacityLimiter(1)

    async def do(self, operation: Callable[[S], T]) -> T:
        """
        Execute *operation*, and return or raise its outcome.
        """
        entry = _Entry(operation)
        self._queue.append(entry)
        if self._has_leader:
            await self._follow(entry)
        if not entry.done:
            self._has_leader = True
            await self._lead(entry)
        if isinstance(entry.outcome, BaseException):
            raise entry.outcome
        outcome: T = entry.outcome

        return outcome

    async def _follow(self, entry: _Entry[S]) -> None:
        """
        Wait until the operation is done or this task becomes the leader.
        """
        try:
            await entry.turn.wait()
        except BaseException:
            entry.abandoned = True
            if entry in self._queue:
                self._queue.remove(entry)
                if entry.turn.is_set():
                    # It was made the leader and is cancelled: the next one leads.
                    self._next_leader()
            raise

    async def _lead(self, entry: _Entry[S]) -> None:
        entries, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
        batch = _Batch(self._run, entries)
        try:
            await self._run_batch(batch)
        except BaseException:
            if not batch.done:
                entry.abandoned = True
                self._queue[:0] = [waiting for waiting in entries if not waiting.abandoned]
            raise
        finally:
            if batch.done:
                batch.deliver()
            self._next_leader()

    async def _run_batch(self, batch: _Batch[S]) -> None:
        try:
            with CancelScope(shield=True):
                await to_thread.run_sync(batch.run, limiter=self._limiter)
        except get_cancelled_exc_class():
            # A native asyncio cancellation passes anyio's shield and leaves the thread running.
            if batch.claim():
                raise
            while not batch.done:
                await _wait_briefly()
            raise

    def _next_leader(self) -> None:
        self._has_leader = bool(self._queue)
        if self._queue:
            self._queue[0].turn.set()


class _Entry(Generic[S]):
    """
    One queued operation.
    """

    __slots__ = ("abandoned", "done", "operation", "outcome", "turn")

    def __init__(self, operation: Operation[S]) -> None:
        self.operation = operation
        self.turn = Event()
        self.done = False
        # Its task was cancelled, so it cannot lead.
        self.abandoned = False
        self.outcome: Outcome = None


class _Batch(Generic[S]):
    """
    The operations of some entries, executed together in a thread.
    """

    def __init__(self, run: Callable[[Sequence[Operation[S]]], Sequence[Outcome]], entries: Sequence[_Entry[S]]) -> None:
        self._run = run
        self._entries = entries
        self._outcomes: Sequence[Outcome] = ()
        # Popped by the thread or by a leader that gives up, whichever is first; `list.pop` is atomic.
        self._unclaimed = [True]
        self.done = False

    def run(self) -> None:
        """
        Execute all operations, unless the leader has withdrawn the batch.
        """
        if self.claim():
            try:
                self._outcomes = self._run([entry.operation for entry in self._entries])
            except BaseException as fault:  # noqa: BLE001 (it is raised in the tasks that submitted the operations)
                self._outcomes = [fault] * len(self._entries)
            self.done = True

    def claim(self) -> bool:
        """
        Claim the batch, and return whether the claim was free.
        """
        try:
            return self._unclaimed.pop()
        except IndexError:
            return False

    def deliver(self) -> None:
        """
        Give each entry its outcome, and wake its task.
        """
        for entry, outcome in zip(self._entries, self._outcomes, strict=True):
            entry.outcome = outcome
            entry.done = True
            entry.turn.set()


async def _wait_briefly() -> None:
    try:
        with CancelScope(shield=True):
            await sleep(_POLL_SECONDS)
    except get_cancelled_exc_class():
        return
