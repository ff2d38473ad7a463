"""
Walks that draw on the same budgets: waiting for each other, refused by a scope, and led by what is left.
"""

from __future__ import annotations

import anyio
import pytest

from meshwalk.backends.base import ChatRequest
from meshwalk.budgets import Scope, SpendPath
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.engine import walk_budget
from meshwalk.mesh import Mesh
from meshwalk.model import Amount, Caps
from meshwalk.model.problems import BudgetContended, BudgetExceeded, Overloaded
from meshwalk.plan import Plan
from meshwalk.records.results import RouteResult
from meshwalk.review.replay import replay
from meshwalk.trace import (
    Began,
    Call,
    CompactTrace,
    Denied,
    Granted,
    Message,
    Replied,
    Reply,
    Request,
    Reserve,
    Scopes,
    Usage,
    decode,
    encode,
)
from tests.engine.shared_budgets import (
    LARGE,
    NOTHING,
    PARIS,
    SMALL,
    SURE,
    Bench,
    Clock,
    Scripted,
    SlowVault,
    asking,
    plus,
    shared,
)
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

CHEAP = Amount(20_000, 10, 5, 1, 1)


def one_call(session: str, node: str = "deadline: 5s") -> Plan:
    """
    Compile a graph of one call, which may cost 227,000 nano-dollars and costs 20,000.
    """
    return plan_of(
        f"""
        meshwalk: 1
        name: one
        start: ask
        budgets: {{session: {session}}}
        backends: {{little: {{kind: simulated, context_tokens: 1000, usd_per_mtok: {{input: 1, output: 2}}}}}}
        nodes: {{ask: {{role: answer, backend: little, max_tokens: 100, {node}, next: done}}}}
        """
    )


TIGHT = one_call("{cost_usd: 0.0003}")


class TestContention:
    @pytest.mark.parametrize("vault", [MemoryVault, SlowVault])
    async def test_waits_in_line_until_others_settle(self, vault: type[MemoryVault]) -> None:
        """
        Whoever settles calls the next, in the order in which they came, and nobody asks in between.
        """
        books = vault()
        # Who is not called would look again by itself too late.
        books.poll_seconds = (60.0, 60.0)
        benches = [Bench(TIGHT, [SURE], vault=books) for _ in range(4)]
        gates = [anyio.Event() for _ in benches]
        ended: list[int] = []

        async def walk(number: int) -> None:
            benches[number].little.gate = gates[number]
            await benches[number].walk()
            ended.append(number)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for number in range(4):
                    tasks.start_soon(walk, number)
                    await anyio.wait_all_tasks_blocked()
                asked = [bench.little.asked for bench in benches]
                for bench, gate in zip(benches, gates, strict=True):
                    await bench.little.called.wait()
                    gate.set()
        statement = await benches[0].statement()

        assert [1, 0, 0, 0] == asked
        assert [0, 1, 2, 3] == ended
        assert (80_000, NOTHING) == (statement.spent.cost_nano_usd, statement.reserved)

    async def test_its_wait_is_no_work_of_the_engine(self) -> None:
        """
        How long a walk waited is told beside how long the engine took, and its call still ends when the hop does.
        """
        first, second = Bench(TIGHT, [SURE]), Bench(TIGHT, [SURE])
        second.vault = first.vault
        second.engine.with_deps(second.engine.deps._replace(vault=first.vault))
        first.little.gate = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.walk)
            await first.little.called.wait()
            tasks.start_soon(second.walk)
            await anyio.wait_all_tasks_blocked()
            await anyio.sleep(0.02)
            first.little.gate.set()
        (record,) = second.records
        (granted,) = [entry for entry, _ in record.steps if isinstance(entry, Granted)]
        deadlines = {wish.deadline_at_us for _, wishes in record.steps for wish in wishes if isinstance(wish, Reserve | Call)}

        assert granted.waited_us >= 20_000
        assert granted.waited_us == record.budget_wait_us
        assert record.engine_us <= record.latency_us - granted.waited_us
        assert {5_000_000} == deadlines

    @pytest.mark.parametrize(("node", "min_us"), [("deadline: 60ms", 60_000), ("deadline: 60ms, min_time: 30ms", 30_000)])
    async def test_past_its_time_it_is_refused_for_now(self, node: str, min_us: int) -> None:
        """
        Where others do not settle while the call could still be made, the refusal says that trying again may help.
        """
        plan = one_call("{cost_usd: 0.0003}", node)
        first, second = Bench(TIGHT, [SURE]), Bench(plan, [])
        second.vault = first.vault
        second.engine.with_deps(second.engine.deps._replace(vault=first.vault))
        first.little.gate = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.walk)
            await first.little.called.wait()
            done = await second.walk()
            first.little.gate.set()
        error = done.error()

        assert isinstance(error, BudgetContended)
        assert ("session", 0) == (error.scope, second.little.asked)
        assert "try again when they are settled" in str(error)
        # The hop's time counts from its start, a little before it begins to wait.
        assert 0 < done.traversal.budget_wait_us <= done.traversal.latency_us
        assert done.traversal.latency_us >= min_us
        assert CHEAP == await first.settled()

    async def test_a_turn_is_not_lost_with_one_that_is_denied(self) -> None:
        """
        Who is called and cannot go on, because others spent what it needs, lets the next know.
        """
        vault = MemoryVault()
        vault.poll_seconds = (60.0, 60.0)
        dear = Reply("Paris", usage=Usage(10, 5), cost_nano_usd=100_000)
        first = Bench(TIGHT, [dear], vault=vault)
        # After the first has spent 100,000 the second's 227,000 do not fit any more; the third's 127,000 do.
        second = Bench(TIGHT, [], vault=vault)
        third = Bench(SMALLER, [SURE], vault=vault)
        first.little.gate = anyio.Event()
        walked: list[RouteResult] = []

        async def walk(bench: Bench) -> None:
            walked.append(await bench.walk())

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for bench in (first, second, third):
                    tasks.start_soon(walk, bench)
                    await anyio.wait_all_tasks_blocked()
                first.little.gate.set()

        assert ["", "budget", ""] == [one.traversal.finish.cause for one in walked]


SMALLER = plan_of(
    """
    meshwalk: 1
    name: smaller
    start: ask
    budgets: {session: {cost_usd: 0.0003}}
    backends: {little: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}}
    nodes: {ask: {role: answer, backend: little, max_tokens: 50, deadline: 5s, next: done}}
    """
)


class TestAway:
    """
    A vault that does not answer.
    """

    async def test_it_is_waited_for_a_bounded_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A walk waits for it once, however many hops ask, and then fails as one that no budget was granted to.
        """
        monkeypatch.setattr(walk_budget, "AWAY_WAIT_US", 100_000)
        vault = SlowVault()
        vault.mode = "away"
        plan = shared(("deadline: 50ms", "deadline: 9s"), ("class: [overloaded, timeout], to: large", "to: large"))
        async with Mesh(plan, backends={"little": Scripted(), "great": Scripted()}, vault=vault) as mesh:
            began = anyio.current_time()
            result = await mesh.walk(asking())
            took = anyio.current_time() - began

        assert ("small", "large") == result.path
        assert isinstance(result.error(), BudgetContended)
        assert 0.1 <= took < 2
        assert 1 == sum(isinstance(entry, Denied) and entry.waited_us > 50_000 for entry, _ in result.traversal.steps)

    async def test_one_that_comes_back_is_used(self) -> None:
        """
        A walk that waited is granted what it asks for once the vault answers.
        """
        vault = SlowVault()
        vault.mode = "away"
        plan = shared(("deadline: 50ms", "deadline: 9s"))
        results: list[RouteResult] = []
        async with (
            Mesh(plan, backends={"little": Scripted(SURE), "great": Scripted()}, vault=vault) as mesh,
            anyio.create_task_group() as tasks,
        ):

            async def ask() -> None:
                results.append(await mesh.walk(asking()))

            tasks.start_soon(ask)
            await vault.asked.wait()
            vault.mode = "well"

        assert "Paris" == results[0].answer


class TestScopes:
    async def test_one_that_denies_leaves_nothing_in_the_others(self) -> None:
        """
        A call is held in all scopes or in none, and the record names the one that refused.
        """
        vault = MemoryVault()
        await vault.set_caps("default", "workflow", "w", Caps(calls=0))
        bench = Bench(vault=vault)
        done = await bench.walk()
        error = done.error()

        assert isinstance(error, BudgetExceeded)
        assert not isinstance(error, BudgetContended)
        assert ("workflow", "workflow") == (error.scope, done.traversal.finish.scope)
        assert "makes 1 model call and 0 of 0 are left of workflow 'w'" in str(error)
        assert [] == await vault.reports("default")

    async def test_a_spent_session_takes_a_cheaper_way(self) -> None:
        """
        An edge for class budget leads on to what still fits.
        """
        plan = shared(
            ("start: small", "start: large"),
            ("session: {cost_usd: 0.01, calls: 6}", "session: {cost_usd: 0.005}"),
            ("{to: large}\n    on", "{to: sorry}\n    on"),
            ("[{class: [overloaded, timeout], to: large}]", "[{class: [overloaded, timeout], to: sorry}]"),
            ("max_tokens: 200, next: done", "max_tokens: 200, next: done, on_error: [{class: budget, to: small}]"),
        )
        bench = Bench(plan, [SURE], [PARIS])
        first, second = await bench.walk(), await bench.walk()

        assert (("large",), ("large", "small")) == (first.path, second.path)
        assert plus(Amount(1_120_000, 12, 50, 1, 1), CHEAP) == await bench.settled()

    async def test_a_refused_retry_names_its_scope(self) -> None:
        """
        Where others took what a retry needs, the walk says whose budget it was.
        """
        vault = MemoryVault()
        await vault.set_caps("default", "session", "s", Caps(calls=1))
        bench = Bench(little=[Overloaded("busy", backend="little")], vault=vault)
        error = (await bench.walk()).error()

        assert isinstance(error, BudgetExceeded)
        assert "session" == error.scope
        assert Amount(calls=1, hops=1) == await bench.settled()

    async def test_free_hops_are_counted_where_hops_are_capped(self) -> None:
        """
        A node that calls nothing takes a hop of the session all the same.
        """
        plan = shared(
            ("session: {cost_usd: 0.01, calls: 6}", "session: {hops: 3}"),
            ("start: small", "start: look"),
            ("nodes:", "nodes:\n  look: {role: classifier, use: features, next: small}"),
        )
        bench = Bench(plan, [SURE])
        first, second = await bench.walk(), await bench.walk()

        assert (("look", "small"), ("look", "small")) == (first.path, second.path)
        assert ("budget", "session") == (second.traversal.finish.cause, second.traversal.finish.scope)
        assert "makes 1 hop and 0 of 3 are left" in second.reason
        assert plus(CHEAP, Amount(hops=2)) == await bench.settled()

    @pytest.mark.parametrize(
        ("caps", "words"),
        [
            (Caps(calls=0), "makes 1 model call"),
            (Caps(input_tokens=26), "may send up to 27 tokens"),
            (Caps(output_tokens=99), "may write up to 100 tokens"),
            (Caps(hops=0), "makes 1 hop"),
        ],
    )
    async def test_every_part_may_be_capped(self, caps: Caps, words: str) -> None:
        """
        Calls, tokens and hops are held like money.
        """
        vault = MemoryVault()
        await vault.set_caps("default", "session", "s", caps)
        done = await Bench(vault=vault).walk()

        assert "session" == done.traversal.finish.scope
        assert words in done.reason


class TestGuards:
    PLAN = plan_of(
        """
        meshwalk: 1
        name: eased
        start: look
        budgets: {session: {cost_usd: 0.01, pressure_from: 0.5}}
        backends:
          little: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
          great: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 10, output: 20}}
        nodes:
          look:
            role: classifier
            use: features
            next: [{to: small, when: budget.session.pressure > 0}, {to: large}]
          small: {role: answer, backend: little, max_tokens: 100, next: done}
          large:
            role: primary
            backend: great
            max_tokens: 200
            next: [{to: small, when: budget.session.left_usd < 0.004}, {to: done}]
        """
    )

    async def walked(self, spent: int, vault: MemoryVault | None = None, session: str = "s") -> RouteResult:
        vault = vault or MemoryVault()
        scope = Scope("default", "session", "s")
        await vault.charge("earlier", (scope,), Amount(spent), SpendPath())
        bench = Bench(self.PLAN, [SURE], [PARIS], vault)
        done = await bench.walk(asking(session=session))

        assert replay(decode(encode(done.traversal)), self.PLAN) is None

        return done

    @pytest.mark.parametrize(
        ("spent", "path"),
        [
            (0, ("look", "large")),
            (4_880_000, ("look", "large")),  # 6,000,000 are spent afterwards, and 4,000,000 left
            (4_880_001, ("look", "large", "small")),
            (5_000_000, ("look", "large", "small")),
            (5_000_001, ("look", "small")),
        ],
    )
    async def test_a_session_near_its_ceiling_is_eased(self, spent: int, path: tuple[str, ...]) -> None:
        """
        Guards see what the session has used before anything is reserved, and a reply's cost in place of its reservation.
        """
        assert path == (await self.walked(spent)).path

    async def test_what_is_not_named_has_no_pressure(self) -> None:
        """
        A request in no session is led as if there were none.
        """
        done = await self.walked(9_000_000, session="")

        assert ("look", "large") == done.path
        assert ["ny", "uy"] == [decision.verdicts for decision in done.traversal.decisions]

    async def test_views_follow_the_walk(self) -> None:
        """
        A walk's views of its session are of its own last look, reservation or reply.
        """
        vault = SlowVault()
        done = await self.walked(1_000, vault)
        entries = [entry for entry, _ in done.traversal.steps if isinstance(entry, Began | Granted | Replied)]
        views = [entry.views[1].used for entry in entries if entry.views]
        before = Amount(1_000)

        assert [before, plus(before, LARGE), plus(before, Amount(1_120_000, 12, 50, 1, 1))] == views
        assert ["look", "exchange", "exchange"] == vault.calls

    async def test_views_follow_each_call(self) -> None:
        """
        A second call sees what the first one really cost, once, and its own worst case until it is settled, too.
        """
        done = await self.walked(4_880_001)
        views = [
            entry.views[1].used
            for entry, _ in done.traversal.steps
            if isinstance(entry, Began | Granted | Replied) and entry.views
        ]
        before, large = Amount(4_880_001), Amount(1_120_000, 12, 50, 1, 1)
        after = plus(before, large)

        assert ("look", "large", "small") == done.path
        assert [before, plus(before, LARGE), after, plus(after, SMALL), plus(after, CHEAP)] == views

    async def test_what_was_seen_at_first_survives_its_record(self) -> None:
        """
        Budgets that guards read before anything was reserved are in the record, and come back in their own type.
        """
        record = (await self.walked(1_000)).traversal
        assert isinstance(record.trace, CompactTrace), "all of its hops took the usual way"
        (seen,) = record.trace.shared_views
        back = decode(encode(record)).trace

        assert Amount(1_000) == seen.used
        assert isinstance(back, CompactTrace)
        assert repr((seen,)) == repr(back.shared_views)

    async def test_a_preview_only_looks(self) -> None:
        """
        `decide` sees what is left, and neither holds nor counts anything.
        """
        vault = SlowVault()
        await vault.charge("earlier", (Scope("default", "session", "s"),), Amount(6_000_000), SpendPath())
        bench = Bench(self.PLAN, vault=vault)
        preview = await bench.engine.decide(asking())
        statement = await bench.statement()

        assert ("small", ["look"]) == (preview.next, vault.calls)
        assert (Amount(6_000_000), NOTHING, []) == (statement.spent, statement.reserved, bench.records)


class TestTime:
    async def test_a_window_ends_under_a_call(self) -> None:
        """
        A call is settled in the window that it was held in, and the next one counts anew.
        """
        clock = Clock()
        window_us = 3_600_000_000
        clock.now += window_us - clock.now % window_us - 1_000
        bench = Bench(one_call("{cost_usd: 0.0003, window: 1h}"), [SURE, SURE], vault=MemoryVault(clock))
        bench.little.gate = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.walk)
            await bench.little.called.wait()
            clock.now += 2_000
            bench.little.gate.set()
        await bench.walk()
        old, new = await bench.vault.reports("default")

        assert old.window_ends_unix_us == clock.now - 1_000
        assert [(CHEAP, NOTHING)] * 2 == [(one.spent, one.reserved) for one in (old, new)]

    async def test_an_operator_sets_caps_under_walks(self) -> None:
        """
        What an operator sets holds from the next reservation on, and costs no call that is under way.
        """
        bench = Bench(one_call("{cost_usd: 1}"), [SURE, SURE])
        bench.little.gate = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.walk)
            await bench.little.called.wait()
            await bench.vault.set_caps("default", "session", "s", Caps(cost_nano_usd=1))
            denied = await bench.walk()
            bench.little.gate.set()
        await bench.vault.set_caps("default", "session", "s", Caps())
        again = await bench.walk()

        assert ("budget", "") == (denied.traversal.finish.cause, again.traversal.finish.cause)
        assert plus(CHEAP, CHEAP) == await bench.settled()


LOOP = plan_of(
    """
    meshwalk: 1
    name: loop
    start: ask
    budgets: {workflow: {calls: 5}}
    backends: {little: {kind: simulated}}
    nodes: {ask: {role: answer, backend: little, deadline: 80ms, next: done}}
    """
)


async def for_ever(mesh: Mesh) -> None:
    """
    Ask again and again, as a program does that misbehaves.
    """
    while True:
        await mesh.route("What next?", workflow="runaway")


class Calling:
    """
    Answer a call by calling the mesh again, within the same workflow.
    """

    waits = True

    def __init__(self) -> None:
        self.mesh: Mesh
        self.errors: list[BudgetExceeded] = []
        self.asked = 0

    async def chat(self, request: ChatRequest) -> Reply:
        self.asked += 1
        try:
            return Reply((await self.mesh.route(request.messages, workflow="runaway")).answer)
        except BudgetExceeded as error:
            self.errors.append(error)
            return Reply("I give up")

    async def aclose(self) -> None:
        pass


class TestRunaway:
    async def test_a_loop_is_stopped(self) -> None:
        """
        A program that asks again and again is refused when its workflow's calls are used up, and the record says whose.
        """
        backend = Scripted(*[SURE] * 6)
        async with Mesh(LOOP, backends={"little": backend}) as mesh:
            with pytest.raises(BudgetExceeded) as caught:
                await for_ever(mesh)

        assert ("workflow", 5) == (caught.value.scope, backend.asked)
        assert "node 'ask' makes 1 model call and 0 of 5 are left of workflow 'runaway'" == str(caught.value)

    async def test_a_recursion_is_stopped(self) -> None:
        """
        A model that asks the mesh to answer is stopped as deep as its workflow has calls.
        """
        backend = Calling()
        async with Mesh(LOOP, backends={"little": backend}) as mesh:
            backend.mesh = mesh
            with anyio.fail_after(20):
                await mesh.walk(Request((Message("user", "Ask yourself"),), scopes=Scopes(workflow="runaway")))
            (statement,) = await mesh.vault.reports("default")

        assert 5 == backend.asked
        assert 5 == statement.spent.calls
        assert NOTHING == statement.reserved
