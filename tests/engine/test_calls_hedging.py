"""
A second call beside a slow first one: who wins, and what the other costs.
"""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from meshwalk.budgets import Refusal
from meshwalk.engine.walk_budget import WalkBudget
from meshwalk.model.problems import Unreachable
from meshwalk.records.hops import hops_of
from meshwalk.records.results import RouteResult
from tests.support.plans import plan_of
from tests.support.streaming import Bench, Streamer, pieces, walked, whole


pytestmark = pytest.mark.anyio

_TEXT = """
    meshwalk: 1
    name: hedged
    start: small
    limits: {deadline: 10s, cost_usd: 1}
    budgets: {session: {cost_usd: 1}}
    backends:
      little: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
    nodes:
      small: {role: primary, backend: little, max_tokens: 100, hedge: 10ms, next: done, on_error: sorry}
      sorry: {role: refusal, reason: nobody knows}
    """

HEDGED = plan_of(_TEXT)
JUDGED = plan_of(
    _TEXT.replace("hedge: 10ms, next: done", "hedge: 10ms, stream: {hold_first: 2}, next: done").replace(
        "role: primary", "role: answer"
    )
)


class TestHedge:
    async def test_the_second_call_may_win(self) -> None:
        """
        The one that answers first is served; the other is cancelled, and settled at its worst, since it may have worked.
        """
        little = Streamer([None], [whole("Paris.")])
        bench = Bench(little, plan=HEDGED)
        done = await walked(bench)
        (hop,) = hops_of(done.traversal, HEDGED)
        slow, fast = hop.attempts

        assert ("Paris.", 1) == (done.answer, little.cancelled)
        assert ("cancelled", False, "assumed") == (slow.status, slow.hedge, slow.basis)
        assert ("ok", True, "reported") == (fast.status, fast.hedge, fast.basis)
        assert slow.started_us < fast.started_us <= slow.started_us + slow.latency_us
        assert hop.engine_us < hop.latency_us

    async def test_a_quick_first_call_has_no_second(self) -> None:
        """
        What answers within the delay is alone.
        """
        little = Streamer([whole("Paris.")])
        done = await walked(Bench(little, plan=HEDGED))

        assert ("Paris.", 1) == (done.answer, len(little.asked))

    async def test_a_failure_of_one_leaves_the_other(self) -> None:
        """
        While one of two is under way, the failure of the other decides nothing.
        """
        gate = anyio.Event()
        little = Streamer([gate, whole("Paris.")], [Unreachable("gone", backend="little")])
        bench = Bench(little, plan=HEDGED)
        done: list[RouteResult] = []

        async def walk() -> None:
            done.append(await bench.walk())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(walk)
            await little.called[1].wait()
            gate.set()
        await bench.check()

        assert "Paris." == done[0].answer
        assert ["ok", "failed"] == [one.status for one in done[0].traversal.attempts()]

    async def test_both_may_fail(self) -> None:
        """
        The hop fails when the last of them has.
        """
        gate = anyio.Event()
        gone = Unreachable("gone", backend="little")
        little = Streamer([gate, gone], [gone])
        bench = Bench(little, plan=HEDGED)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.walk)
            await little.called[1].wait()
            gate.set()
        await bench.check()

        assert ["small", "sorry"] == bench.records[0].path

    async def test_no_money_for_a_hedge_is_no_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A hedge that does not fit the budget is recorded as denied, and the first call goes on.
        """
        reserve, denied = WalkBudget.reserve, anyio.Event()

        async def watched(*asked: Any) -> Any:
            given = await reserve(*asked)
            if isinstance(given, Refusal):
                denied.set()
            return given

        monkeypatch.setattr(WalkBudget, "reserve", watched)
        plan = plan_of(_TEXT.replace("cost_usd: 1}\n    budgets", "cost_usd: 0.0003}\n    budgets"))
        gate = anyio.Event()
        little = Streamer([gate, whole("Paris.")])
        bench = Bench(little, plan=plan)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.walk)
            await denied.wait()
            gate.set()
        await bench.check()
        (record,) = bench.records

        assert [("ok", False), ("denied", True)] == [(one.status, one.hedge) for one in record.attempts()]

    async def test_a_hedge_waits_for_no_budget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A hedge that only the first call's own reservation keeps out is denied at once, with the first call still under way.
        """
        reserve, denied = WalkBudget.reserve, anyio.Event()

        async def watched(*asked: Any) -> Any:
            answer = await reserve(*asked)
            if isinstance(answer, Refusal):
                assert answer.contended
                denied.set()
            return answer

        monkeypatch.setattr(WalkBudget, "reserve", watched)
        text = _TEXT.replace("session: {cost_usd: 1}", "session: {cost_usd: 0.0003}").replace(
            "deadline: 10s", "deadline: 500ms"
        )
        gate = anyio.Event()
        bench = Bench(Streamer([gate, whole("Paris.")]), plan=plan_of(text))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.walk)
            await denied.wait()
            gate.set()
        await bench.check()
        (record,) = bench.records

        assert [("ok", False), ("denied", True)] == [(one.status, one.hedge) for one in record.attempts()]

    async def test_a_caller_who_goes_away_leaves_neither(self) -> None:
        """
        Both calls are cancelled and settled.
        """
        little = Streamer([None], [None])
        bench = Bench(little, plan=HEDGED)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.walk)
            await little.called[1].wait()
            tasks.cancel_scope.cancel()
        await bench.check()
        (record,) = bench.records

        assert (2, ["cancelled", "cancelled"]) == (little.cancelled, [one.status for one in record.attempts()])

    async def test_a_second_call_that_is_passed_on_ends_the_first(self) -> None:
        """
        Where the beginning of the second call's reply is committed to, the first is cancelled, and the second goes on.
        """
        little = Streamer([None], [*pieces(0.9, "Pa", "ris", "."), whole("Paris.")])
        bench = Bench(little, plan=JUDGED)
        done = await walked(bench)
        (hop,) = hops_of(done.traversal, JUDGED)

        assert ("Paris.", 1) == (done.answer, little.cancelled)
        assert [(0, "Paris"), (0, ".")] == bench.told
        assert [("cancelled", False), ("ok", True)] == [(attempt.status, attempt.hedge) for attempt in hop.attempts]
