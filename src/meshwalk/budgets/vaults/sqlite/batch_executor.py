"""
How many tasks share one thread: who comes first leads, and does the work of all who have come meanwhile in one go.

A transaction costs about as much for thirty operations as for one, so operations are gathered: while one batch is under way
the next one's come together, and the first of them leads it.  There is no thread to start or to end.

Laws of this room:

1. At most one batch is under way, and its operations are done in the order in which they came.
2. An operation is done once, or not at all: that only if its task was cancelled before it was begun.
3. Whoever leads stays until its batch is done, however it is cancelled, because the others have nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from anyio import CancelScope, CapacityLimiter, Event, get_cancelled_exc_class, sleep, to_thread


S = TypeVar("S")
T = TypeVar("T")

# What an operation gives; one that is an exception is raised where the operation was asked for.
Outcome = Any
Operation = Callable[[S], Outcome]

# A transaction keeps other processes out, so it may not grow without end.
MAX_AT_ONCE = 256

# How soon a leader that was cancelled looks whether its thread is done.
_GLANCE_S = 0.001


class BatchExecutor(Generic[S]):
    """
    Do operations in batches.

    Args:
        run: What does a batch, in a thread: it returns one outcome for each operation, and raises nothing.
    """

    def __init__(self, run: Callable[[Sequence[Operation[S]]], Sequence[Outcome]]) -> None:
        self._run = run
        self._queue: list[_Ticket[S]] = []
        self._led = False
        # Its own, so that whoever else keeps threads busy in this process cannot hold up budgets.
        self._limiter = CapacityLimiter(1)

    async def do(self, operation: Callable[[S], T]) -> T:
        """
        Do *operation*, and return or raise what came of it.
        """
        ticket = _Ticket(operation)
        self._queue.append(ticket)
        if self._led:
            await self._follow(ticket)
        if not ticket.done:
            self._led = True
            await self._lead(ticket)
        if isinstance(ticket.outcome, BaseException):
            raise ticket.outcome
        outcome: T = ticket.outcome

        return outcome

    async def _follow(self, ticket: _Ticket[S]) -> None:
        """
        Wait until the operation is done, or it is this task's turn to lead.
        """
        try:
            await ticket.turn.wait()
        except BaseException:
            ticket.left = True
            if ticket in self._queue:
                self._queue.remove(ticket)
                if ticket.turn.is_set():
                    # It was called to lead and does not come.
                    self._pass_on()
            raise

    async def _lead(self, ticket: _Ticket[S]) -> None:
        tickets, self._queue = self._queue[:MAX_AT_ONCE], self._queue[MAX_AT_ONCE:]
        batch = _Batch(self._run, tickets)
        try:
            await self._see_through(batch)
        except BaseException:
            if not batch.done:
                ticket.left = True
                self._queue[:0] = [waiting for waiting in tickets if not waiting.left]
            raise
        finally:
            if batch.done:
                batch.hand_out()
            self._pass_on()

    async def _see_through(self, batch: _Batch[S]) -> None:
        try:
            with CancelScope(shield=True):
                await to_thread.run_sync(batch.work, limiter=self._limiter)
        except get_cancelled_exc_class():
            # A task that is cancelled past anyio's shield leaves its thread behind.
            if batch.withdraw():
                raise
            while not batch.done:
                await _doze()
            raise

    def _pass_on(self) -> None:
        self._led = bool(self._queue)
        if self._queue:
            self._queue[0].turn.set()


class _Ticket(Generic[S]):
    """
    Keep the place of one operation.
    """

    __slots__ = ("done", "left", "operation", "outcome", "turn")

    def __init__(self, operation: Operation[S]) -> None:
        self.operation = operation
        self.turn = Event()
        self.done = False
        # Its task was cancelled, and nobody would lead if it were called.
        self.left = False
        self.outcome: Outcome = None


class _Batch(Generic[S]):
    """
    Do the operations of some tickets, in a thread.
    """

    def __init__(self, run: Callable[[Sequence[Operation[S]]], Sequence[Outcome]], tickets: Sequence[_Ticket[S]]) -> None:
        self._run = run
        self._tickets = tickets
        self._outcomes: Sequence[Outcome] = ()
        # Taken by whoever comes first, the thread or a leader that gives up; to pop is one step for all threads.
        self._mandate = [True]
        self.done = False

    def work(self) -> None:
        """
        Do them all, unless the batch was withdrawn.
        """
        if self.withdraw():
            try:
                self._outcomes = self._run([ticket.operation for ticket in self._tickets])
            except BaseException as fault:  # noqa: BLE001 (it is raised where the operations were asked for)
                self._outcomes = [fault] * len(self._tickets)
            self.done = True

    def withdraw(self) -> bool:
        """
        Take the mandate, if nobody has it.
        """
        try:
            return self._mandate.pop()
        except IndexError:
            return False

    def hand_out(self) -> None:
        """
        Give each ticket what came of it, and wake its task.
        """
        for ticket, outcome in zip(self._tickets, self._outcomes, strict=True):
            ticket.outcome = outcome
            ticket.done = True
            ticket.turn.set()


async def _doze() -> None:
    try:
        with CancelScope(shield=True):
            await sleep(_GLANCE_S)
    except get_cancelled_exc_class():
        return
