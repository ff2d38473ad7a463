"""
The gate before a backend: nobody's turn is lost, whoever comes, goes, fails or is cancelled.
"""

from __future__ import annotations

import random
import time

import anyio
import pytest

from meshwalk.backends.base import ChatRequest
from meshwalk.engine.limiter import BackendLimiter, Lease, limiters
from meshwalk.mesh import Mesh
from meshwalk.model import Breaker, Endpoint, Limits, OpenAISpec, SimulatedSpec, Traffic
from meshwalk.model.problems import BackendError, NotStarted, Overloaded, RateLimited, Span, Unreachable
from meshwalk.review.replay import replay
from meshwalk.testing import FakeClock, RecordList, ScriptedBackend
from meshwalk.trace import Message, Outcome, Reply, Request, Usage, decode, encode
from meshwalk.walk.attempts import Pick
from tests.loader.reading import HEAD, read_sound
from tests.support.backends import Gate
from tests.support.plans import plan_of


SPAN = Span("test.yaml", 1, 1)
NEVER = 1 << 60
ONE = Lease("", 0, Pick("", 0, 0, None), 1)


def gate(traffic: Traffic | None = None, *endpoints: str) -> BackendLimiter:
    named = tuple(Endpoint(name) for name in endpoints)
    spec = OpenAISpec(name="large", span=SPAN, model="large-1", traffic=traffic, endpoints=named)

    return BackendLimiter(spec, time.monotonic_ns, chance=lambda: 0.0)


async def entered(before: BackendLimiter, until_us: int = NEVER) -> Lease:
    return await before.enter(tokens=1, until_us=until_us)


async def settled() -> None:
    """
    Let every task that can run do so.
    """
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


class TestGate:
    async def test_a_call_is_let_through_at_once(self) -> None:
        """
        Where there is room nobody waits, and the pass names the endpoint.
        """
        before = gate(None, "east", "west")
        passed = await entered(before)

        assert "east" == passed.endpoint
        assert passed.queue_us < 1_000_000
        assert "<BackendLimiter of <Pool large: east 1, west 0, 0 waiting>>" == repr(before)

    async def test_waiters_come_in_in_order(self) -> None:
        """
        Each place that comes free goes to the one who has waited longest.
        """
        before, order = gate(Traffic(concurrency=1)), []
        inside = await entered(before)

        async def wait(number: int) -> None:
            passed = await entered(before)
            order.append(number)
            before.leave(passed, error_class=None)

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(wait, number)
                await settled()
            before.leave(inside, error_class=None)

        assert [0, 1, 2, 3, 4] == order

    async def test_several_places_are_filled_by_one_ring(self) -> None:
        """
        A turn that finds room for more than one calls the next.
        """
        before = gate(Traffic(tokens_per_minute=100))
        large = await before.enter(tokens=100, until_us=NEVER)
        found: list[Lease] = []

        async def wait() -> None:
            found.append(await before.enter(tokens=10, until_us=NEVER))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(wait)
            await settled()
            assert [] == found
            before.leave(large, error_class=None, tokens=10)
            await settled()
            assert 5 == len(found)

    async def test_a_cancelled_waiter_hands_its_turn_on(self) -> None:
        """
        A waiter that is cancelled in the very moment it is called does not take the place with it.
        """
        before, found = gate(Traffic(concurrency=1)), []
        inside = await entered(before)
        gone = anyio.CancelScope()

        async def leaving() -> None:
            with gone:
                # Cancelled too late to be stopped, it has been let in, and leaves.
                before.leave(await entered(before), error_class="cancelled")

        async def staying() -> None:
            found.append(await entered(before))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leaving)
            await settled()
            tasks.start_soon(staying)
            await settled()
            before.leave(inside, error_class=None)
            gone.cancel()
            await settled()
            assert 1 == len(found)

    async def test_a_limit_lets_waiters_in_as_time_passes(self) -> None:
        """
        Nobody needs to leave for a waiter to get its allowance.
        """
        before = gate(Traffic(requests_per_minute=6_000, concurrency=10_000))
        for _ in range(6_000):
            await entered(before)
        passed = await entered(before)

        assert 0 < passed.queue_us

    async def test_refusals_are_the_errors_of_a_backend(self) -> None:
        """
        What the pool refuses is raised as the class that a guard on errors sees; nothing was sent, so nothing is charged.
        """
        full, spent, broken = (
            gate(Traffic(concurrency=1, queue=0)),
            gate(Traffic(requests_per_minute=1, queue=0)),
            gate(Traffic(breaker=Breaker(failures=1))),
        )
        await entered(full)
        await entered(spent)
        broken.leave(await entered(broken), error_class="timeout")
        raised: list[BackendError] = []
        for before in (full, spent, broken):
            with pytest.raises(BackendError) as caught:
                await entered(before)
            raised.append(caught.value)

        assert [Overloaded, RateLimited, Unreachable] == [type(error) for error in raised]
        assert [False] * 3 == [error.billable for error in raised]
        assert [True, False, False] == [error.retry_after_us is None for error in raised]
        assert ([True, True, False], False) == (
            [before.healthy for before in (full, spent, broken)],
            full.elsewhere(frozenset(), 1),
        )

    async def test_time_up_in_the_line_is_said(self) -> None:
        """
        Who gets no place by its own time is refused then, and does not stay in line.
        """
        before = gate(Traffic(concurrency=1))
        await entered(before)
        with pytest.raises(Overloaded, match="had no place in time"):
            await entered(before, time.monotonic_ns() // 1_000 + 1_000)

        assert "<BackendLimiter of <Pool large: calls 1, 0 waiting>>" == repr(before)

    async def test_those_who_wait_in_vain_hear_of_it(self) -> None:
        """
        When the endpoint fails for good or asks for a long rest, all who wait are refused, not only the first.
        """
        resting, broken = gate(Traffic(concurrency=1)), gate(Traffic(concurrency=1, breaker=Breaker(failures=1)))
        until = time.monotonic_ns() // 1_000 + 20_000_000
        heard: list[str] = []

        async def wait(before: BackendLimiter) -> None:
            with pytest.raises(BackendError) as caught:
                await entered(before, until)
            heard.append(caught.value.error_class)

        inside = [await entered(resting, until), await entered(broken, until)]
        async with anyio.create_task_group() as tasks:
            for before in (resting, resting, broken, broken):
                tasks.start_soon(wait, before)
            await settled()
            resting.leave(inside[0], error_class="rate_limited", retry_after_us=60_000_000)
            broken.leave(inside[1], error_class="unreachable")

        assert ["rate_limited", "rate_limited", "unreachable", "unreachable"] == sorted(heard)

    @pytest.mark.parametrize("seed", range(4))
    async def test_no_turn_is_lost(self, seed: int) -> None:
        """
        Of many calls that come, wait, fail and are cancelled at random, each that stays is let in, and none too many at once.
        """
        rng = random.Random(seed)
        before = gate(Traffic(concurrency=2, queue=1_000, requests_per_minute=1_000_000), "east", "west")
        inside, done, most = 0, 0, 0

        async def call(ends: str | None, holds: int, patience: int | None) -> None:
            nonlocal inside, done, most
            with anyio.CancelScope() as scope:
                if patience is not None:
                    cancels.append((patience, scope))
                passed = await entered(before)
                inside += 1
                most = max(most, inside)
                try:
                    for _ in range(holds):
                        await anyio.lowlevel.checkpoint()
                finally:
                    inside -= 1
                    before.leave(passed, error_class="cancelled" if scope.cancel_called else ends)
            done += 1

        cancels: list[tuple[int, anyio.CancelScope]] = []
        async with anyio.create_task_group() as tasks:
            for turn in range(300):
                ends = rng.choice([None, None, "refused_by_model", "rate_limited"])
                tasks.start_soon(call, ends, rng.randrange(6), rng.choice([None, None, turn + rng.randrange(1, 20)]))
                if rng.random() < 0.3:
                    await anyio.lowlevel.checkpoint()
                for when, scope in cancels:
                    if when <= turn:
                        scope.cancel()

        assert (300, 0) == (done, inside)
        assert most <= 4
        assert "<BackendLimiter of <Pool large: east 0, west 0, 0 waiting>>" == repr(before)


class TestGates:
    def test_only_what_declares_something_has_a_gate(self) -> None:
        """
        A backend that bounds nothing and has one place is called without one.
        """
        graph = read_sound(
            HEAD + "backends:\n"
            "  s: {kind: simulated}\n"
            "  bounded: {kind: simulated, concurrency: 2}\n"
            "  many: {kind: openai, model: m, endpoints: [{base_url: 'http://one/v1'}, {base_url: 'http://two/v1'}]}\n"
            "nodes:\n  a: {role: answer, backend: s, next: done}\n"
        )

        assert ["bounded", "many"] == list(limiters(graph, ["s", "bounded", "many"], time.monotonic_ns))
        assert [] == list(limiters(graph, ["s"], time.monotonic_ns))

    def test_any_kind_may_have_one(self) -> None:
        """
        A pretended model can be bounded like a real one.
        """
        assert SimulatedSpec(name="s", span=SPAN, traffic=Traffic()).gated


class TestNothingDeclared:
    async def test_the_line_is_bounded(self) -> None:
        """
        A backend over a network has 100 places, and 100 calls wait for them; the next is refused at once.
        """
        before = gate()
        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(entered, before)
            await settled()
            with pytest.raises(Overloaded, match="100 calls under way and 100 waiting"):
                await entered(before)
            tasks.cancel_scope.cancel()

        assert "<BackendLimiter of <Pool large: calls 100, 0 waiting>>" == repr(before)

    def test_nobody_waits_for_long(self) -> None:
        """
        The wait ends after 5 s; an author who declares something is asked for the rest.
        """
        spec = OpenAISpec(name="large", span=SPAN, model="large-1")
        declared = OpenAISpec(name="large", span=SPAN, model="large-1", traffic=Traffic(requests_per_minute=10))

        assert (100, 100, 5_000_000) == (
            spec.effective_traffic.concurrency,
            spec.effective_traffic.queue,
            spec.effective_traffic.queue_wait_us,
        )
        assert (100, None) == (declared.effective_traffic.concurrency, declared.effective_traffic.queue_wait_us)

    async def test_a_rest_that_one_call_is_asked_for_holds_for_that_call(self) -> None:
        """
        Without declared traffic a Retry-After keeps no other call away.
        """
        before = gate()
        before.leave(await entered(before), error_class="rate_limited", retry_after_us=60_000_000)
        await entered(before)

        assert before.healthy

    async def test_a_place_that_is_free_is_taken_without_waiting(self) -> None:
        """
        The short way and the long way share the places, and neither passes those who wait.
        """
        before = gate()
        places = [before.enter_now(tokens=1, left_us=1) for _ in range(100)]
        assert None is before.enter_now(tokens=1, left_us=1)
        waiting: list[Lease] = []

        async def wait() -> None:
            waiting.append(await entered(before))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await settled()
            assert places[0] is not None
            before.leave(places[0], error_class=None)
            assert None is before.enter_now(tokens=1, left_us=1)

        assert 1 == len(waiting)


class TestTimeThatCallsNeed:
    async def test_a_call_that_cannot_end_is_not_begun(self) -> None:
        """
        With less time than three of four recent calls of its node needed a call gets no place, by either way.
        """
        before = gate()
        for _ in range(32):
            before.learn("slow", ONE, 1_000_000)
        now = time.monotonic_ns() // 1_000

        with pytest.raises(NotStarted, match="needs 1 s or more, and 0"):
            await before.enter(tokens=1, until_us=now + 500_000, node="slow")
        assert None is before.enter_now(tokens=1, node="slow", left_us=500_000)
        assert None is not before.enter_now(tokens=1, node="slow", left_us=1_500_000)
        await before.enter(tokens=1, until_us=now + 500_000, node="quick")
        await before.enter(tokens=1, until_us=now + 500_000)

    async def test_nobody_waits_past_the_last_moment_to_begin(self) -> None:
        """
        A waiter leaves the line while there is time for another model, and not at its own deadline.
        """
        before = gate(Traffic(concurrency=1))
        for _ in range(32):
            before.learn("slow", ONE, 60_000_000)
        await entered(before)
        now = time.monotonic_ns() // 1_000

        with pytest.raises(Overloaded, match="had no place in time"):
            await before.enter(tokens=1, until_us=now + 60_020_000, node="slow")

    async def test_a_call_that_comes_too_late_is_refused_in_its_turn(self) -> None:
        """
        Where nothing is known of the time that calls need, a call past its own time waits for nobody.
        """
        before = gate(Traffic(concurrency=1))
        await entered(before)
        late = time.monotonic_ns() // 1_000 - 1_000

        with pytest.raises(Overloaded, match="had no place in time"):
            await before.enter(tokens=1, until_us=late, node="new")
        with pytest.raises(Overloaded, match="had no place in time"):
            await before.enter(tokens=1, until_us=late)

    def test_backends_in_this_process_learn_nothing(self) -> None:
        """
        A simulated model's time is the author's own figure.
        """
        before = BackendLimiter(SimulatedSpec(name="s", span=SPAN, traffic=Traffic(concurrency=1)), time.monotonic_ns)
        for _ in range(32):
            before.learn("node", ONE, 1_000_000)

        assert None is not before.enter_now(tokens=1, node="node", left_us=1)


NETWORK = """
meshwalk: 1
name: network
start: only
limits: {deadline: 30s}
backends:
  one: {kind: openai, base_url: "http://127.0.0.1:1/v1", model: m, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
nodes:
  only: {role: primary, backend: one, max_tokens: 10, next: done, on_error: [{to: sorry}]}
  sorry: {role: refusal, reason: nobody}
"""


class TestWalks:
    async def test_those_past_the_line_are_refused_and_replayed(self) -> None:
        """
        Of many walks at once those that find no room are refused for nothing, and every record replays as it was.
        """
        plan, model, sink = plan_of(NETWORK), Gate(), RecordList()
        async with Mesh(plan, backends={"one": model}, sinks=[sink]) as mesh, anyio.create_task_group() as tasks:
            for _ in range(230):
                tasks.start_soon(mesh.walk, Request((Message("user", "Why?"),)))
            while len(sink.traversals) < 30:
                await anyio.lowlevel.checkpoint()
            refused = list(sink.traversals)
            model.open.set()

        assert [Outcome.REFUSED] * 30 == [record.finish.outcome for record in refused]
        assert 0 == sum(record.cost_nano_usd for record in refused)
        assert 200 == sum(record.finish.outcome is Outcome.ANSWERED for record in sink.traversals)
        assert [None] * 230 == [replay(decode(encode(record)), plan) for record in sink.traversals]

    async def test_a_walk_that_is_cancelled_in_the_line_is_free(self) -> None:
        """
        Nothing was sent for it, so nothing is charged; the calls under way are charged at their worst.
        """
        plan, model, sink = plan_of(NETWORK), Gate(), RecordList()
        async with Mesh(plan, backends={"one": model}, sinks=[sink]) as mesh, anyio.create_task_group() as tasks:
            for _ in range(150):
                tasks.start_soon(mesh.walk, Request((Message("user", "Why?"),)))
            await settled()
            tasks.cancel_scope.cancel()

        assert 150 == len(sink.traversals)
        assert (50, 100) == (
            sum(record.cost_nano_usd == 0 for record in sink.traversals),
            sum(record.cost_nano_usd > 0 for record in sink.traversals),
        )
        assert [None] * 150 == [replay(decode(encode(record)), plan) for record in sink.traversals]

    async def test_a_call_that_cannot_end_is_refused_and_replayed(self) -> None:
        """
        Once the model is known to be slow, a walk with less time is not charged, and says why; one with more is answered.
        """
        plan, sink = plan_of(NETWORK.replace("sorry}]}", "sorry, class: timeout}]}")), RecordList()
        clock = FakeClock()

        async def slow(_: ChatRequest) -> Reply:
            clock.advance(1.0)
            return Reply("Because.", usage=Usage(1, 1))

        model = ScriptedBackend(slow)
        hasty = Request((Message("user", "Why?"),), limits=Limits(deadline_us=500_000))
        async with Mesh(plan, backends={"one": model}, sinks=[sink], clock=clock) as mesh:
            for _ in range(32):
                await mesh.walk(Request((Message("user", "Why?"),)))
            refused = await mesh.walk(hasty)
            answered = await mesh.walk(Request((Message("user", "Why?"),)))

        assert ("not_started", 0) == (refused.traversal.finish.cause, refused.traversal.cost_nano_usd)
        assert "by its recent calls backend 'one' needs 1 s or more" in refused.traversal.finish.message
        assert ("Because.", 33) == (answered.answer, len(model.requests))
        assert [None] * 34 == [replay(decode(encode(record)), plan) for record in sink.traversals]
