"""
A walk that the express drive takes, and its twin that the ordinary drive takes: nobody can tell the records apart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.backends.roles import estimate_tokens
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.engine import Engine, OnEvent
from meshwalk.engine.limiter import limiters
from meshwalk.model import Breaker, Endpoint, Limits, OpenAISpec, Traffic
from meshwalk.plan import Plan, compile_plan
from meshwalk.review.replay import replay
from meshwalk.trace import Closing, CompactTrace, Entry, Message, Reply, Request, Scopes, Traversal, Wish, decode, encode
from meshwalk.walk import Walk
from tests.engine.shared_budgets import REPLIES, STEPS, Drawn, Step
from tests.support.plans import plan_of
from tests.support.random_plans import plans


def unhedged(plan: Plan) -> Plan:
    """
    Take the hedges out of *plan*, since with them no hop goes straight.
    """
    nodes = {name: replace(node, hedge_us=None) for name, node in plan.graph.nodes.items()}

    return compile_plan(replace(plan.graph, nodes=nodes))


def gated(plan: Plan, traffic: Traffic, endpoints: int) -> Plan:
    """
    Bound the traffic to each backend of *plan*, which has so many endpoints.
    """
    named = tuple(Endpoint(f"e{index}", weight=1 + index) for index in range(endpoints))
    backends = {
        name: OpenAISpec(
            name=name,
            span=spec.span,
            price=spec.price,
            context_tokens=spec.context_tokens,
            model="m",
            endpoints=named,
            traffic=traffic,
        )
        for name, spec in plan.graph.backends.items()
    }

    return compile_plan(replace(plan.graph, backends=backends))


# Answers that are compared, and one that is quoted.
COMPARED = plan_of(
    """
    meshwalk: 1
    name: compared
    start: first
    backends:
      b0: {kind: simulated, context_tokens: 4000, usd_per_mtok: {input: 1, output: 2}}
      b1: {kind: simulated, context_tokens: 4000, usd_per_mtok: {input: 1, output: 2}}
    nodes:
      first: {role: answer, backend: b0, max_tokens: 50, next: second, on_error: last}
      second:
        role: answer
        backend: b1
        max_tokens: 50
        retries: 1
        next:
          - {to: judge, when: "output.finish_reason == 'length'"}
          - {to: compare}
        on_error: judge
      compare:
        role: verifier
        use: agreement
        of: [first, second]
        extract: text
        next:
          - {to: done, answer: second, when: output.agree}
          - {to: judge}
      judge:
        role: verifier
        use: model
        backend: b1
        of: [first]
        prompt: "{{ prompt }} {{ answer.first }} SCORE?"
        max_tokens: 20
        score: {from: stated, pattern: "([0-9.]+)", missing: 0.2}
        next:
          - {to: short, when: output.score >= 0.5}
          - {to: last}
        on_error: last
      short: {role: answer, backend: b1, max_tokens: 10, next: done, on_error: last}
      last: {role: primary, backend: b0, max_tokens: 50, next: done, on_error: sorry}
      sorry: {role: refusal, reason: nobody answered}
    """
)

# A walk that has to wait would wait for a clock that stands still.
TRAFFIC = st.builds(
    Traffic,
    requests_per_minute=st.none() | st.integers(1, 3),
    tokens_per_minute=st.none() | st.integers(100, 5000),
    concurrency=st.none() | st.integers(1, 2),
    queue=st.just(0),
    sticky=st.sampled_from([None, "session", "workflow"]),
    breaker=st.none() | st.builds(Breaker, failures=st.integers(1, 3)),
)
UNGATED = plans() | plans().map(unhedged)
PLANS = UNGATED | st.just(COMPARED) | st.builds(gated, plans().map(unhedged), TRAFFIC, st.sampled_from([0, 2, 3]))

# One cap at a time, or none: several at once leave nobody a call.
_AMOUNTS = st.builds(lambda digits, first: first * 10**digits, st.integers(0, 8), st.integers(1, 9))
LIMITS = st.one_of(
    st.just(Limits()),
    st.just(Limits()),
    st.builds(lambda hops: Limits(hops=hops), st.integers(1, 6)),
    st.builds(lambda cost: Limits(cost_nano_usd=cost), _AMOUNTS),
    st.builds(lambda tokens: Limits(output_tokens=tokens), st.integers(0, 600)),
    st.builds(lambda tokens: Limits(input_tokens=tokens), _AMOUNTS),
    st.builds(lambda calls: Limits(calls=calls), st.integers(0, 4)),
).map(lambda limits: limits._replace(deadline_us=20_000_000))

# Half of all walks go well, so that they are long.
SCRIPTS = st.lists(st.tuples(st.just(0), REPLIES), min_size=1, max_size=8) | st.lists(
    st.tuples(st.integers(0, 3), STEPS), min_size=1, max_size=8
)


def watching(entry: Entry, wishes: tuple[Wish, ...], walk: Walk) -> None:
    """
    Do nothing: a walk that somebody watches is the ordinary drive's.
    """


async def no_time(_: float) -> None:
    """
    Pass over a pause.
    """


async def walked(
    plan: Plan, script: list[tuple[int, Step]], limits: Limits, leaving: list[int], waits: bool, observe: OnEvent | None
) -> tuple[list[Traversal], Any]:
    """
    Walk one request after the other, at a time that stands still; a caller leaves after so many turns, and stays if that is 0.
    """
    records: list[Traversal] = []
    backend, vault = Drawn(script), MemoryVault(clock_us=lambda: 1_000_000)
    backend.waits = waits
    limits_of_traffic = limiters(plan.graph, plan.graph.backends, lambda: 0, lambda: 0.5)
    engine = Engine(plan, {"b0": backend, "b1": backend}, records.append, vault=vault, limiters=limits_of_traffic)
    engine.with_deps(engine.deps._replace(clock_ns=lambda: 0, sleep=no_time, chance=lambda: 0.5))
    request = Request((Message("user", "x"),), scopes=Scopes("s", "w"), limits=limits)
    for turns in leaving:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.walk, request, observe)
            for _ in range(turns):
                await checkpoint()
            if turns:
                tasks.cancel_scope.cancel()

    gates = [(repr(limiter), limiter.healthy) for limiter in limits_of_traffic.values()]

    return records, (await vault.reports("default"), gates)


def told(record: Traversal) -> Any:
    """
    Return all that *record* tells, without the ids that are drawn for calls.
    """
    whole = decode(encode(record))

    return whole.path, whole.decisions, [(_nameless(entry), wishes) for entry, wishes in whole.steps]


def _nameless(entry: Entry) -> Any:
    if not isinstance(entry, Closing):
        return entry

    return entry._replace(attempts=tuple(one._replace(span_id="") for one in entry.attempts))


@pytest.mark.slow
@settings(max_examples=250)
@given(
    plan=PLANS,
    script=SCRIPTS,
    limits=LIMITS,
    leaving=st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 5]), min_size=1, max_size=4),
    waits=st.booleans(),
)
def test_twins_tell_the_same(
    plan: Plan, script: list[tuple[int, Step]], limits: Limits, leaving: list[int], waits: bool
) -> None:
    """
    Whatever calls come to, whatever the limits, and whoever leaves: path, decisions, entries, wishes and books are the same.

    So is what is left of the bounds of traffic.
    """
    express, books = anyio.run(walked, plan, script, limits, leaving, waits, None)
    ordinary, twin_books = anyio.run(walked, plan, script, limits, leaving, waits, watching)

    assert list(map(told, ordinary)) == list(map(told, express))
    assert twin_books == books
    assert [replay(record, plan) for record in express] == [None] * len(express)


@settings(max_examples=60)
@given(plan=PLANS, script=st.lists(st.tuples(st.just(0), STEPS), min_size=1, max_size=4))
def test_what_follows_is_what_was_kept(plan: Plan, script: list[tuple[int, Step]]) -> None:
    """
    A record in short tells the same after a trip through the codec as before, and adds up as its entries do.
    """
    records, _ = anyio.run(walked, plan, script, Limits(deadline_us=20_000_000), [0, 0], False, None)
    for record in records:
        back = decode(encode(record))
        attempts = [attempt for entry, _ in record.steps for attempt in getattr(entry, "attempts", ())]

        assert (record.path, record.steps, record.decisions) == (back.path, back.steps, back.decisions)
        assert sum(attempt.cost_nano_usd for attempt in attempts) == record.cost_nano_usd == back.cost_nano_usd
        assert sum(attempt.latency_us for attempt in attempts) <= record.latency_us - record.engine_us or len(attempts) > 1
        assert record.steps[-1][0].at_us == record.latency_us


AGREEING = plan_of(
    """
    meshwalk: 1
    name: agreeing
    start: ask
    backends:
      b0: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
      b1: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
    nodes:
      ask:
        role: answer
        backend: b0
        max_tokens: 100
        confidence: {from: agreement, samples: 3}
        next: done
    """
)


def test_what_was_not_counted_is_estimated_alike() -> None:
    """
    Where several answers are compared, twins are charged for the reply as it came, whichever answer is kept.
    """
    long = "a long way round to say no"
    # Of three answers two agree, and they are not the one that came as the text.
    reply = Reply(long, samples=(long, "yes", "yes"), usage=None)
    script: list[tuple[int, Step]] = [(0, reply)]
    limits = Limits(deadline_us=20_000_000)
    (express,), books = anyio.run(walked, AGREEING, script, limits, [0], False, None)
    (ordinary,), twin_books = anyio.run(walked, AGREEING, script, limits, [0], False, watching)

    assert isinstance(express.trace, CompactTrace)
    assert (told(express), books) == (told(ordinary), twin_books)
    assert express.usage.output_tokens == sum(map(estimate_tokens, reply.samples))
