"""
The export of traversals: a thread takes them in batches, and has them encoded and sent.

A server must survive the loss of its collector: traversals that exceed the queue are dropped and counted, those that cannot be
sent are counted and logged, and neither delays a walk.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import SamplingResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from meshwalk.plan import Plan
from meshwalk.records.queue import LossLog, RecordQueue
from meshwalk.records.telemetry.spans import SpanTree, route_attributes
from meshwalk.trace import Traversal


_log = logging.getLogger(__name__)

# The SDK bounds batches in spans and this module in traversals; a walk of a few hops has about this many spans.
_SPANS_EACH = 4


class Sampled(NamedTuple):
    """
    A traversal that was sampled.

    Args:
        sampling: The sampler's result; None if it adds nothing to the decision.
    """

    traversal: Traversal
    plan: Plan
    sampling: SamplingResult | None = None

    def spans(self, resource: Resource, scope: InstrumentationScope) -> Iterator[ReadableSpan]:
        """
        Yield ended spans of the SDK, parents first.
        """
        traversal, plan, sampling = self
        extra = {} if sampling is None else dict(sampling.attributes or {})
        tree = SpanTree(
            traversal,
            plan,
            attributes=route_attributes(traversal) | extra,
            resource=resource,
            scope=scope,
            trace_state=None if sampling is None else sampling.trace_state,
        )

        return tree.spans()


class Encoded(NamedTuple):
    """
    Encoded spans, and their number.
    """

    body: bytes
    spans: int


class Sender(Protocol):
    """
    A sender of traversals as spans.

    Attributes:
        rejected: The number of spans that a collector left out of batches that it took otherwise.
    """

    rejected: int

    def try_encode(self, item: Sampled) -> Encoded | None:
        """
        Return *item* encoded if that takes a few microseconds, which is less than keeping the record would cost.
        """
        ...

    def send(self, batch: Sequence[Sampled | Encoded]) -> str:
        """
        Send *batch*, and return the reason of a failure, or nothing.
        """
        ...

    def close(self) -> None:
        """
        Close the connection; a batch under way is given up.
        """
        ...


class Pace(NamedTuple):
    """
    The limits of an export, in traversals and seconds.

    Args:
        capacity: The number of traversals that may wait.
        batch: The number of traversals sent together at most.
        delay: The time an incomplete batch waits for more.
        patience: The time that closing waits for the batches still to be sent; the rest is given up.
    """

    capacity: int = 2_048
    batch: int = 512 // _SPANS_EACH
    delay: float = 5.0
    patience: float = 5.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Pace:
        """
        Read the variables of the SDK's batch processor; an invalid number counts as not set.
        """

        def number(name: str, default: int) -> int:
            text = environment.get(f"OTEL_BSP_{name}", "")

            return int(text) if text.isdecimal() and int(text) else default

        return cls(
            number("MAX_QUEUE_SIZE", 2_048),
            max(1, number("MAX_EXPORT_BATCH_SIZE", 512) // _SPANS_EACH),
            number("SCHEDULE_DELAY", 5_000) / 1_000,
            number("EXPORT_TIMEOUT", 5_000) / 1_000,
        )


class Export:
    """
    A queue of traversals and the thread that passes them to *sender*.
    """

    def __init__(self, sender: Sender, pace: Pace) -> None:
        self._sender = sender
        self._queue: RecordQueue[Sampled | Encoded] = RecordQueue(
            pace.capacity, "drop", linger_seconds=pace.delay, batch=pace.batch
        )
        self._patience = pace.patience
        self._abandoned = self._closed = False
        self.failed = 0
        self._thread = threading.Thread(target=self._run, name="meshwalk-spans", daemon=True)
        self._thread.start()
        # A daemon, so that an export left open does not keep the program running; `atexit` still sends the last batch.
        atexit.register(self.close)

    @property
    def dropped(self) -> int:
        """
        Return the number of traversals lost because the queue was full or the export was closed.
        """
        return self._queue.dropped

    @property
    def rejected(self) -> int:
        """
        Return the number of spans that the collector left out of batches that it took otherwise.
        """
        return self._sender.rejected

    def put(self, item: Sampled) -> None:
        """
        Queue *item* for the next batch.
        """
        try:
            encoded = self._sender.try_encode(item)
        except Exception:  # noqa: BLE001 (the thread will encounter it again, and counts it)
            encoded = None
        self._queue.put(encoded or item)

    def flush(self) -> None:
        """
        Block until everything queued so far is sent, or counted as lost.
        """
        self._queue.wait()

    def close(self) -> None:
        """
        Send the queued traversals within the patience, and close the connection; closing twice is fine.
        """
        atexit.unregister(self.close)
        if self._closed:
            return
        self._closed = True
        self._queue.close()
        self._thread.join(self._patience)
        # A collector that is away must not keep a server from its end: a sender that is closed gives up what it is at, too.
        self._abandoned = True
        self._sender.close()
        self._thread.join()

    def _run(self) -> None:
        drops = LossLog(_log, "spans are dropped: the queue for their export is full")
        failures = LossLog(_log, "spans cannot be exported")
        while batch := self._queue.take():
            failure, count = self._send(batch), len(batch)
            # A reference here would keep the last traversal until the next batch.
            del batch
            self.failed += count if failure else 0
            self._queue.finish(count)
            drops.update(self.dropped)
            failures.update(self.failed, failure)
        drops.close()
        failures.close()

    def _send(self, batch: Sequence[Sampled | Encoded]) -> str:
        if self._abandoned:
            return "they were not taken before the end"
        try:
            return self._sender.send(batch)
        except Exception as error:  # noqa: BLE001 (the next batch may well go)
            _log.exception("spans cannot be encoded")
            return type(error).__name__
