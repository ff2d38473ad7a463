"""
What holds of budgets whatever walks do: nothing is left held, and books say what records say.
"""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.budgets import AccountReport
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.engine import Engine
from meshwalk.model import Budget, Caps, Limits, ScopeKind
from meshwalk.plan import Plan, compile_plan
from meshwalk.review.replay import replay
from meshwalk.trace import Message, Outcome, Request, Scopes, Traversal, decode, encode
from tests.engine.shared_budgets import NOTHING, STEPS, Clock, Drawn, SlowVault, Step, totals
from tests.support.random_plans import plans


KINDS: tuple[ScopeKind, ...] = ("session", "workflow", "tenant")
NAMES: dict[ScopeKind, str] = {"session": "s", "workflow": "w", "tenant": "default"}


@st.composite
def budgeted(draw: st.DrawFn) -> Plan:
    """
    Make a random plan whose walks share at least one budget.
    """
    graph = draw(plans()).graph
    kind = draw(st.sampled_from(KINDS))
    counted = Budget(scope=kind, span=graph.span, caps=Caps(calls=10**6, hops=draw(st.none() | st.just(10**6))))

    return compile_plan(replace(graph, budgets={kind: counted, **graph.budgets}))


_CAPS = st.builds(
    Caps,
    cost_nano_usd=st.none() | st.integers(1, 300_000),
    input_tokens=st.none() | st.integers(1, 300),
    output_tokens=st.none() | st.integers(1, 500),
    calls=st.none() | st.integers(1, 8),
    hops=st.none() | st.integers(1, 12),
)


async def walked(plan: Plan, vault: MemoryVault, script: list[tuple[int, Step]], leaving: list[int]) -> list[Traversal]:
    """
    Walk one request for each of *leaving*, all at once; its caller goes after so many turns, and stays if that is 0.
    """
    records: list[Traversal] = []
    backend = Drawn(script)
    engine = Engine(plan, {"b0": backend, "b1": backend}, records.append, vault=vault)
    request = Request((Message("user", "x"),), scopes=Scopes("s", "w"), limits=Limits(deadline_us=200_000))

    async def walk(turns: int) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.walk, request)
            for _ in range(turns):
                await checkpoint()
            if turns:
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as walks:
        for turns in leaving:
            walks.start_soon(walk, turns)

    return records


@pytest.mark.slow
@given(
    plan=budgeted(),
    script=st.lists(st.tuples(st.integers(0, 3), STEPS), min_size=1, max_size=8),
    caps=st.tuples(_CAPS, _CAPS, _CAPS),
    leaving=st.lists(st.sampled_from([0, 0, 1, 2, 5, 9]), min_size=1, max_size=4),
    slow=st.booleans(),
)
@settings(max_examples=150)
def test_books_say_what_records_say(
    plan: Plan, script: list[tuple[int, Step]], caps: tuple[Caps, Caps, Caps], leaving: list[int], slow: bool
) -> None:
    """
    Whatever walks do and whenever their callers go, nothing stays held, each scope has spent what the records add up to and
    no more than its cap and its overruns, and the records decide the same again.
    """
    vault: MemoryVault = SlowVault(Clock()) if slow else MemoryVault(Clock())
    vault.poll_seconds = (0.002, 0.005)

    async def main() -> tuple[list[Traversal], list[AccountReport]]:
        for kind, own in zip(KINDS, caps, strict=True):
            await vault.set_caps("default", kind, NAMES[kind], own)
        records = await walked(plan, vault, script, leaving)

        return records, await vault.reports("default")

    records, statements = anyio.run(main)
    spent, assumed = totals(records)
    if any(spent):
        assert set(plan.graph.budgets) == {statement.kind for statement in statements}
    for statement in statements:
        assert (NOTHING, 0) == (statement.reserved, statement.reservations)
        assert (spent, assumed) == (statement.spent, statement.assumed)
        for part, cap in enumerate(statement.caps):
            assert cap is None or spent[part] <= cap + statement.overrun[part]
    for record in records:
        assert replay(decode(encode(record)), plan) is None
        assert record.engine_us >= 0
    # Who left before the walk began left no record.
    assert len(records) <= len(leaving)
    assert sum(turns == 0 for turns in leaving) <= sum(record.outcome is not Outcome.CANCELLED for record in records)
