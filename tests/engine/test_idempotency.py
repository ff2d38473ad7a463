"""
Requests with an idempotency key: walked once, charged once, and answered as often as they are asked.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import anyio
import pytest

from meshwalk.budgets.vaults import Claim, MemoryVault
from meshwalk.engine.idempotency import CLAIM_GRACE_US
from meshwalk.mesh import RETRY_WINDOW, Mesh
from meshwalk.model import Amount, Limits
from meshwalk.model.problems import Malformed, RequestError, RequestInProgress, Unreachable, VaultUnavailable
from meshwalk.plan import Plan
from meshwalk.records.results import RouteResult
from meshwalk.trace import Entry, Outcome, Replied, Request, Scopes, Traversal, Wish
from meshwalk.walk import Walk
from tests.engine.shared_budgets import PARIS, PLAN, SURE, UNSURE, Clock, Script, Scripted, SlowVault, asking, shared


pytestmark = pytest.mark.anyio

KEYED = asking(key="k-1")
# The node has no deadline of its own that would end a call which is held up.
PATIENT = shared(("deadline: 50ms", "deadline: 5s"))
# A fault leads to a refusal.
FAULT_TO_REFUSAL = shared(("class: [overloaded, timeout], to: large", "to: sorry"), ("retries: 1", "retries: 0"))


def changed(**changes: Any) -> Request:
    """
    Ask with the same key, and otherwise.
    """
    request = copy(KEYED)
    for name, value in changes.items():
        setattr(request, name, value)

    return request


class Listing:
    def __init__(self) -> None:
        self.traversals: list[Traversal] = []

    def record(self, traversal: Traversal, plan: Plan) -> None:
        assert plan.plan_digest == traversal.plan_digest
        self.traversals.append(traversal)


class Desk:
    """
    Open a mesh with scripted backends over a vault with a clock.
    """

    def __init__(self, little: Script, great: Script = (), *, vault: MemoryVault | None = None, plan: Plan = PATIENT) -> None:
        self.clock = Clock()
        self.vault = vault or MemoryVault(self.clock)
        self.little, self.great, self.listing = Scripted(*little), Scripted(*great), Listing()
        backends = {"little": self.little, "great": self.great}
        self.mesh = Mesh(plan, backends=backends, vault=self.vault, sinks=[self.listing])

    async def spent(self) -> Amount:
        """
        Return what the session spent; nothing of it is held.
        """
        statement = (await self.vault.reports("default", "session"))[0]
        assert Amount() == statement.reserved

        return statement.spent


class TestSameKey:
    async def test_in_turn(self) -> None:
        """
        The second request gets the first's traversal, says so, and costs nothing.
        """
        desk = Desk([SURE])
        async with desk.mesh as mesh:
            first, second = await mesh.walk(KEYED), await mesh.walk(KEYED)

        assert (first.traversal_id, "Paris", True) == (second.traversal_id, second.answer, second.repeated)
        assert first.traversal.steps == second.traversal.steps
        assert not first.repeated
        assert (1, 1, 20_000) == (desk.little.asked, len(desk.listing.traversals), (await desk.spent()).cost_nano_usd)

    @pytest.mark.parametrize("vault", [MemoryVault, SlowVault])
    async def test_at_once(self, vault: type[MemoryVault]) -> None:
        """
        Who comes while the first is under way waits for it, all of them until it is done and no longer.
        """
        desk = Desk([SURE], vault=vault())
        # Who is not called would look again by itself too late.
        desk.vault.poll_seconds = (60.0, 60.0)
        desk.little.gate = anyio.Event()
        walked: list[RouteResult] = []

        async def ask() -> None:
            walked.append(await desk.mesh.walk(KEYED))

        # Half of what they may take, after which they would look for the last time.
        with anyio.fail_after(5):
            async with desk.mesh, anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(ask)
                await desk.little.called.wait()
                desk.little.gate.set()

        assert 1 == len({one.traversal_id for one in walked})
        assert [False, True, True, True, True] == sorted(one.repeated for one in walked)
        assert 1 == desk.little.asked

    async def test_at_another_server(self) -> None:
        """
        A retry that arrives at another mesh of the same vault is given the first's walk.
        """
        one = Desk([SURE])
        other = Desk([], vault=one.vault)
        async with one.mesh, other.mesh:
            first, second = await one.mesh.walk(KEYED), await other.mesh.walk(KEYED)

        assert (first.traversal_id, True, 0) == (second.traversal_id, second.repeated, other.little.asked)

    async def test_with_less_time(self) -> None:
        """
        A retry that has less time left, or another trace, is the same request.
        """
        desk = Desk([SURE])
        async with desk.mesh as mesh:
            await mesh.walk(changed(limits=Limits(deadline_us=9_000_000)))
            header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            second = await mesh.walk(changed(limits=Limits(deadline_us=8_000_000), traceparent=header))

        assert second.repeated

    @pytest.mark.parametrize(
        "other",
        [
            changed(attributes={"task": "stop"}),
            changed(limits=Limits(calls=3)),
            changed(scopes=Scopes("another", "w")),
        ],
    )
    async def test_for_another_request(self, other: Request) -> None:
        """
        A key that was used for another request is refused, and that request is not walked.
        """
        desk = Desk([SURE])
        async with desk.mesh as mesh:
            await mesh.walk(KEYED)
            with pytest.raises(RequestError, match="idempotency_key: was used for another request") as caught:
                await mesh.walk(other)

        assert ["idempotency_key"] == [violation.field for violation in caught.value.violations]
        assert 1 == desk.little.asked

    async def test_of_another_tenant(self) -> None:
        """
        A key is its tenant's: the same one of another is another.
        """
        desk = Desk([SURE, SURE])
        async with desk.mesh as mesh:
            first = await mesh.walk(KEYED)
            second = await mesh.walk(changed(scopes=KEYED.scopes._replace(tenant="acme")))

        assert (False, 2) == (second.repeated, desk.little.asked)
        assert first.traversal_id != second.traversal_id

    async def test_another_key(self) -> None:
        """
        The same request under another key is walked again.
        """
        desk = Desk([SURE, SURE])
        async with desk.mesh as mesh:
            await mesh.walk(KEYED)
            second = await mesh.walk(asking(key="k-2"))

        assert (False, 2) == (second.repeated, desk.little.asked)


class TestAfterAFailure:
    async def test_at_no_cost_the_key_is_free(self) -> None:
        """
        Trying again may help where nothing was spent.
        """
        gone = Unreachable("gone", backend="little")
        desk = Desk([gone, gone, SURE])
        async with desk.mesh as mesh:
            first, second = await mesh.walk(KEYED), await mesh.walk(KEYED)

        assert (Outcome.FAILED, Outcome.ANSWERED) == (first.outcome, second.outcome)
        assert (False, 3) == (second.repeated, desk.little.asked)

    @pytest.mark.parametrize("vault", [MemoryVault, SlowVault])
    async def test_a_free_refusal_by_a_fault_frees_the_key(self, vault: type[MemoryVault]) -> None:
        """
        A refusal to which a fault led is walked again once that is over; the answer that comes then is kept.
        """
        desk = Desk([Unreachable("no", backend="little"), SURE], plan=FAULT_TO_REFUSAL, vault=vault())
        async with desk.mesh as mesh:
            first, second, third = await mesh.walk(KEYED), await mesh.walk(KEYED), await mesh.walk(KEYED)

        assert [Outcome.REFUSED, Outcome.ANSWERED, Outcome.ANSWERED] == [one.outcome for one in (first, second, third)]
        assert [False, False, True] == [one.repeated for one in (first, second, third)]
        assert 2 == desk.little.asked

    async def test_a_refusal_by_a_fault_that_was_paid_is_kept(self) -> None:
        """
        Once a call may have been charged, a retry repeats the refusal and pays nothing more.
        """
        desk = Desk([Unreachable("broken", backend="little", billable=True), SURE], plan=FAULT_TO_REFUSAL)
        async with desk.mesh as mesh:
            first, second = await mesh.walk(KEYED), await mesh.walk(KEYED)

        assert (Outcome.REFUSED, True) == (second.outcome, second.repeated)
        assert (1, first.traversal_id) == (desk.little.asked, second.traversal_id)

    async def test_what_was_paid_is_not_paid_twice(self) -> None:
        """
        A walk that failed at a cost fails for its retries too, under its own name.
        """
        desk = Desk([Malformed("no choices", backend="little", billable=True)])
        async with desk.mesh as mesh:
            first, second = (await mesh.walk(KEYED)).error(), (await mesh.walk(KEYED)).error()

        assert first is not None
        assert second is not None
        assert (type(first), first.traversal_id) == (type(second), second.traversal_id)
        assert "node 'small': no choices" == str(first)
        # The vault does not keep what a provider said.
        words = "node 'small': it raised Malformed: a text of 10 characters"
        assert f"{words}; that is what an earlier request with this idempotency key came to" == str(second)
        assert (1, 227_000) == (desk.little.asked, (await desk.spent()).cost_nano_usd)

    async def test_who_waited_walks(self) -> None:
        """
        Where the first failed at no cost, one who waited for it takes the key.
        """
        gone = Unreachable("gone", backend="little")
        desk = Desk([gone, gone, SURE])
        desk.little.gate = anyio.Event()
        walked: list[RouteResult] = []

        async def ask() -> None:
            walked.append(await desk.mesh.walk(KEYED))

        async with desk.mesh, anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
            await desk.little.called.wait()
            desk.little.gate.set()

        assert [Outcome.ANSWERED, Outcome.ANSWERED, Outcome.FAILED] == sorted(
            (one.outcome for one in walked), key=lambda outcome: outcome.value
        )
        assert (3, 2) == (desk.little.asked, len(desk.listing.traversals))


class TestGoingAway:
    async def test_the_walk_goes_on(self) -> None:
        """
        A caller that goes away with a key comes back for the answer.
        """
        desk = Desk([SURE])
        desk.little.gate = anyio.Event()
        async with desk.mesh as mesh:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(mesh.walk, KEYED)
                await desk.little.called.wait()
                tasks.cancel_scope.cancel()
            desk.little.gate.set()
            second = await mesh.walk(KEYED)

        assert ("Paris", True, 1) == (second.answer, second.repeated, desk.little.asked)
        assert [Outcome.ANSWERED] == [traversal.outcome for traversal in desk.listing.traversals]

    async def test_a_mesh_that_closes_waits_for_it(self) -> None:
        """
        A walk whose caller has gone ends before its mesh does, and is recorded.
        """
        desk = Desk([SURE])
        desk.little.gate = anyio.Event()

        async def open_later() -> None:
            await anyio.wait_all_tasks_blocked()
            assert desk.little.gate is not None
            desk.little.gate.set()

        async with anyio.create_task_group() as outer, desk.mesh as mesh, anyio.create_task_group() as tasks:
            tasks.start_soon(mesh.walk, KEYED)
            await desk.little.called.wait()
            outer.start_soon(open_later)
            tasks.cancel_scope.cancel()

        assert [Outcome.ANSWERED] == [traversal.outcome for traversal in desk.listing.traversals]
        assert 20_000 == (await desk.spent()).cost_nano_usd

    async def test_before_the_walk_has_begun(self) -> None:
        """
        A caller that goes as soon as it has the key leaves a walk behind that a closing mesh waits for all the same.
        """

        class Leaving(MemoryVault):
            async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
                tasks.cancel_scope.cancel()

                return await super().claim(tenant, key, owner, fingerprint, lease_us)

        desk = Desk([SURE], vault=Leaving())
        async with desk.mesh as mesh, anyio.create_task_group() as tasks:
            tasks.start_soon(mesh.walk, KEYED)

        assert [Outcome.ANSWERED] == [traversal.outcome for traversal in desk.listing.traversals]

    async def test_one_who_waits_may_go(self) -> None:
        """
        A caller that goes while it waits for another's walk changes nothing for that.
        """
        desk = Desk([SURE])
        desk.little.gate = anyio.Event()
        async with desk.mesh as mesh, anyio.create_task_group() as tasks:
            tasks.start_soon(mesh.walk, KEYED)
            await desk.little.called.wait()
            with anyio.move_on_after(0.01):
                await mesh.walk(KEYED)
            desk.little.gate.set()

        assert (1, 1) == (desk.little.asked, len(desk.listing.traversals))


class TestTime:
    async def test_a_crash_frees_the_key_when_its_claim_runs_out(self) -> None:
        """
        A key whose walk died with its process is claimed again after that walk's own time.
        """
        desk = Desk([SURE])
        first = Desk([SURE], vault=desk.vault)
        first.little.gate = anyio.Event()
        async with desk.mesh as mesh, first.mesh, anyio.create_task_group() as tasks:
            tasks.start_soon(first.mesh.walk, KEYED)
            await first.little.called.wait()
            # Nobody has heard of the first for longer than it may take.
            desk.clock.now += 10_000_000 + CLAIM_GRACE_US
            second = await mesh.walk(KEYED)
            first.little.gate.set()
            await anyio.wait_all_tasks_blocked()
            third = await mesh.walk(KEYED)

        assert (False, 1) == (second.repeated, desk.little.asked)
        assert (True, second.traversal_id) == (third.repeated, third.traversal_id)

    async def test_the_window_ends(self) -> None:
        """
        After the window a key says nothing any more.
        """
        desk = Desk([SURE, SURE])
        async with desk.mesh as mesh:
            await mesh.walk(KEYED)
            desk.clock.now += int(RETRY_WINDOW * 1e6) - 1
            within = await mesh.walk(KEYED)
            desk.clock.now += 1
            after = await mesh.walk(KEYED)

        assert (True, False) == (within.repeated, after.repeated)
        assert 2 == desk.little.asked

    async def test_who_cannot_wait_longer_is_told(self) -> None:
        """
        Within its own deadline a retry waits for the first, and is then told that it is still under way.
        """
        desk = Desk([SURE])
        desk.little.gate = anyio.Event()
        async with desk.mesh as mesh, anyio.create_task_group() as tasks:
            tasks.start_soon(mesh.walk, KEYED)
            await desk.little.called.wait()
            began = anyio.current_time()
            with pytest.raises(RequestInProgress, match="still under way; ask again with the same key"):
                await mesh.walk(changed(limits=Limits(deadline_us=20_000)))
            took = anyio.current_time() - began
            desk.little.gate.set()

        assert took >= 0.02


class TestVault:
    async def test_away(self) -> None:
        """
        Where nobody knows whether a key was used, nothing is walked.
        """
        vault = SlowVault()
        vault.mode = "away"
        desk = Desk([SURE], vault=vault)
        async with desk.mesh as mesh:
            with pytest.raises(VaultUnavailable, match="is away"):
                await mesh.walk(KEYED)

        assert 0 == desk.little.asked

    async def test_away_at_the_end(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        An answer that cannot be kept for retries is given all the same.
        """
        vault = SlowVault()
        desk = Desk([SURE], vault=vault)

        def leave(entry: Entry, _wishes: tuple[Wish, ...], _walk: Walk) -> None:
            vault.mode = "away" if isinstance(entry, Replied) else "well"

        async with desk.mesh as mesh:
            first = await mesh.walk(KEYED, leave)

        assert "Paris" == first.answer
        assert "may be walked again" in caplog.text

    async def test_an_outage_is_one_line_of_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        However many answers cannot be kept, the log has one line for them.
        """
        vault = SlowVault()
        desk = Desk([SURE] * 20, vault=vault)

        def leave(entry: Entry, _wishes: tuple[Wish, ...], _walk: Walk) -> None:
            vault.mode = "away" if isinstance(entry, Replied) else "well"

        async with desk.mesh as mesh:
            for number in range(20):
                vault.mode = "well"
                await mesh.walk(changed(idempotency_key=f"k-{number}", scopes=Scopes(session=f"s-{number}")), leave)

        assert 1 == caplog.text.count("may be walked again")

    async def test_holds_no_prompts(self) -> None:
        """
        What is kept for retries has the answer, and of the question nothing, even where the graph records it.
        """
        kept: list[bytes | None] = []

        class Looking(MemoryVault):
            async def finish(self, tenant: str, key: str, owner: str, result: bytes | None, keep_us: int) -> None:
                kept.append(result)
                await super().finish(tenant, key, owner, result, keep_us)

        desk = Desk([SURE], vault=Looking(), plan=shared(("start: small", "start: small\nrecord: {content: true}")))
        async with desk.mesh as mesh:
            await mesh.walk(KEYED)
            second = await mesh.walk(KEYED)

        assert "Paris" == second.answer
        assert desk.listing.traversals[0].content is not None
        assert [True] == [b"Paris" in (one or b"") for one in kept]
        assert [False] == [b"Hello there" in (one or b"") for one in kept]


async def test_the_first_is_observed() -> None:
    """
    Who watches the first walk sees it; a repeated one has nothing to watch.
    """
    desk = Desk([UNSURE], [PARIS])
    seen: list[list[str]] = []

    def watch(_entry: Entry, _wishes: tuple[Wish, ...], walk: Walk) -> None:
        seen[-1].append(walk.path[-1])

    async with desk.mesh as mesh:
        for _ in range(2):
            seen.append([])
            await mesh.walk(KEYED, watch)

    assert [["small", "small", "large", "large", "large"], []] == seen


async def test_a_declared_refusal_is_kept() -> None:
    """
    A refusal that the graph decided is an answer.
    """
    desk = Desk([UNSURE], plan=PLAN)
    stopping = changed(attributes={"task": "stop"})
    async with desk.mesh as mesh:
        first, second = await mesh.walk(stopping), await mesh.walk(stopping)

    assert (Outcome.REFUSED, "enough", True) == (second.outcome, second.reason, second.repeated)
    assert first.traversal_id == second.traversal_id
