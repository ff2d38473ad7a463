"""
The walks under way: counted so that closing a mesh can wait for them, and cancelled if they outlast its grace.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
from anyio import CancelScope
from anyio.abc import TaskGroup

from meshwalk.engine import CutWalk, EventFeed, closed_error, cut_of
from meshwalk.plan import Plan
from meshwalk.records.events import Progress
from meshwalk.records.results import RouteResult


_log = logging.getLogger(__name__)


class WalksUnderWay:
    """
    The walks of one open mesh.

    Args:
        graph: The name of the graph, for messages.
        grace: Seconds that `end` waits before it cancels them; None waits for their deadlines.
        tasks: Runs the walks that go on without their caller.
    """

    def __init__(self, graph: str, grace: float | None, tasks: TaskGroup) -> None:
        self.count = 0
        # A cancel scope costs microseconds, so a walk gets one only if a grace may cut it off.
        self.cancellable = grace is not None
        self._graph = graph
        self._grace = grace
        self._tasks = tasks
        self._scopes: set[CancelScope] = set()
        # Set by the last walk to end; there while `end` waits for that.
        self.idle: anyio.Event | None = None

    def ended(self) -> None:
        """
        Take a walk that has ended out of the count.
        """
        self.count -= 1
        self.wake()

    def wake(self) -> None:
        """
        Tell `end` if no walk is left.
        """
        if self.idle is not None and not self.count:
            self.idle.set()

    def spawn(self, walk: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """
        Run *walk* in a task of its own, and count it.
        """

        async def counted() -> None:
            try:
                with CancelScope() as scope:
                    self._scopes.add(scope)
                    try:
                        await walk()
                    finally:
                        self._scopes.discard(scope)
            finally:
                self.ended()

        # It counts from here on, and not only once it runs, so that `end` waits for it.
        self.count += 1
        self._tasks.start_soon(counted)

    async def run(self, walk: Callable[[], Awaitable[RouteResult]]) -> RouteResult:
        """
        Run *walk* here, until `end` cancels it.

        Raises:
            MeshClosed: If it was.
        """
        cut = CutWalk()
        with CancelScope() as scope:
            self._scopes.add(scope)
            try:
                return await walk()
            except anyio.get_cancelled_exc_class() as gone:
                cut = cut_of(gone)
                raise
            finally:
                self._scopes.discard(scope)

        raise closed_error(f"the mesh of graph '{self._graph}'", cut)

    async def end(self) -> None:
        """
        Wait until no walk is under way, and cancel those that outlast the grace.
        """
        with anyio.move_on_after(self._grace) as patience:
            await self._all_ended()
        if patience.cancelled_caught:
            _log.warning("walks of graph '%s' were cancelled as its mesh was closed", self._graph)
            self.cut()
            # A cancelled walk settles what it holds, which is bounded.
            await self._all_ended()

    def cut(self) -> None:
        """
        Cancel the walks that run in tasks of their own, and all others if a grace was set.
        """
        for scope in self._scopes:
            scope.cancel()

    async def _all_ended(self) -> None:
        if self.count:
            self.idle = anyio.Event()
            await self.idle.wait()


class StreamedWalk:
    """
    A walk that runs in a task of its own, and its events in the order they came.

    Args:
        walk: Walks to the end, with an observer of entries and one of the answer's pieces.
    """

    def __init__(self, plan: Plan, walk: Callable[[EventFeed], Awaitable[RouteResult]]) -> None:
        self.feed = EventFeed(plan, self._put)
        self._graph = plan.name
        self._walk = walk
        self._events: deque[Progress] = deque()
        self._filled = anyio.Event()
        self._scope = CancelScope()
        self._over = anyio.Event()
        self._result: RouteResult | None = None
        self._error: Exception | None = None
        self._cut = CutWalk()

    async def run(self) -> None:
        """
        Walk to the end.
        """
        try:
            with self._scope:
                self._result = await self._noted()
        except Exception as error:  # noqa: BLE001 (it is raised where the events are read)
            self._error = error
        finally:
            self._over.set()
            self._filled.set()

    async def _noted(self) -> RouteResult:
        try:
            return await self._walk(self.feed)
        except anyio.get_cancelled_exc_class() as gone:
            self._cut = cut_of(gone)
            raise

    async def next(self) -> Progress | None:
        """
        Return the next event; None if there are no more.
        """
        while not self._events:
            if self._over.is_set():
                return None
            self._filled = anyio.Event()
            await self._filled.wait()

        return self._events.popleft()

    async def stop(self) -> None:
        """
        Cancel the walk if it is under way, and wait for its end.
        """
        self._scope.cancel()
        with CancelScope(shield=True):
            await self._over.wait()

    def result(self) -> RouteResult:
        """
        Return the result of the walk, which is over, or raise its error.
        """
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise closed_error(f"the mesh of graph '{self._graph}'", self._cut)

        return self._result

    def _put(self, event: Progress) -> None:
        self._events.append(event)
        self._filled.set()
