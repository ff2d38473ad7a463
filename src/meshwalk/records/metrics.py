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
from meshwalk.trace import Attempt, CompactCall, CompactTrace, Traversal


MetricKind = Literal["counter", "gauge"]


class Metric(NamedTuple):
    """
    A metric's name and meaning; a counter only grows, a gauge goes up and down.

    Args:
        unit: In UCUM, where braces hold a word for what is counted.
    """

    name: str
    kind: MetricKind
    description: str
    unit: str


class Reading(NamedTuple):
    """
    A value of a metric, at some of its labels.
    """

    metric: Metric
    value: float
    labels: Mapping[str, str] = {}


Source = Callable[[], Iterable[Reading]]

WALKS = Metric("meshwalk.walks", "counter", "Walks that ended, by graph, outcome and cause.", "{walk}")
CALLS = Metric(
    "meshwalk.calls", "counter", "Calls to backends, by backend, endpoint, status, error class and basis of the cost.", "{call}"
)
OVERRUNS = Metric("meshwalk.bound_overruns", "counter", "Calls that cost more than their bound, by backend.", "{call}")
INPUT_OVERRUNS = Metric(
    "meshwalk.input_overruns", "counter", "Calls whose input had more tokens than their bound, by backend.", "{call}"
)
TOKENS = Metric("meshwalk.tokens", "counter", "Tokens of calls, by backend and kind: input or output.", "{token}")
WALK_RECORDS = Metric(
    "meshwalk.walk_records", "counter", "Walks by graph and record: compact (the fast path) or full.", "{walk}"
)
COST = Metric("meshwalk.cost_nano_usd", "counter", "Nano-dollars that calls cost, by backend.", "{nano_usd}")
RECORDS_LOST = Metric("meshwalk.records_lost", "counter", "Records that were lost, by where they should have gone.", "{record}")
IN_FLIGHT = Metric("meshwalk.walks_in_flight", "gauge", "Walks in flight.", "{walk}")
ADMITTED = Metric("meshwalk.walks_admitted", "counter", "Walks that were admitted.", "{walk}")
REFUSALS = Metric("meshwalk.requests_refused", "counter", "Requests that began no walk, by reason.", "{request}")
ENDPOINTS = Metric(
    "meshwalk.endpoints", "gauge", "Endpoints of a backend, by backend and state: well, or left alone.", "{endpoint}"
)
CALLS_IN_FLIGHT = Metric("meshwalk.calls_in_flight", "gauge", "Calls in flight, by backend.", "{call}")
CALLS_WAITING = Metric("meshwalk.calls_waiting", "gauge", "Calls that wait for a place, by backend.", "{call}")
VAULT_AWAY = Metric("meshwalk.vault_away", "gauge", "1 while the vault does not answer, else 0.", "1")
READY = Metric("meshwalk.ready", "gauge", "1 while walks can be answered, by graph, else 0.", "1")
CERTIFICATE_EXPIRY = Metric("meshwalk.certificate_expires_unix", "gauge", "The second at which the certificate ends.", "s")
CERTIFICATE_ROTATIONS = Metric(
    "meshwalk.certificate_rotations", "counter", "New certificates, by whether they were taken.", "{certificate}"
)

# The word by which the engine marks a call whose input had more tokens than its bound.
_INPUT_OVERRUN = "input_overrun"

# All that a server has, in the order of its documentation.
METRICS = (
    WALKS, WALK_RECORDS, CALLS, TOKENS, COST, OVERRUNS, INPUT_OVERRUNS, RECORDS_LOST, IN_FLIGHT, ADMITTED, REFUSALS, ENDPOINTS,
    CALLS_IN_FLIGHT, CALLS_WAITING, VAULT_AWAY, READY, CERTIFICATE_EXPIRY, CERTIFICATE_ROTATIONS,
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
        self._records: Counter[tuple[str, str]] = Counter()
        self._calls: Counter[tuple[str, str, str, str, str]] = Counter()
        self._tokens: Counter[tuple[str, str]] = Counter()
        self._costs: Counter[str] = Counter()
        self._overruns: Counter[str] = Counter()
        self._input_overruns: Counter[str] = Counter()

    def record(self, traversal: Traversal, plan: Plan) -> None:
        """
        Count *traversal* and its calls.
        """
        del plan
        finish, trace = traversal.trace.finish, traversal.trace
        graph, compact = traversal.source.graph, isinstance(trace, CompactTrace)
        self._walks[graph, finish.outcome.value, finish.cause] += 1
        self._records[graph, "compact" if compact else "full"] += 1
        if isinstance(trace, CompactTrace):
            # Each of its calls worked.
            for call in trace.calls:
                self._count(call, "ok", "", call.cost_bound)
        else:
            for attempt in trace.attempts():
                bound = None if attempt.status == "denied" else attempt.reserved_nano_usd
                self._count(attempt, attempt.status, attempt.error_class, bound)
                if _INPUT_OVERRUN in attempt.mended:
                    self._input_overruns[attempt.backend] += 1

    def _count(self, call: CompactCall | Attempt, status: str, error_class: str, bound: int | None) -> None:
        backend, cost = call.backend, call.cost_nano_usd
        self._calls[backend, call.endpoint, status, error_class, call.basis] += 1
        self._tokens[backend, "input"] += call.usage.input_tokens
        self._tokens[backend, "output"] += call.usage.output_tokens
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
        for (graph, form), count in list(self._records.items()):
            yield Reading(WALK_RECORDS, count, {"graph": graph, "record": form})
        for call, count in list(self._calls.items()):
            labels = dict(zip(("backend", "endpoint", "status", "error_class", "basis"), call, strict=True))
            yield Reading(CALLS, count, {name: value for name, value in labels.items() if value})
        for (backend, kind), count in list(self._tokens.items()):
            yield Reading(TOKENS, count, {"backend": backend, "kind": kind})
        by_backend = ((COST, self._costs), (OVERRUNS, self._overruns), (INPUT_OVERRUNS, self._input_overruns))
        for metric, counts in by_backend:
            for backend, count in list(counts.items()):
                yield Reading(metric, count, {"backend": backend})
