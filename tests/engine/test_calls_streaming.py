"""
Replies that stream: what is passed on when, what is judged, and what it all costs.
"""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from meshwalk.model.problems import Unreachable
from meshwalk.records.hops import hops_of
from meshwalk.trace import Outcome, Reply, Usage
from tests.support.plans import plan_of
from tests.support.streaming import Bench, Streamer, Whole, pieces, walked, whole


pytestmark = pytest.mark.anyio

PLAN = plan_of(
    """
    meshwalk: 1
    name: streaming
    start: small
    thresholds: {sure: 0.8}
    limits: {deadline: 10s, cost_usd: 1}
    budgets: {session: {cost_usd: 1}}
    backends:
      little: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
      great: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 10, output: 20}}
    nodes:
      small:
        role: answer
        backend: little
        max_tokens: 100
        retries: 1
        stream: {hold_first: 3}
        confidence: {from: mean_token_probability, missing: 0}
        next:
          - {to: done, when: "output.confidence >= thresholds.sure"}
          - {to: large}
        on_error: large
      large:
        role: primary
        backend: great
        max_tokens: 200
        stream: live
        next: done
        on_error: [{to: done, answer: small, else: sorry}]
      sorry: {role: refusal, reason: nobody knows}
    """
)

SHORT = plan_of(
    """
    meshwalk: 1
    name: short
    start: small
    budgets: {session: {cost_usd: 1}}
    backends:
      little: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
    nodes:
      small: {role: primary, backend: little, stream: live, deadline: 80ms, next: done}
    """
)


class TestHoldFirst:
    async def test_a_sure_beginning_is_passed_on(self) -> None:
        """
        Nothing is told before the third token; then what was held back, and each further piece as it comes.
        """
        script = [*pieces(0.9, "The ", "capital ", "is ", "Paris", "."), whole("The capital is Paris.")]
        bench = Bench(Streamer(script), plan=PLAN)
        done = await walked(bench)

        assert [(0, "The capital is "), (0, "Paris"), (0, ".")] == bench.told
        assert ("The capital is Paris.", ("small",), True) == (done.answer, done.path, done.streamed)

    async def test_a_doubtful_beginning_is_stopped(self) -> None:
        """
        A doubtful beginning ends the call, which costs what had come of it, and the walk goes on.
        """
        little = Streamer([*pieces(0.3, "It ", "may ", "be ", "Lyon"), None])
        bench = Bench(little, Streamer([*pieces(0.9, "Paris", "."), whole("Paris.")]), plan=PLAN)
        done = await walked(bench)
        first, _ = hops_of(done.traversal, PLAN)
        (attempt,) = first.attempts

        assert ("Paris.", ("small", "large"), 1) == (done.answer, done.path, little.cancelled)
        assert [(1, "Paris"), (1, ".")] == bench.told
        assert ("stopped", "cancelled", 3, "estimated") == (first.status, attempt.status, attempt.tokens_seen, attempt.basis)
        assert attempt.usage.input_tokens * 1_000 + 3 * 2_000 == attempt.cost_nano_usd

        assert first.prefix_verdict is not None
        assert (3, False, {"confidence": pytest.approx(0.3), "output_tokens": 3.0}) == (
            first.prefix_verdict.tokens,
            first.prefix_verdict.committed,
            first.prefix_verdict.outputs,
        )

    async def test_a_short_reply_is_judged_whole(self) -> None:
        """
        A reply that ends before its beginning is long enough is judged by its end, and told by whoever asked.
        """
        bench = Bench(
            Streamer([*pieces(0.9, "Paris"), Reply("Paris", usage=Usage(10, 1))]), Streamer([whole("Paris!")]), plan=PLAN
        )
        done = await walked(bench)

        assert (("small", "large"), "Paris!", []) == (done.path, done.answer, bench.told)

    async def test_a_backend_that_cannot_stream_is_judged_whole(self) -> None:
        """
        Where nothing streams, the edges judge the reply, and the path is what it would have been.
        """
        bench = Bench(Whole(Reply("Lyon?", usage=Usage(10, 5))), Whole(whole("Paris.")), plan=PLAN)
        done = await walked(bench)

        assert (("small", "large"), "Paris.", False, []) == (done.path, done.answer, done.streamed, bench.told)

    async def test_a_break_before_the_commitment_is_tried_again(self) -> None:
        """
        Until something is passed on, a stream that breaks is a failure like any other.
        """
        broken = [*pieces(0.9, "Par"), Unreachable("it broke", backend="little", billable=True)]
        bench = Bench(Streamer(broken, [*pieces(0.9, "Pa", "r", "is"), whole("Paris")]), plan=PLAN)
        done = await walked(bench)
        (hop,) = hops_of(done.traversal, PLAN)

        assert ("Paris", [(0, "Paris")]) == (done.answer, bench.told)
        assert [("failed", "estimated"), ("ok", "reported")] == [(one.status, one.basis) for one in hop.attempts]

    async def test_a_break_after_it_is_an_error_with_the_partial_text(self) -> None:
        """
        Once something is passed on nobody else is asked, and the error has what had come.
        """
        broken = [*pieces(0.9, "The ", "city ", "is ", "Par"), Unreachable("it broke", backend="little", billable=True)]
        bench = Bench(Streamer(broken), plan=PLAN)
        done = await walked(bench)
        error = done.error()

        assert (Outcome.FAILED, ("small",), "The city is Par") == (done.outcome, done.path, done.partial)
        assert error is not None
        assert "a part of the answer had been passed on" in str(error)

    async def test_time_up_after_it_is_one_too(self) -> None:
        """
        A committed reply that does not end in time fails as a timeout, and costs what was counted.
        """
        bench = Bench(Streamer([*pieces(0.9, "a ", "b ", "c ", "d"), None]), plan=SHORT)
        done = await walked(bench)
        (hop,) = hops_of(done.traversal, SHORT)

        assert ("timeout", "a b c d") == (done.traversal.finish.cause, done.partial)
        assert [("timeout", 4, "estimated")] == [(one.status, one.tokens_seen, one.basis) for one in hop.attempts]


class TestCaller:
    async def test_who_goes_away_in_the_middle_pays_for_what_came(self) -> None:
        """
        A walk that is cancelled while it streams is recorded with what was counted, and holds nothing.
        """
        little = Streamer([*pieces(0.9, "a ", "b ", "c "), None])
        bench = Bench(little, plan=PLAN)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.walk)
            while len(bench.told) < 1:
                await checkpoint()
            tasks.cancel_scope.cancel()
        await bench.check()
        (record,) = bench.records

        assert (Outcome.CANCELLED, 1) == (record.outcome, little.cancelled)
        assert [("cancelled", 3, "estimated")] == [(one.status, one.tokens_seen, one.basis) for one in record.attempts()]

    async def test_who_goes_away_after_a_stop(self) -> None:
        """
        A call that was stopped is recorded once, whatever becomes of the walk.
        """
        great = Streamer([None])
        bench = Bench(Streamer([*pieces(0.1, "a ", "b ", "c "), None]), great, plan=PLAN)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.walk)
            await great.called[0].wait()
            tasks.cancel_scope.cancel()
        await bench.check()
        (record,) = bench.records

        assert (Outcome.CANCELLED, ["small", "large"]) == (record.outcome, record.path)
