"""
The registry of metrics: what is counted of walks, and what a server reads of itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from copy import copy

import pytest

from meshwalk.engine.call_state import INPUT_OVERRUN
from meshwalk.mesh import Mesh
from meshwalk.plan import Plan
from meshwalk.records import metrics
from meshwalk.records.metrics import METRICS, Metrics, Reading, WalkCounts
from meshwalk.server import serve
from meshwalk.trace import Closing, CompactTrace, Entry, FullTrace
from meshwalk.wire.client import Client
from tests.support.backends import saying
from tests.support.records import Script, answered, cancelled, climbed, failed, refused, triage, walked
from tests.support.service import ALONE


@pytest.fixture(scope="module")
def plan() -> Plan:
    return triage()


def by_labels(readings: Iterable[Reading], metric: metrics.Metric) -> dict[tuple[str, ...], float]:
    """
    Return the values of *metric* by the values of their labels.
    """
    return {tuple(reading.labels.values()): reading.value for reading in readings if reading.metric == metric}


def _by_label(readings: Iterable[Reading], metric: metrics.Metric, label: str) -> Counter[str]:
    sums: Counter[str] = Counter()
    for reading in readings:
        if reading.metric == metric:
            sums[reading.labels[label]] += int(reading.value)

    return sums


class TestWalkCounts:
    @pytest.mark.parametrize("make", [answered, cancelled, climbed, failed, refused])
    def test_walks_and_calls_are_counted_as_their_records_say(self, plan: Plan, make: Script) -> None:
        """
        Each walk counts once by its end, each call once by its own, and costs add up to those of the records.
        """
        task = "forbidden" if make is refused else "any"
        counts, traversal = WalkCounts(), walked(make, plan=plan, task=task)
        for _ in range(3):
            counts.record(traversal, plan)
        readings = list(counts.readings())
        finish = traversal.finish

        end = [plan.name, finish.outcome.value, finish.cause]
        assert {tuple(filter(None, end)): 3} == by_labels(readings, metrics.WALKS)
        assert 3 * len(list(traversal.attempts())) == sum(by_labels(readings, metrics.CALLS).values())
        assert 3 * traversal.cost_nano_usd == sum(by_labels(readings, metrics.COST).values())
        attempts = list(traversal.attempts())
        tokens = sum(attempt.usage.input_tokens + attempt.usage.output_tokens for attempt in attempts)
        assert 3 * tokens == sum(by_labels(readings, metrics.TOKENS).values())
        assert Counter([attempt.basis for attempt in attempts] * 3) == _by_label(readings, metrics.CALLS, "basis")
        form = "compact" if isinstance(traversal.trace, CompactTrace) else "full"
        assert {(plan.name, form): 3} == by_labels(readings, metrics.WALK_RECORDS)


def _overrun(entry: Entry) -> Entry:
    if not isinstance(entry, Closing):
        return entry

    return entry._replace(attempts=tuple(attempt._replace(mended=(INPUT_OVERRUN,)) for attempt in entry.attempts))


def test_a_call_with_more_input_than_its_bound_is_counted(plan: Plan) -> None:
    """
    The engine's mark of an attempt is counted by backend, once for each call that has it.
    """
    counts, traversal = WalkCounts(), walked(climbed, plan=plan)
    trace = traversal.trace
    assert isinstance(trace, FullTrace)
    counts.record(traversal, plan)
    before = by_labels(counts.readings(), metrics.INPUT_OVERRUNS)
    marked = copy(traversal)
    marked.trace = trace._replace(steps=[(_overrun(entry), wishes) for entry, wishes in trace.steps])
    counts.record(marked, plan)

    assert {} == before
    expected = Counter((attempt.backend,) for attempt in traversal.attempts())
    assert expected == by_labels(counts.readings(), metrics.INPUT_OVERRUNS)


def test_names_stay_apart_where_dots_become_underscores() -> None:
    """
    A collector that writes `_` for `.` still tells all metrics apart, and each has a unit.
    """
    assert len(METRICS) == len({metric.name.replace(".", "_") for metric in METRICS})
    assert all(metric.unit for metric in METRICS)


@pytest.mark.anyio
async def test_a_server_adds_its_own_readings_while_it_runs() -> None:
    """
    Walks, refusals, endpoints and the vault are read from the parts that count, and are gone with the server.
    """
    registry, counts = Metrics(), WalkCounts()
    registry.add(counts.readings)
    async with (
        Mesh(ALONE, backends={"one": saying("one word")}, sinks=[counts]) as mesh,
        serve([mesh], metrics=registry) as server,
        Client(f"127.0.0.1:{server.port}") as client,
    ):
        await client.route("hi")
        mesh.flush_records()
        readings = registry.read()
    rest = {reading.metric for reading in registry.read()}

    assert {("alone", "answered"): 1} == by_labels(readings, metrics.WALKS)
    assert [1, 0] == [by_labels(readings, metric)[()] for metric in (metrics.ADMITTED, metrics.IN_FLIGHT)]
    assert {("alone",): 1} == by_labels(readings, metrics.READY)
    assert {("alone",): 0} == by_labels(readings, metrics.VAULT_AWAY)
    assert {reading.metric for reading in readings} <= set(METRICS)
    assert {metrics.WALKS, metrics.WALK_RECORDS, metrics.CALLS, metrics.TOKENS} == rest
