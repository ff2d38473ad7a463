"""
The way of finished records to their sinks.

A sink gets each record synchronously when its walk ends: it encodes the record and queues it for a thread of its own, which is
cheaper than waking a task.  Two things put that off: a graph with redacting functions, so that the caller has the answer first,
and a server, which flushes several records together once the replies are on their way.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import anyio

from meshwalk.backends.secrets import Secrets
from meshwalk.plan import Plan
from meshwalk.records.redaction import Redaction
from meshwalk.trace import Traversal


_log = logging.getLogger(__name__)

# Schedules a call for later, as an event loop does.
Schedule = Callable[[Callable[[], None]], object]


class Sink(Protocol):
    """
    A receiver of finished traversals.
    """

    def record(self, traversal: Traversal, plan: Plan) -> None:
        """
        Take one; it must not wait and must not raise.
        """
        ...


class RecordRelay:
    """
    The queue between the walks over *plan* and `sinks`.

    Raises:
        SetupError: If a redacting function of the graph cannot be imported.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.sinks: Sequence[Sink] = ()
        self._redaction = Redaction(plan.graph.recording.redact)
        self._queue: deque[Traversal] = deque()
        self._filled = anyio.Event()
        self._schedule: Schedule | None = None

    def hide(self, backends: Iterable[object]) -> None:
        """
        Take the secrets of *backends* out of what is recorded of prompts and answers.
        """
        secrets = [getattr(backend, "secrets", None) for backend in backends]
        self._redaction.hiding = tuple(one.hidden_in_content for one in secrets if isinstance(one, Secrets))

    def defer(self, schedule: Schedule | None) -> None:
        """
        Flush in calls made by *schedule*, each with all records that have come by then; None flushes at once.
        """
        self._schedule = schedule

    def record(self, traversal: Traversal) -> None:
        """
        Take a finished traversal.
        """
        if self._schedule is not None:
            self._queue.append(traversal)
            if len(self._queue) == 1:
                self._schedule(self.flush)
        elif self._redaction.functions:
            self._queue.append(traversal)
            self._filled.set()
        else:
            self._hand_over(traversal)

    async def run(self) -> None:
        """
        Flush whenever a record waits for redaction, until cancelled.
        """
        while True:
            await self._filled.wait()
            self._filled = anyio.Event()
            self.flush()

    def flush(self) -> None:
        """
        Hand all waiting records to the sinks.
        """
        try:
            while self._queue:
                self._hand_over(self._queue.popleft())
        finally:
            # A sink may raise past `Exception`; the records behind that one are handed over all the same.
            if self._queue and self._schedule is not None:
                self._schedule(self.flush)

    def _hand_over(self, traversal: Traversal) -> None:
        if self._plan.graph.recording.content:
            traversal = self._redaction.applied(traversal)
        for sink in self.sinks:
            try:
                sink.record(traversal, self._plan)
            except Exception:  # noqa: BLE001 (one sink's fault is not another's, nor the caller's)
                _log.exception("a sink did not take a traversal", extra={"meshwalk.traversal_id": traversal.traversal_id})
