"""
The engine against backends that do as they are told: what it calls, settles and records.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, pairwise

import anyio
import pytest

from meshwalk.backends.base import ChatRequest
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.engine import Engine
from meshwalk.engine.trace_context import trace_context
from meshwalk.model import Limits, Sampling
from meshwalk.model.problems import (
    BackendError,
    BudgetExceeded,
    DeadlineExceeded,
    HopFailed,
    HopLimitExceeded,
    Malformed,
    Overloaded,
    Unreachable,
)
from meshwalk.plan import Plan
from meshwalk.records.hops import hops_of
from meshwalk.records.results import RouteResult
from meshwalk.trace import Message, Outcome, Reply, Request, Traversal, Usage, decode, encode
from meshwalk.walk import Walk
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio


class Scripted:
    """
    Answer with what a script says, in order; an exception in it is raised, and None never comes back.
    """

    waits = True

    def __init__(self, *script: Reply | Exception | None) -> None:
        self._script = list(script)
        self.asked: list[ChatRequest] = []
        self.cancelled = 0
        self.called = anyio.Event()

    async def chat(self, request: ChatRequest) -> Reply:
        self.asked.append(request)
        self.called.set()
        step = self._script.pop(0)
        if step is None:
            try:
                await anyio.sleep_forever()
            finally:
                self.cancelled += 1
        if isinstance(step, Exception):
            raise step
        assert isinstance(step, Reply)

        return step

    async def aclose(self) -> None:
        pass


CASCADE = plan_of(
    """
    meshwalk: 1
    name: cascade
    start: small
    thresholds: {confident: 0.8}
    limits: {deadline: 10s, cost_usd: 1}
    backends:
      little: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
      great: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 10, output: 20}}
    nodes:
      small:
        role: answer
        backend: little
        max_tokens: 100
        retries: 1
        deadline: 50ms
        confidence: {from: recorded}
        next:
          - {to: done, when: "output.confidence >= thresholds.confident"}
          - {to: large}
        on_error: [{class: [overloaded, timeout], to: large}]
      large: {role: primary, backend: great, max_tokens: 200, temperature: 0.5, next: done}
    """
)

SURE = Reply("Paris", usage=Usage(10, 5), confidence=0.9)
UNSURE = Reply("Lyon?", usage=Usage(10, 5), confidence=0.2)
PARIS = Reply("Paris, on the Seine", usage=Usage(12, 50), model="large-1")


def engine_of(plan: Plan, little: Scripted, great: Scripted | None = None) -> tuple[Engine, list[Traversal]]:
    records: list[Traversal] = []

    return Engine(plan, {"little": little, "great": great or Scripted()}, records.append, vault=MemoryVault()), records


def asking(text: str = "What is the capital of France?", **more: object) -> Request:
    return Request((Message("user", text),), **more)  # type: ignore[arg-type]


async def walked(little: Sequence[Reply | Exception | None], great: Sequence[Reply | Exception | None] = ()) -> RouteResult:
    engine, records = engine_of(CASCADE, Scripted(*little), Scripted(*great))
    done = await engine.walk(asking())

    assert [done.traversal] == records

    return done


def replays(traversal: Traversal, plan: Plan) -> bool:
    copied, walk = decode(encode(traversal)), Walk(plan)

    return all(wishes == walk.feed(entry) for entry, wishes in copied.steps) and walk.decisions == copied.decisions


class TestPaths:
    async def test_a_confident_answer_is_served(self) -> None:
        """
        The first answer that holds its guard ends the walk.
        """
        done = await walked([SURE])

        assert ("Paris", ("small",), Outcome.ANSWERED) == (done.answer, done.path, done.outcome)
        assert (20_000, "reported") == (done.traversal.cost_nano_usd, done.traversal.basis)

    async def test_a_doubtful_one_escalates(self) -> None:
        """
        A doubtful answer costs its share and the primary's.
        """
        done = await walked([UNSURE], [PARIS])

        assert ("Paris, on the Seine", ("small", "large")) == (done.answer, done.path)
        assert 20_000 + 1_120_000 == done.traversal.cost_nano_usd
        assert replays(done.traversal, CASCADE)

    async def test_a_missing_confidence_is_undetermined(self) -> None:
        """
        A reply without the confidence a guard reads does not pass that guard.
        """
        done = await walked([Reply("Paris")], [PARIS])

        assert ("small", "large") == done.path
        assert "uy" == done.traversal.decisions[0].verdicts


class TestErrors:
    async def test_a_retry_may_work(self) -> None:
        """
        A passing fault is tried again inside the hop, and both attempts are recorded.
        """
        done = await walked([Overloaded("busy", backend="little"), SURE])
        hop = hops_of(done.traversal, CASCADE)[0]

        assert ("small",) == done.path
        assert [("failed", "overloaded", 0), ("ok", "", 20_000)] == [
            (attempt.status, attempt.error_class, attempt.cost_nano_usd) for attempt in hop.attempts
        ]

    async def test_a_class_takes_its_edge(self) -> None:
        """
        When retries are used up the error's class chooses the way on.
        """
        fault = Overloaded("busy", backend="little")
        done = await walked([fault, fault], [PARIS])

        assert ("small", "large") == done.path
        assert replays(done.traversal, CASCADE)

    async def test_an_unhandled_class_fails_the_walk(self) -> None:
        """
        Without an edge for it, an error ends the walk, which says where and what.
        """
        done = await walked([Malformed("no choices", backend="little", billable=True)])
        error = done.error()

        assert isinstance(error, HopFailed)
        assert ("small", "malformed", done.traversal_id) == (error.node, error.error_class, error.traversal_id)
        assert "node 'small': no choices" == str(error)

    @pytest.mark.parametrize(("billable", "cost", "basis"), [(True, 246_000, "assumed"), (False, 0, "none")])
    async def test_what_may_be_billed_is_assumed(self, billable: bool, cost: int, basis: str) -> None:
        """
        A call that may have been executed is charged at its worst case; one that was not sent costs nothing.
        """
        fault: BackendError = Unreachable("gone", backend="little", billable=billable)
        done = await walked([fault, fault])
        attempts = hops_of(done.traversal, CASCADE)[0].attempts

        assert [cost] == list({attempt.cost_nano_usd for attempt in attempts})
        assert [basis] == list({attempt.basis for attempt in attempts})

    async def test_any_exception_is_recorded(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        A backend that raises what it should not does not break the walk's record, and its words stay out of it and of the log.
        """
        done = await walked([RuntimeError("a secret prompt")])

        assert Outcome.FAILED is done.outcome
        assert "node 'small': the backend raised RuntimeError" == done.reason
        assert "RuntimeError" in caplog.text
        assert "a secret prompt" not in caplog.text

    async def test_a_timeout_cancels_the_call(self) -> None:
        """
        When a hop's time is up its call is cancelled and assumed spent, and class timeout chooses the edge.
        """
        little = Scripted(None, None)
        engine, _ = engine_of(CASCADE, little, Scripted(PARIS))
        done = await engine.walk(asking())
        hop = hops_of(done.traversal, CASCADE)[0]

        assert (("small", "large"), 1) == (done.path, little.cancelled)
        assert ("timeout", "timeout", "assumed") == (hop.status, hop.error_class, hop.basis)
        assert hop.latency_us >= 50_000


class TestLimits:
    async def test_a_call_past_the_budget_is_not_made(self) -> None:
        """
        A worst case that does not fit is denied before anything is sent.
        """
        little = Scripted(SURE)
        engine, _ = engine_of(CASCADE, little)
        done = await engine.walk(asking(limits=Limits(cost_nano_usd=100)))

        assert [] == little.asked
        assert isinstance(done.error(), BudgetExceeded)
        assert "denied" == hops_of(done.traversal, CASCADE)[0].status

    async def test_a_denied_retry_closes_the_hop(self) -> None:
        """
        A retry is reserved anew; where the first attempt ate the budget it is not made.
        """
        little = Scripted(Unreachable("gone", backend="little", billable=True), SURE)
        engine, _ = engine_of(CASCADE, little)
        done = await engine.walk(asking(limits=Limits(cost_nano_usd=400_000)))

        assert 1 == len(little.asked)
        assert isinstance(done.error(), BudgetExceeded)
        assert ["failed", "denied"] == [attempt.status for attempt in done.traversal.attempts()]

    async def test_hops_run_out(self) -> None:
        """
        The hop limit of the request holds.
        """
        engine, _ = engine_of(CASCADE, Scripted(UNSURE))
        done = await engine.walk(asking(limits=Limits(hops=1)))

        assert isinstance(done.error(), HopLimitExceeded)

    async def test_the_deadline_reaches_the_call(self) -> None:
        """
        The walk's deadline cuts a call that the node would still allow.
        """
        engine, _ = engine_of(CASCADE, Scripted(None), Scripted(None))
        done = await engine.walk(asking(limits=Limits(deadline_us=20_000)))

        assert isinstance(done.error(), DeadlineExceeded)
        assert ("small", "large") == done.path


class TestCancel:
    async def test_reaches_the_backend_and_the_record(self) -> None:
        """
        A caller that goes away cancels the call, and the walk is recorded as cancelled at its assumed cost.
        """
        little = Scripted(None)
        engine, records = engine_of(CASCADE, little)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.walk, asking())
            await little.called.wait()
            tasks.cancel_scope.cancel()

        assert 1 == little.cancelled
        assert [(Outcome.CANCELLED, 246_000, "assumed")] == [(one.outcome, one.cost_nano_usd, one.basis) for one in records]
        assert replays(records[0], CASCADE)


class TestWhatIsSent:
    async def test_the_original_messages(self) -> None:
        """
        Each node gets the caller's messages as they are, and its own sampling before the caller's.
        """
        little, great = Scripted(UNSURE), Scripted(PARIS)
        engine, _ = engine_of(CASCADE, little, great)
        messages = (Message("system", "Be brief."), Message("user", "Hello"))
        await engine.walk(Request(messages, sampling=Sampling(max_tokens=150, temperature=1.0, seed=3)))

        assert [messages, messages] == [one.messages for one in little.asked + great.asked]
        assert [Sampling(100, 1.0, None, 3), Sampling(150, 0.5, None, 3)] == [
            one.sampling for one in little.asked + great.asked
        ]

    async def test_the_trace_goes_on(self) -> None:
        """
        The caller's trace id reaches the backend, under the span of the attempt.
        """
        little = Scripted(SURE)
        engine, records = engine_of(CASCADE, little)
        await engine.walk(asking(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
        attempt = next(records[0].attempts())

        assert f"00-0af7651916cd43dd8448eb211c80319c-{attempt.span_id}-01" == little.asked[0].traceparent
        assert "b7ad6b7169203331" == records[0].parent_span_id

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "nonsense",
            "00-0-0-01",
            f"00-{'0' * 32}-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ],
    )
    async def test_a_broken_header_starts_a_trace(self, header: str) -> None:
        """
        A trace context that cannot be read is left, and the walk starts a trace of its own.
        """
        context = trace_context(header)

        assert ("", 32, True) == (context.parent_span_id, len(context.trace_id), context.sampled)


class TestDecide:
    async def test_stops_before_the_first_call(self) -> None:
        """
        A preview names the node that would be called, its worst case, and what each edge behind it needs.
        """
        little = Scripted()
        engine, records = engine_of(CASCADE, little)
        preview = await engine.decide(asking())

        assert ("small", ("small",), None) == (preview.next, preview.path, preview.outcome)
        assert [("done", ("output.confidence",), None), ("large", (), True)] == [
            (edge.to, edge.needs, edge.verdict) for edge in preview.edges
        ]
        assert ([], []) == (little.asked, records)

    async def test_says_what_is_still_open(self) -> None:
        """
        A guard that reads an output with a declared `missing:` needs that output, too, as long as nobody was asked.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: strict
            start: ask
            backends: {little: {kind: simulated}}
            nodes:
              ask:
                role: answer
                backend: little
                confidence: {from: recorded, missing: 0}
                next:
                  - {to: done, when: "request.urgency == 'batch' || output.confidence > 0.5"}
                  - {to: done}
            """
        )
        engine, _ = engine_of(plan, Scripted())
        hurried, patient = await engine.decide(asking()), await engine.decide(asking(attributes={"urgency": "batch"}))

        assert (("output.confidence",), None) == (hurried.edges[0].needs, hurried.edges[0].verdict)
        assert ((), True) == (patient.edges[0].needs, patient.edges[0].verdict)


class TestTimes:
    async def test_a_hop_is_split(self) -> None:
        """
        Hops follow each other without a gap, and what was not spent in calls is the engine's.
        """
        done = await walked([UNSURE], [PARIS])
        first, second = hops_of(done.traversal, CASCADE)

        assert (0, first.latency_us) == (first.started_us, second.started_us)
        assert done.traversal.latency_us == second.started_us + second.latency_us
        assert done.traversal.engine_us == first.engine_us + second.engine_us


class TestInstruments:
    async def test_classifiers_use_the_given_features(self) -> None:
        """
        What signals are can be replaced, in walks and in previews alike.
        """
        plan = plan_of(
            """
            meshwalk: 1
            name: asked
            start: intake
            nodes:
              intake:
                role: classifier
                use: features
                next: [{to: hard, when: signals.depth > 90}, {to: easy}]
              hard: {role: refusal, reason: too hard}
              easy: {role: refusal, reason: too easy}
            """
        )
        engine = Engine(plan, {}, lambda _: None, vault=MemoryVault(), features=lambda _: {"depth": 91.0})

        assert ("intake", "hard") == (await engine.walk(asking())).path
        assert ("intake", "hard") == (await engine.decide(asking())).path

    async def test_walks_are_timed_by_the_given_clock(self) -> None:
        """
        A walk's times are what the clock says, from its beginning on.
        """
        ticks = count(5_000_000, 1_000_000)
        backends = {"little": Scripted(SURE), "great": Scripted()}
        engine = Engine(CASCADE, backends, lambda _: None, vault=MemoryVault(), clock_ns=lambda: next(ticks))
        done = await engine.walk(asking())

        assert [0, 1000] == [entry.at_us for entry, _ in done.traversal.steps][:2]
        assert all(earlier.at_us < later.at_us for (earlier, _), (later, _) in pairwise(done.traversal.steps))
