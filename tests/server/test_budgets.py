"""
BudgetService: accounts that an operator sees and caps, through a real server and a real client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from meshwalk.budgets import AccountReport, SpendLine, SpendPath
from meshwalk.budgets.vaults import MemoryVault, Vault
from meshwalk.mesh import Mesh
from meshwalk.model import Amount, Caps, ScopeKind
from meshwalk.model.problems import (
    BudgetExceeded,
    DeadlineExceeded,
    HopFailed,
    Overloaded,
    RequestError,
    SetupError,
    Unreachable,
    VaultUnavailable,
)
from meshwalk.plan import Plan
from meshwalk.server import OperatorKey, serve
from meshwalk.testing import ScriptedBackend
from meshwalk.wire.client import AccountPage, Client, Unauthenticated
from tests.support.backends import Gate, raising, saying
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

KEY = "correct-horse"

SHARED = """
meshwalk: 1
name: {name}
start: intake
budgets:
  session: {{cost_usd: {cost_usd}, calls: 3}}
  workflow: {{calls: 100, window: 1h}}
backends:
  one: {{kind: simulated, context_tokens: 1000, usd_per_mtok: {{input: 1, output: 2}}}}
nodes:
  intake: {{role: classifier, use: features, next: only}}
  only: {{role: primary, backend: one, max_tokens: 10, next: done}}
"""


def shared(name: str = "shared", cost_usd: float = 1) -> Plan:
    return plan_of(SHARED.format(name=name, cost_usd=cost_usd))


@asynccontextmanager
async def books(
    *plans: Plan, vault: Vault | None = None, operator: OperatorKey | None = None, backend: ScriptedBackend | None = None
) -> AsyncIterator[Client]:
    """
    Serve graphs that share a vault, and call them; each answer costs 20 micro-dollars.
    """
    together = vault or MemoryVault()
    async with AsyncExitStack() as stack:
        meshes = [
            await stack.enter_async_context(
                Mesh(plan, backends={"one": backend or saying("yes")}, vault=together, tenant="acme")
            )
            for plan in plans or (shared(),)
        ]
        server = await stack.enter_async_context(serve(meshes, operator_key=operator or OperatorKey(KEY)))
        yield await stack.enter_async_context(Client(f"127.0.0.1:{server.port}"))


def names(page: AccountPage) -> list[tuple[ScopeKind, str]]:
    return [(card.statement.kind, card.statement.name) for card in page.accounts]


class TestListing:
    async def test_who_spent_what_and_where(self) -> None:
        """
        An account tells what was spent, under which caps, and on which node and path.
        """
        async with books() as client:
            done = await client.route("hi", session="s-1", workflow="w-1")
            page = await client.budgets(scope="session")
        (card,) = page.accounts
        account = card.statement

        assert ("acme", "session", "s-1") == (page.tenant, account.kind, account.name)
        assert (done.cost_nano_usd, 1) == (account.spent.cost_nano_usd, account.spent.calls)
        assert (Caps(), Caps(1_000_000_000, calls=3)) == (account.caps, card.graph_caps)
        assert (Amount(), 0, Amount(), Amount()) == (account.reserved, account.reservations, account.overrun, account.assumed)
        assert (None, None) == (account.window_us, account.window_ends_unix_us)
        assert (SpendLine(SpendPath("shared", "intake > only"), account.spent),) == account.lines

    async def test_window(self) -> None:
        """
        An account of a window tells how long it is and when it ends.
        """
        async with books() as client:
            await client.route("hi", workflow="w-1")
            (card,) = (await client.budgets()).accounts
        account = card.statement

        assert 3_600_000_000 == account.window_us
        assert account.window_ends_unix_us is not None
        assert 0 == account.window_ends_unix_us % 3_600_000_000

    async def test_filters(self) -> None:
        """
        Accounts are chosen by kind, by name and by the graph that spent, whose lines alone are then shown.
        """
        async with books(shared("left"), shared("right")) as client:
            await client.route("hi", graph="left", session="s-1", workflow="w-1")
            await client.route("hi", graph="right", session="s-1")
            await client.route("hi", graph="right", session="s-2")
            everything = names(await client.budgets())
            by_kind = names(await client.budgets(scope="workflow"))
            by_name = names(await client.budgets(name="s-2"))
            by_graph = await client.budgets(graph="left")

        assert [("session", "s-1"), ("session", "s-2"), ("workflow", "w-1")] == everything
        assert [("workflow", "w-1")] == by_kind
        assert [("session", "s-2")] == by_name
        assert [("session", "s-1"), ("workflow", "w-1")] == names(by_graph)
        assert {"left"} == {line.spend_path.graph for card in by_graph.accounts for line in card.statement.lines}

    async def test_tightest_graph_counts(self) -> None:
        """
        Of several graphs that count in one window, the tightest cap is shown.
        """
        async with books(shared("left", 2), shared("right", 0.5)) as client:
            await client.route("hi", graph="left", session="s-1")
            (card,) = (await client.budgets()).accounts

        assert 500_000_000 == card.graph_caps.cost_nano_usd

    async def test_pages_are_the_list(self) -> None:
        """
        Page by page every account comes once, in order, and one added in between is neither repeated nor in the way.
        """
        async with books() as client:
            for number in range(5):
                await client.route("hi", session=f"s-{number}")
            seen, page = [], await client.budgets(size=2)
            await client.route("hi", session="s-0a")
            seen += names(page)
            while page.next:
                page = await client.budgets(size=2, page=page.next)
                seen += names(page)

        assert [("session", f"s-{number}") for number in range(5)] == seen

    async def test_meshes_with_vaults_of_their_own(self) -> None:
        """
        Meshes that share no vault have accounts of one name each, and a page never leaves one out.
        """
        async with (
            Mesh(shared("left"), backends={"one": saying("yes")}) as left,
            Mesh(shared("right"), backends={"one": saying("yes")}) as right,
            serve([left, right]) as server,
            Client(f"127.0.0.1:{server.port}") as client,
        ):
            for graph in ("left", "right"):
                await client.route("hi", graph=graph, session="s-1")
            first = await client.budgets(size=1)
            second = await client.budgets(size=1, page=first.next)

        assert [["left"], ["right"]] == [
            [line.spend_path.graph for line in page.accounts[0].statement.lines] for page in (first, second)
        ]
        assert "" == second.next

    @pytest.mark.parametrize(
        ("size", "page", "field"),
        [
            (-1, "", "size"),
            (1_001, "", "page_size"),
            (0, "never", "page_token"),
            (0, "WzFd", "page_token"),
            (0, "é", "page_token"),
        ],
    )
    async def test_no_page(self, size: int, page: str, field: str) -> None:
        """
        A size or a token that is none is the caller's fault, with the field.
        """
        async with books() as client:
            with pytest.raises(RequestError, match=f"^{field}: "):
                await client.budgets(size=size, page=page)

    async def test_two_tenants(self) -> None:
        """
        A server shows the books of one tenant, so graphs that spend for two are not served together.
        """
        async with Mesh(shared("left"), tenant="acme") as left, Mesh(shared("right"), tenant="bolt") as right:
            with pytest.raises(SetupError, match="for one tenant, and these do for acme, bolt"):
                async with serve([left, right]):
                    pass


class TestSetting:
    async def test_holds_from_the_next_call_on(self) -> None:
        """
        A cap that an operator sets stands in the graph's place; cleared, the graph's stands again.
        """
        async with books() as client:
            await client.route("hi", session="s-1")
            await client.set_budget("session", "s-1", Caps(calls=1), key=KEY)
            with pytest.raises(BudgetExceeded) as caught:
                await client.route("hi", session="s-1")
            (card,) = (await client.budgets(scope="session")).accounts
            await client.set_budget("session", "s-1", Caps(), key=KEY)
            again = await client.route("hi", session="s-1")

        assert "session" == caught.value.scope
        assert Caps(calls=1) == card.statement.caps
        assert "yes" == again.answer

    async def test_more_than_the_graph_allows(self) -> None:
        """
        An operator may also let a session go on that has come to its end.
        """
        async with books() as client:
            for _ in range(3):
                await client.route("hi", session="s-1")
            with pytest.raises(BudgetExceeded, match="makes 1 model call and 0 of 3 are left of session 's-1'"):
                await client.route("hi", session="s-1")
            await client.set_budget("session", "s-1", Caps(calls=4), key=KEY)

            assert "yes" == (await client.route("hi", session="s-1")).answer

    @pytest.mark.parametrize("key", ["", "wrong", KEY + "x", KEY[:-1], KEY.upper()])
    async def test_wrong_key(self, key: str) -> None:
        """
        Who has not the operator's key sets nothing, and is told neither key.
        """
        async with books() as client:
            with pytest.raises(Unauthenticated, match="takes the operator's key") as caught:
                await client.set_budget("session", "s-1", Caps(calls=0), key=key)

            assert "yes" == (await client.route("hi", session="s-1")).answer
        assert KEY not in str(caught.value)

    async def test_server_without_a_key(self) -> None:
        """
        Where no key was given nobody sets anything, not even with an empty one, and is told how to switch it on.
        """
        async with books(operator=OperatorKey()) as client:
            with pytest.raises(SetupError, match="--operator-key-env NAME"):
                await client.set_budget("session", "s-1", Caps(calls=0), key="")

    @pytest.mark.parametrize(
        ("scope", "name", "caps", "said"),
        [
            ("session", "", Caps(calls=1), "name: names the session, and is empty"),
            ("session", "s" * 257, Caps(calls=1), "name: is 257 characters long, and no request can name more than 256"),
            ("session", "s-1", Caps(calls=-1), r"caps\.calls: is -1, and the least is 0"),
            ("session", "s-1", Caps(calls=10**16), r"caps\.calls: is 10000000000000000, and the most is 1000000000000000"),
            (
                "session",
                "s-1",
                Caps(cost_nano_usd=10**17),
                r"caps\.cost_nano_usd: is 100000000000000000, and the most is 9000000000000000",
            ),
            ("tenant", "", Caps(calls=1), "scope: no graph that is served here declares budgets.tenant"),
        ],
    )
    async def test_what_cannot_be_set(self, scope: ScopeKind, name: str, caps: Caps, said: str) -> None:
        """
        A cap that would not hold, or holds nothing, is refused with the field.
        """
        async with books() as client:
            with pytest.raises(RequestError, match=said):
                await client.set_budget(scope, name, caps, key=KEY)


class _Away(MemoryVault):
    async def reports(self, tenant: str, kind: ScopeKind | None = None, name: str | None = None) -> list[AccountReport]:
        del tenant, kind, name
        raise VaultUnavailable("the books do not answer")


class TestAway:
    async def test_vault_that_does_not_answer(self) -> None:
        """
        The operator is told so in the vault's own words.
        """
        async with books(vault=_Away()) as client:
            with pytest.raises(VaultUnavailable, match="the books do not answer"):
                await client.budgets()


class TestRetries:
    async def test_the_second_caller_gets_the_first_walk(self) -> None:
        """
        A request with a key that was used is neither walked nor charged again, however much time it has, and is told so.
        """
        backend = saying("yes")
        async with books(backend=backend) as client:
            first, second = [
                await client.route("hi", session="s-1", idempotency_key="k-1", detail="FULL", timeout=timeout)
                for timeout in (30, 20)
            ]
            (card,) = (await client.budgets()).accounts

        assert (False, True) == (first.repeated, second.repeated)
        assert (first.traversal_id, first.answer, first.path) == (second.traversal_id, second.answer, second.path)
        assert (1, 1) == (len(backend.requests), card.statement.spent.calls)
        assert second.record is not None
        assert second.record.facts is not None
        assert ("acme", "s-1") == (second.record.facts.scopes.tenant, second.record.facts.scopes.session)

    async def test_one_that_was_out_of_time_is_found_by_its_retry(self) -> None:
        """
        A call with a key that runs out of time leaves its walk running: the retry is answered by the same call to the model.
        """
        gate = Gate()
        async with books(backend=gate) as client:
            with pytest.raises(DeadlineExceeded, match=r"did not answer in time; allow more with `timeout`$"):
                await client.route("hi", session="s-1", idempotency_key="k-1", timeout=0.5)
            gate.open.set()
            second = await client.route("hi", session="s-1", idempotency_key="k-1", timeout=20)

        assert ("at last", 1) == (second.answer, len(gate.requests))

    async def test_failure_says_that_it_is_an_earlier_one(self) -> None:
        """
        A walk that failed and may be billed is told again as it was, and the second caller hears of what.
        """
        async with books(backend=raising(Unreachable("gone", backend="one", billable=True))) as client:
            with pytest.raises(HopFailed) as first:
                await client.route("hi", session="s-1", idempotency_key="k-1")
            with pytest.raises(HopFailed, match="an earlier request with this idempotency key") as second:
                await client.route("hi", session="s-1", idempotency_key="k-1")

        assert first.value.traversal_id == second.value.traversal_id

    async def test_streams_repeat_too(self) -> None:
        """
        A stream with a used key has the answer and the reply, and no hops.
        """
        async with books() as client:
            first = await client.route("hi", idempotency_key="k-1")
            events = [event async for event in client.stream("hi", idempotency_key="k-1")]

        assert ["AnswerDelta", "RouteResult"] == [type(event).__name__ for event in events]
        assert first.traversal_id == getattr(events[-1], "traversal_id", "")

    async def test_key_of_another_request(self) -> None:
        """
        A key names one request, and the field says so of another.
        """
        async with books() as client:
            await client.route("hi", idempotency_key="k-1")
            with pytest.raises(RequestError, match=r"^idempotency_key: was used for another request"):
                await client.route("ho", idempotency_key="k-1")

    async def test_walk_of_an_earlier_plan(self) -> None:
        """
        A retry that comes after the graph has changed is told which plan walked, without its hops, which that plan names.
        """
        vault = MemoryVault()
        async with books(shared(), vault=vault) as client:
            first = await client.route("hi", idempotency_key="k-1", detail="HOPS")
        async with books(shared(cost_usd=2), vault=vault) as client:
            second = await client.route("hi", idempotency_key="k-1", detail="HOPS")

        assert (True, first.plan.plan_digest) == (second.repeated, second.plan.plan_digest)
        assert (2, ()) == (len(first.hops), second.hops)


class TestOperatorKey:
    @pytest.mark.parametrize("value", ["", "two words", "schlüssel", "a\nb"])
    def test_variable_without_a_key(self, value: str) -> None:
        """
        A variable that holds no key a header can carry is refused by its name; what it holds is not shown.
        """
        with pytest.raises(SetupError, match="'OPERATOR_KEY'") as caught:
            OperatorKey.from_environment("OPERATOR_KEY", {"OPERATOR_KEY": value} if value else {})

        assert not value or value not in str(caught.value)

    def test_key_is_not_shown(self) -> None:
        """
        Who prints an operator sees no key.
        """
        assert KEY not in repr(OperatorKey(KEY))


async def test_walk_that_failed_holds_nothing() -> None:
    """
    A walk that fails under shared budgets fails as any other, and nothing stays reserved.
    """
    async with books(backend=raising(Overloaded("busy", backend="one"))) as client:
        with pytest.raises(HopFailed, match=r"^node 'only': busy$"):
            await client.route("hi", session="s-1")
        page = await client.budgets(scope="session")

    assert [0] == [card.statement.reservations for card in page.accounts]
