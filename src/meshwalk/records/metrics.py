"""
The metrics of a process: counters and gauges, which are read where something collects them and cost nothing in between.

A source is asked when the metrics are collected: most parts count anyway, so that a metric costs a walk nothing.  `WalkCounts`
is the one part that counts for metrics alone; it is a sink, which sees a record once its caller has the reply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from meshwalk.plan import Plan
from meshwalk.trace import CompactTrace, Traversal


MetricKind = Literal["counter", "gauge"]


class Metric(NamedTuple):
    """
    A metric's name and meaning; a counter only grows, a gauge goes up and down.
    """

    name: str
    kind: MetricKind
    description: str


class Reading(NamedTuple):
    """
    A value of a metric, at some of its labels.
    """

    metric: Metric
    value: float
    labels: Mapping[str, str] = {}


Source = Callable[[], Iterable[Reading]]

WALKS = Metric("meshwalk.walks", "counter", "Walks that ended, by graph, outcome and cause.")
CALLS = Metric("meshwalk.calls", "counter", "Calls to backends, by backend, endpoint, status and error class.")
OVERRUNS = Metric("meshwalk.bound_overruns", "counter", "Calls that cost more than their bound, by backend.")
COST = Metric("meshwalk.cost_nano_usd", "counter", "Nano-dollars that calls cost, by backend.")
RECORDS_LOST = Metric("meshwalk.records_lost", "counter", "Records that were lost, by where they should have gone.")
IN_FLIGHT = Metric("meshwalk.walks_in_flight", "gauge", "Walks in flight.")
ADMITTED = Metric("meshwalk.walks_admitted", "counter", "Walks that were admitted.")
REFUSALS = Metric("meshwalk.requests_refused", "counter", "Requests that began no walk, by reason.")
ENDPOINTS = Metric("meshwalk.endpoints", "gauge", "Endpoints of a backend, by backend and state: well, or left alone.")
CALLS_IN_FLIGHT = Metric("meshwalk.calls_in_flight", "gauge", "Calls in flight, by backend.")
CALLS_WAITING = Metric("meshwalk.calls_waiting", "gauge", "Calls that wait for a place, by backend.")
VAULT_AWAY = Metric("meshwalk.vault_away", "gauge", "1 while the vault does not answer, else 0.")
READY = Metric("meshwalk.ready", "gauge", "1 while walks can be answered, by graph, else 0.")
CERTIFICATE_EXPIRY = Metric("meshwalk.certificate_expires_unix", "gauge", "The second at which the certificate ends.")
CERTIFICATE_ROTATIONS = Metric("meshwalk.certificate_rotations", "counter", "New certificates, by whether they were taken.")

# All that a server has, in the order of its documentation.
METRICS = (
    WALKS, CALLS, COST, OVERRUNS, RECORDS_LOST, IN_FLIGHT, ADMITTED, REFUSALS, ENDPOINTS, CALLS_IN_FLIGHT, CALLS_WAITING,
    VAULT_AWAY, READY, CERTIFICATE_EXPIRY, CERTIFICATE_ROTATIONS,
)  # fmt: skip


class Metrics:
    """
    The registry of a process's sources.
    """

    def __init__(self) -> None:
        self._sources: list[Source] = []

    def __repr__(self) -> str:
        return f"<Metrics of {len(self._sources)} sources>"

    def add(self, source: Source) -> None:
        """
        Ask *source* too from now on; it is asked in any thread.
        """
        self._sources.append(source)

    def remove(self, source: Source) -> None:
        """
        Ask *source* no more.
        """
        self._sources.remove(source)

    def read(self) -> list[Reading]:
        """
        Return the readings of all sources.
        """
        return [reading for source in tuple(self._sources) for reading in source()]


class WalkCounts:
    """
    A sink that counts walks by their ends, and calls by theirs.
    """

    def __init__(self) -> None:
        self._walks: Counter[tuple[str, str, str]] = Counter()
        self._calls: Counter[tuple[str, str, str, str]] = Counter()
        self._costs: Counter[str] = Counter()
        self._overruns: Counter[str] = Counter()

    def record(self, traversal: Traversal, plan: Plan) -> None:
        """
        Count *traversal* and its calls.
        """
        del plan
        finish, trace = traversal.trace.finish, traversal.trace
        self._walks[traversal.source.graph, finish.outcome.value, finish.cause] += 1
        if isinstance(trace, CompactTrace):
            # Each of its calls worked.
            for call in trace.calls:
                self._count(call.backend, call.endpoint, "ok", "", call.cost_nano_usd, call.cost_bound)
        else:
            for attempt in trace.attempts():
                bound = None if attempt.status == "denied" else attempt.reserved_nano_usd
                self._count(
                    attempt.backend, attempt.endpoint, attempt.status, attempt.error_class, attempt.cost_nano_usd, bound
                )

    def _count(self, backend: str, endpoint: str, status: str, error_class: str, cost: int, bound: int | None) -> None:
        self._calls[backend, endpoint, status, error_class] += 1
        if cost:
            self._costs[backend] += cost
            if bound is not None and cost > bound:
                self._overruns[backend] += 1

    def readings(self) -> Iterator[Reading]:
        """
        Return the counts as readings.
        """
        # Copies, since a walk may end in another thread meanwhile.
        for (graph, outcome, cause), count in list(self._walks.items()):
            yield Reading(WALKS, count, {"graph": graph, "outcome": outcome} | ({"cause": cause} if cause else {}))
        for (backend, endpoint, status, error_class), count in list(self._calls.items()):
            labels = {"backend": backend, "endpoint": endpoint, "status": status, "error_class": error_class}
            yield Reading(CALLS, count, {name: value for name, value in labels.items() if value})
        for metric, counts in ((COST, self._costs), (OVERRUNS, self._overruns)):
            for backend, count in list(counts.items()):
                yield Reading(metric, count, {"backend": backend})
