"""
Spans on their way out: a thread takes finished traversals in batches, and has them encoded and sent.

A server must outlive its collector: what there is no room for is dropped and counted, what cannot be sent is counted and
logged, and nothing of it holds up those who wait for an answer.
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

# A batch is bounded in traversals here, where the SDK bounds it in spans; a walk of a few hops has about this many.
_SPANS_EACH = 4


class Sampled(NamedTuple):
    """
    Hold a traversal whose spans are wanted.

    Args:
        sampling: What the sampler said of it; None if nothing but yes.
    """

    traversal: Traversal
    plan: Plan
    sampling: SamplingResult | None = None

    def spans(self, resource: Resource, scope: InstrumentationScope) -> Iterator[ReadableSpan]:
        """
        Give the SDK's ended spans, parents first.
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
    Hold *spans*, so many, as bytes.
    """

    body: bytes
    spans: int


class Sender(Protocol):
    """
    Send traversals as spans.

    Attributes:
        rejected: How many spans were not taken where the others of their batch were.
    """

    rejected: int

    def try_encode(self, item: Sampled) -> Encoded | None:
        """
        Return what is sent of *item*, if it is ready in a few microseconds: that is less than its waiting here would cost.
        """
        ...

    def send(self, batch: Sequence[Sampled | Encoded]) -> str:
        """
        Send *batch*, and return why that failed, or nothing.
        """
        ...

    def close(self) -> None:
        """
        Let go of the connection; a batch on its way is given up.
        """
        ...


class Pace(NamedTuple):
    """
    Say how many traversals wait at most, how many go in one batch, and for how many seconds the first one waits for company.

    Args:
        patience: How many seconds the end waits for what is still to be sent; what is left then is given up.
    """

    capacity: int = 2_048
    batch: int = 512 // _SPANS_EACH
    delay: float = 5.0
    patience: float = 5.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Pace:
        """
        Read what the SDK's batch processor reads; a number that is none counts as not said.
        """

        def number(name: str, usual: int) -> int:
            said = environment.get(f"OTEL_BSP_{name}", "")

            return int(said) if said.isdecimal() and int(said) else usual

        return cls(
            number("MAX_QUEUE_SIZE", 2_048),
            max(1, number("MAX_EXPORT_BATCH_SIZE", 512) // _SPANS_EACH),
            number("SCHEDULE_DELAY", 5_000) / 1_000,
            number("EXPORT_TIMEOUT", 5_000) / 1_000,
        )


class Export:
    """
    Hand traversals to *sender*, from a thread of its own.
    """

    def __init__(self, sender: Sender, pace: Pace) -> None:
        self._sender = sender
        self._inbox: RecordQueue[Sampled | Encoded] = RecordQueue(pace.capacity, "drop", linger=pace.delay, batch=pace.batch)
        self._patience = pace.patience
        self._given_up = self._closed = False
        self.failed = 0
        self._thread = threading.Thread(target=self._run, name="meshwalk-spans", daemon=True)
        self._thread.start()
        # A daemon, so that what is forgotten does not keep a program from ending; its last batch goes out all the same.
        atexit.register(self.close)

    @property
    def dropped(self) -> int:
        """
        Count the traversals lost because there was no room, or because they came after the end.
        """
        return self._inbox.dropped

    @property
    def rejected(self) -> int:
        """
        Count the spans that were not taken where the others of their batch were.
        """
        return self._sender.rejected

    def put(self, item: Sampled) -> None:
        """
        Take *item*, to be sent soon.
        """
        try:
            encoded = self._sender.try_encode(item)
        except Exception:  # noqa: BLE001 (the thread will meet it once more, and counts it)
            encoded = None
        self._inbox.put(encoded or item)

    def flush(self) -> None:
        """
        Return when all that was put so far is sent, or counted as lost.
        """
        self._inbox.wait()

    def close(self) -> None:
        """
        Send what waits, as long as there is patience for it, and let go of the connection; closing twice is fine.
        """
        atexit.unregister(self.close)
        if self._closed:
            return
        self._closed = True
        self._inbox.close()
        self._thread.join(self._patience)
        # A collector that is away must not keep a server from its end: a sender that is closed gives up what it is at, too.
        self._given_up = True
        self._sender.close()
        self._thread.join()

    def _run(self) -> None:
        drops = LossLog(_log, "spans are dropped: the queue for their export is full")
        failures = LossLog(_log, "spans cannot be exported")
        while batch := self._inbox.take():
            why, count = self._sent(batch), len(batch)
            # Else the last of them would be held until there are more to send.
            del batch
            self.failed += count if why else 0
            self._inbox.finish(count)
            drops.tell(self.dropped)
            failures.tell(self.failed, why)

    def _sent(self, batch: Sequence[Sampled | Encoded]) -> str:
        if self._given_up:
            return "they were not taken before the end"
        try:
            return self._sender.send(batch)
        except Exception as error:  # noqa: BLE001 (the next batch may well go)
            _log.exception("spans cannot be encoded")
            return type(error).__name__
