"""
However a walk ends, nothing stays held and its books are exact.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, cast

import anyio
import pytest

from meshwalk.backends import roles
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.model import Amount, Caps, Limits
from meshwalk.model.problems import BudgetContended, BudgetExceeded, Malformed, Overloaded, Unreachable
from meshwalk.trace import Entry, Outcome, Replied, Reply, Usage, Wish
from meshwalk.walk import Walk
from tests.engine.shared_budgets import (
    NOTHING,
    PARIS,
    PLAN,
    SMALL,
    SURE,
    UNSURE,
    Bench,
    Clock,
    Script,
    SlowVault,
    asking,
    plus,
    shared,
)


pytestmark = pytest.mark.anyio

BUSY = Overloaded("busy", backend="little")
GONE = Unreachable("gone", backend="little", billable=True)

CHEAP = Amount(20_000, 10, 5, 1, 1)
DEAR = Amount(1_120_000, 12, 50, 1, 1)
CALL = Amount(calls=1)
HOP = Amount(hops=1)


class Way(NamedTuple):
    """
    Tell how a walk ends, what it spent, and what of that is assumed.
    """

    outcome: Outcome
    spent: Amount
    little: Script
    great: Script = ()
    assumed: Amount = NOTHING
    limits: Limits = Limits()
    task: str = ""
    cause: str = ""


AGAIN = SMALL._replace(hops=0)

PATIENT = shared(("deadline: 50ms", "deadline: 5s"))

WAYS = {
    "answered": Way(Outcome.ANSWERED, CHEAP, [SURE]),
    "answered-on-retry": Way(Outcome.ANSWERED, plus(CHEAP, CALL), [BUSY, SURE]),
    "escalated": Way(Outcome.ANSWERED, plus(CHEAP, DEAR), [UNSURE], [PARIS]),
    "refused-after-a-call": Way(Outcome.REFUSED, CHEAP, [UNSURE], task="stop"),
    "never-sent": Way(Outcome.ANSWERED, plus(DEAR, CALL, CALL, HOP), [BUSY, BUSY], [PARIS]),
    "maybe-sent": Way(Outcome.FAILED, plus(SMALL, AGAIN), [GONE, GONE], assumed=plus(SMALL, AGAIN), cause="unreachable"),
    "malformed": Way(
        Outcome.FAILED, SMALL, [Malformed("no", backend="little", billable=True)], assumed=SMALL, cause="malformed"
    ),
    "raised": Way(Outcome.FAILED, SMALL, [RuntimeError("boom")], assumed=SMALL, cause="malformed"),
    "timeout": Way(Outcome.ANSWERED, plus(SMALL, DEAR), [None], [PARIS], assumed=SMALL),
    "deadline": Way(
        Outcome.FAILED, SMALL, [None], assumed=SMALL, limits=Limits(deadline_us=200_000), cause="timeout"
    ),
    "hops": Way(Outcome.FAILED, CHEAP, [UNSURE], limits=Limits(hops=1), cause="hops"),
    "denied": Way(Outcome.FAILED, NOTHING, [], limits=Limits(cost_nano_usd=1), cause="budget"),
    "denied-input": Way(Outcome.FAILED, NOTHING, [], limits=Limits(input_tokens=26), cause="budget"),
    "denied-calls": Way(Outcome.FAILED, CHEAP, [UNSURE], limits=Limits(calls=1), cause="budget"),
    "denied-retry": Way(
        Outcome.FAILED, SMALL, [GONE], assumed=SMALL, limits=Limits(cost_nano_usd=400_000), cause="budget"
    ),
    "dearer-than-bound": Way(
        Outcome.ANSWERED,
        Amount(300_000, 10, 5, 1, 1),
        [Reply("Paris", usage=Usage(10, 5), confidence=0.9, cost_nano_usd=300_000)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("vault", [MemoryVault, SlowVault])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_every_end_has_exact_books(way: Way, vault: type[MemoryVault]) -> None:
    """
    Whatever ends a walk, each of its scopes has spent what its record says, and holds nothing.
    """
    # A busy machine may stall for longer than the node's short deadline.
    plan = PLAN if way is WAYS["timeout"] else PATIENT
    bench = Bench(plan, way.little, way.great, vault())
    done = await bench.walk(asking(limits=way.limits, task=way.task))
    spent = await bench.settled()

    assert (way.outcome, way.cause) == (done.outcome, done.traversal.finish.cause)
    assert way.spent == spent
    if any(spent):
        statement = await bench.statement()
        assert way.assumed == statement.assumed
        assert max(0, spent.cost_nano_usd - 227_000) * (way is WAYS["dearer-than-bound"]) == statement.overrun.cost_nano_usd


async def stopped(bench: Bench, moment: anyio.Event, *, native: bool, after: anyio.Event | None = None) -> None:
    """
    Start a walk, and cancel it at *moment*, as a scope does or as a task is cancelled by itself.
    """
    if native:
        task = asyncio.create_task(bench.walk())
        await moment.wait()
        await anyio.wait_all_tasks_blocked()
        task.cancel()
        if after is not None:
            after.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.walk)
        await moment.wait()
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        if after is not None:
            after.set()


@pytest.mark.parametrize("native", [False, True])
class TestCancelled:
    async def test_while_calling(self, native: bool) -> None:
        """
        A call that was under way is charged at its worst.
        """
        bench = Bench(PLAN, [None], vault=SlowVault())
        await stopped(bench, bench.little.called, native=native)

        assert SMALL == await bench.settled()
        assert [Outcome.CANCELLED] == [record.outcome for record in bench.records]

    @pytest.mark.parametrize("answered", [False, True])
    async def test_while_the_vault_is_asked(self, native: bool, answered: bool) -> None:
        """
        What the vault grants a walk that has gone is given back, whether the answer was on its way or not.
        """
        vault, opened = SlowVault(), anyio.Event()
        vault.gate, vault.back = (None, opened) if answered else (opened, None)
        bench = Bench(PLAN, [None], vault=vault)
        await stopped(bench, vault.asked, native=native, after=opened)
        held = [(one.reserved, one.reservations) for one in await vault.reports("default")]

        assert all((NOTHING, 0) == one for one in held)
        assert [Outcome.CANCELLED] == [record.outcome for record in bench.records]

    async def test_while_closing(self, native: bool) -> None:
        """
        A walk that was over when its caller went is settled, and recorded as what it came to.
        """
        vault, opened = SlowVault(), anyio.Event()
        bench = Bench(PLAN, [SURE], vault=vault)
        bench.little.gate = anyio.Event()

        async def close_the_gate() -> None:
            await bench.little.called.wait()
            vault.gate, vault.asked = opened, anyio.Event()
            closing.set()
            assert bench.little.gate is not None
            bench.little.gate.set()

        closing = anyio.Event()

        class Later:
            async def wait(self) -> None:
                await closing.wait()
                await vault.asked.wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close_the_gate)
            await stopped(bench, Later(), native=native, after=opened)  # type: ignore[arg-type]

        assert CHEAP == await bench.settled()
        assert [Outcome.ANSWERED] == [record.outcome for record in bench.records]

    async def test_while_contended(self, native: bool) -> None:
        """
        A walk that is given up while it waits for others holds nothing, and its wait is told.
        """
        plan = shared(("session: {cost_usd: 0.01, calls: 6}", "session: {calls: 1}"), ("deadline: 50ms", "deadline: 5s"))
        first = Bench(plan, [SURE])
        first.little.gate = anyio.Event()
        second = Bench(plan, [], vault=first.vault)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.walk)
            await first.little.called.wait()
            begun = anyio.Event()
            begun.set()
            await stopped(second, begun, native=native)
            first.little.gate.set()
        (record,) = second.records

        assert CHEAP == await first.settled()
        assert 0 == second.little.asked
        assert record.budget_wait_us > 0
        assert record.latency_us == record.budget_wait_us + record.engine_us


async def test_a_retry_that_is_granted_too_late() -> None:
    """
    A further call whose reservation took until the hop's time was up is not made, and not charged.
    """
    vault = SlowVault()
    bench = Bench(PLAN, [GONE], [PARIS], vault)
    bench.little.gate = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.walk)
        await bench.little.called.wait()
        vault.gate, vault.asked = anyio.Event(), anyio.Event()
        bench.little.gate.set()
        await vault.asked.wait()
        await anyio.sleep(0.06)
        vault.gate.set()

    assert plus(SMALL, DEAR) == await bench.settled()
    assert 1 == bench.little.asked
    assert ["small", "large"] == bench.records[0].path


class TestBroken:
    async def test_a_role_that_raises_fails_the_hop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A reply that cannot be read was made, and is charged.
        """
        for role in roles.READERS:
            monkeypatch.setitem(cast("dict[str, object]", roles.READERS), role, lambda *_: 1 / 0)
        bench = Bench(PLAN, [SURE])
        done = await bench.walk()

        assert "malformed" == done.traversal.finish.cause
        assert CHEAP == await bench.settled()

    async def test_features_that_raise_fail_the_hop(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        A classifier that raises is recorded like any failure, and its words stay out.
        """
        plan = shared(
            ("start: small", "start: look"),
            ("nodes:", "nodes:\n  look: {role: classifier, use: features, next: small}"),
        )
        bench = Bench(plan, [])

        def broken(messages: object) -> dict[str, str | float | bool]:
            raise ValueError(messages)

        bench.engine.with_deps(bench.engine.deps._replace(features=broken))
        done = await bench.walk()

        assert ("malformed", "node 'look' raised ValueError") == (done.traversal.finish.cause, done.reason)
        assert NOTHING == await bench.settled()
        assert "Hello there" not in caplog.text

    async def test_an_observer_that_raises_leaks_nothing(self) -> None:
        """
        Where the engine itself is broken off, what was spent until then is settled.
        """

        def broken(entry: Entry, _wishes: tuple[Wish, ...], _walk: Walk) -> None:
            if isinstance(entry, Replied):
                raise ZeroDivisionError

        bench = Bench(PLAN, [SURE], vault=SlowVault())
        with pytest.raises(ZeroDivisionError):
            await bench.walk(observe=broken)
        statement = await bench.statement()

        assert (CHEAP, NOTHING) == (statement.spent, statement.reserved)


class TestAway:
    async def test_nothing_is_granted(self) -> None:
        """
        A vault that does not answer refuses within the hop's time, in a way that may be tried again.
        """
        vault = SlowVault()
        vault.mode = "away"
        bench = Bench(PLAN, [], vault=vault)
        error = (await bench.walk()).error()

        assert isinstance(error, BudgetContended)
        assert "session" == error.scope
        assert "draws on session 's', whose vault is away (the fake vault is away); try again" in str(error)
        assert 0 == bench.little.asked

    async def test_it_may_come_back_in_time(self) -> None:
        """
        A vault that answers again within the hop's time grants the call, once.
        """
        vault = SlowVault()
        vault.mode = "lost"
        bench = Bench(PATIENT, [SURE], vault=vault)

        async def mend() -> None:
            await vault.asked.wait()
            vault.mode = "well"

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(mend)
            await bench.walk()

        assert CHEAP == await bench.settled()

    async def test_a_lost_answer_is_given_back(self) -> None:
        """
        A hold that nobody heard of is not left to its lease once the vault answers again.
        """
        vault = SlowVault()
        vault.mode = "lost"
        bench = Bench(shared(("class: [overloaded, timeout]", "class: [budget]")), [], [PARIS], vault=vault)

        def mend(_entry: Entry, _wishes: tuple[Wish, ...], walk: Walk) -> None:
            if walk.path[-1] == "large":
                vault.mode = "well"

        done = await bench.walk(observe=mend)

        assert ("small", "large") == done.path
        assert DEAR == await bench.settled()

    async def test_an_answer_is_served_though_it_cannot_be_settled(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        A vault that goes away under a walk costs neither the answer nor the record; the lease then charges the worst.
        """
        clock = Clock()
        vault = SlowVault(clock)
        bench = Bench(PLAN, [SURE], vault=vault)

        def leave(entry: Entry, _wishes: tuple[Wish, ...], _walk: Walk) -> None:
            if isinstance(entry, Replied):
                vault.mode = "away"

        done = await bench.walk(observe=leave)
        vault.mode = "well"
        clock.now += 60_000_000
        statement = await bench.statement()

        assert ("Paris", 1) == (done.answer, len(bench.records))
        assert (SMALL, SMALL, NOTHING) == (statement.spent, statement.assumed, statement.reserved)
        assert "is not settled" in caplog.text


class TestCalls:
    """
    How often a walk asks its vault.
    """

    @pytest.mark.parametrize(
        ("little", "great", "calls"),
        [([SURE], [], 2), ([UNSURE], [PARIS], 3), ([BUSY, SURE], [], 3), ([BUSY, BUSY], [PARIS], 4)],
    )
    async def test_once_for_each_call_and_once_more(self, little: Script, great: Script, calls: int) -> None:
        """
        Settling one call and holding the next is one round trip.
        """
        vault = SlowVault()
        await Bench(PLAN, little, great, vault).walk()

        assert ["exchange"] * calls == vault.calls

    async def test_a_refusal_at_first_asks_once(self) -> None:
        """
        A walk that was granted nothing has nothing to settle.
        """
        vault = SlowVault()
        await vault.set_caps("default", "session", "s", Caps(calls=0))
        bench = Bench(PLAN, [], [], vault)
        error = (await bench.walk()).error()

        assert isinstance(error, BudgetExceeded)
        assert "session" == error.scope
        assert ["exchange"] == vault.calls

    async def test_what_the_request_limits_is_not_asked(self) -> None:
        """
        A call past the walk's own limits is refused here.
        """
        vault = SlowVault()
        await Bench(PLAN, [], [], vault).walk(asking(limits=Limits(calls=0)))

        assert [] == vault.calls

    async def test_a_request_in_no_scope_asks_nothing(self) -> None:
        """
        Scopes that a request does not name cap nothing.
        """
        vault = SlowVault()
        done = await Bench(PLAN, [SURE], [], vault).walk(asking(session="", workflow=""))

        assert ("Paris", []) == (done.answer, vault.calls)
