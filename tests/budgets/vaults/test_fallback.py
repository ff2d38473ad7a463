"""
A vault that may be away: what each policy grants meanwhile, and that the vault hears of all of it once it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from meshwalk.budgets import AccountReport, Answer, Balance, Reservation, Scope, Settlement, SpendPath
from meshwalk.budgets.vaults import Claim, MemoryVault, Vault
from meshwalk.budgets.vaults.fallback import FallbackVault
from meshwalk.model import Amount, AwayPolicy, Caps, ScopeKind
from meshwalk.model.problems import VaultUnavailable
from tests.budgets.vault_contract import VaultContract, balance_of, reservation_of, spent
from tests.budgets.vault_machine import HOUR, SECOND, Clock, VaultMachine


T = TypeVar("T")

# It does what it is asked and says so; does it and cannot say so; or does nothing.
Mood = Literal["well", "mute", "away"]


class Flaky(MemoryVault):
    """
    Be away, or lose answers, on demand.
    """

    waits = True
    name = "flaky"

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.mood: Mood = "well"
        self.asked = 0
        self.closed = False
        self.holds_up: anyio.Event | None = None

    async def _lossy(self, act: Callable[[], Awaitable[T]]) -> T:
        self.asked += 1
        if self.holds_up is not None:
            await self.holds_up.wait()
        if self.mood == "away":
            raise VaultUnavailable("nobody is there")
        answer = await act()
        if self.mood == "mute":
            raise VaultUnavailable("the line went dead")

        return answer

    async def balances(self, scopes: Sequence[Scope]) -> tuple[Balance, ...]:
        return await self._lossy(lambda: super(Flaky, self).balances(scopes))

    async def exchange(self, settlement: Settlement | None, reservation: Reservation | None) -> Answer:
        return await self._lossy(lambda: super(Flaky, self).exchange(settlement, reservation))

    async def charge(
        self, id_: str, scopes: Sequence[Scope], spent: Amount, spend_path: SpendPath, *, assumed: bool = False
    ) -> None:
        await self._lossy(lambda: super(Flaky, self).charge(id_, scopes, spent, spend_path, assumed=assumed))

    async def reports(self, tenant: str, kind: ScopeKind | None = None, name: str | None = None) -> list[AccountReport]:
        return await self._lossy(lambda: super(Flaky, self).reports(tenant, kind, name))

    async def set_caps(self, tenant: str, kind: ScopeKind, name: str, caps: Caps) -> None:
        await self._lossy(lambda: super(Flaky, self).set_caps(tenant, kind, name, caps))

    async def claim(self, tenant: str, key: str, owner: str, fingerprint: str, lease_us: int) -> Claim:
        return await self._lossy(lambda: super(Flaky, self).claim(tenant, key, owner, fingerprint, lease_us))

    async def aclose(self) -> None:
        self.closed = True


def scope_of(away: AwayPolicy = "closed", cap: int | None = 10, name: str = "s", window_us: int | None = None) -> Scope:
    return Scope("ada", "session", name, window_us, Caps(cost_nano_usd=cap), away)


def settlement(id_: str, cost: int, *, assumed: bool = False) -> Settlement:
    return Settlement("ada", id_, spent(cost), assumed)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def flaky(clock: Clock) -> Flaky:
    return Flaky(clock)


@pytest.fixture
def vault(flaky: Flaky, clock: Clock) -> FallbackVault:
    return FallbackVault(flaky, clock_us=clock)


class Machine(VaultMachine):
    async def open(self, clock: Clock) -> Sequence[Vault]:
        inner = MemoryVault(clock)

        return [FallbackVault(inner, clock_us=clock), FallbackVault(inner, clock_us=clock)]


def test_agrees_with_the_ledger_while_nobody_is_away() -> None:
    """
    A vault that answers is heard as it is.
    """
    run_state_machine_as_test(Machine, settings=settings(max_examples=10, stateful_step_count=40))


class TestContract(VaultContract):
    @pytest.fixture
    def doors(self, clock: Clock) -> Sequence[Vault]:
        inner = MemoryVault(clock)

        return [FallbackVault(inner, clock_us=clock), FallbackVault(inner, clock_us=clock)]


@pytest.mark.anyio
class TestClosed:
    async def test_grants_nothing(self, vault: FallbackVault, flaky: Flaky) -> None:
        """
        A closed scope refuses what may be tried again, and says which vault is missed.
        """
        flaky.mood = "away"
        answer = await vault.exchange(None, reservation_of("h", scope_of("open", name="o"), scope_of(), cost=1))

        assert answer.refusal is not None
        assert (1, "session", True) == answer.refusal[:3]
        assert (
            "draws on session 's', which is closed while the vault flaky does not answer; try again" == answer.refusal.message
        )
        assert ("open", "closed") == tuple(balance.away for balance in answer.balances)

    async def test_gives_back_what_may_have_been_taken(self, vault: FallbackVault, flaky: Flaky, clock: Clock) -> None:
        """
        A hold that the vault took though its answer was lost blocks nobody once the vault is back.
        """
        flaky.mood = "mute"
        answer = await vault.exchange(None, reservation_of("h", scope_of(), cost=10))
        flaky.mood = "well"
        clock.now += SECOND
        again = await vault.exchange(None, reservation_of("i", scope_of(), cost=10))

        assert answer.refusal is not None
        assert again.refusal is None

    async def test_settles_later(self, vault: FallbackVault, flaky: Flaky, clock: Clock) -> None:
        """
        What was held before is settled in truth when the vault is back before the lease is over.
        """
        await vault.exchange(None, reservation_of("h", scope_of(), cost=10, lease_us=60 * SECOND))
        flaky.mood = "away"
        assert Answer(None, ()) == await vault.exchange(settlement("h", 4), None)
        flaky.mood = "well"
        clock.now += SECOND
        await vault.flush()

        assert (spent(4), Amount()) == (await balance_of(flaky, scope_of()))[1:3]


@pytest.mark.anyio
class TestOpen:
    async def test_grants_everything(self, vault: FallbackVault, flaky: Flaky) -> None:
        """
        An open scope is not counted against its cap, and says that nobody looked.
        """
        flaky.mood = "away"
        answer = await vault.exchange(None, reservation_of("h", scope_of("open"), cost=99))

        assert Answer(None, (Balance(Caps(10), Amount(), spent(99), None, "open"),)) == answer

    async def test_charges_when_the_vault_is_back(self, vault: FallbackVault, flaky: Flaky, clock: Clock) -> None:
        """
        What was spent meanwhile reaches the books, at its place; what goes past the cap is an overrun.
        """
        flaky.mood = "away"
        await vault.exchange(None, reservation_of("h", scope_of("open"), cost=99))
        await vault.exchange(settlement("h", 12, assumed=True), None)
        flaky.mood = "well"
        clock.now += SECOND
        await vault.flush()
        (report,) = await vault.reports("ada")

        assert (spent(12), spent(2), spent(12)) == (report.spent, report.overrun, report.assumed)
        assert [SpendPath("g", "a → b")] == [line.spend_path for line in report.lines]


@pytest.mark.anyio
class TestLocal:
    async def test_goes_on_by_what_was_last_seen(self, vault: FallbackVault, flaky: Flaky) -> None:
        """
        What was left when the vault was last heard is what this server may spend.
        """
        await vault.exchange(None, reservation_of("h", scope_of("local"), cost=6))
        await vault.exchange(settlement("h", 6), None)
        await vault.balances([scope_of("local")])
        flaky.mood = "away"
        granted = await vault.exchange(None, reservation_of("i", scope_of("local"), cost=4))
        contended = await vault.exchange(None, reservation_of("j", scope_of("local"), cost=1))
        denied = await vault.exchange(None, reservation_of("k", scope_of("local"), cost=5))

        assert Answer(None, (Balance(Caps(10), spent(6), spent(4), None, "local"),)) == granted
        assert contended.refusal is not None
        assert contended.refusal.contended
        assert denied.refusal is not None
        assert not denied.refusal.contended

    @pytest.mark.parametrize("mood", ["well", "away"])
    async def test_what_was_settled_is_not_seen_as_held(self, vault: FallbackVault, flaky: Flaky, mood: Mood) -> None:
        """
        A hold that the vault granted makes room when it is settled, whether or not the vault hears of that at once.
        """
        await vault.exchange(None, reservation_of("h", scope_of("local"), cost=9))
        flaky.mood = mood
        await vault.exchange(settlement("h", 2), None)
        flaky.mood = "away"
        granted = await vault.exchange(None, reservation_of("i", scope_of("local"), cost=8))

        assert Answer(None, (Balance(Caps(10), spent(2), spent(8), None, "local"),)) == granted

    async def test_settling_makes_room(self, vault: FallbackVault, flaky: Flaky) -> None:
        """
        Without its vault a server still frees what a call did not need, in the same step.
        """
        flaky.mood = "away"
        await vault.exchange(None, reservation_of("h", scope_of("local"), cost=10))
        answer = await vault.exchange(settlement("h", 3), reservation_of("i", scope_of("local"), cost=7))

        assert Answer(None, (Balance(Caps(10), spent(3), spent(7), None, "local"),)) == answer

    async def test_hold_that_was_asked_twice_is_held_once(self, vault: FallbackVault, flaky: Flaky) -> None:
        """
        Asking again with the same id holds nothing more.
        """
        flaky.mood = "away"
        first = await vault.exchange(None, reservation_of("h", scope_of("local"), cost=10))

        assert first == await vault.exchange(None, reservation_of("h", scope_of("local"), cost=10))

    async def test_new_window_is_new(self, vault: FallbackVault, flaky: Flaky, clock: Clock) -> None:
        """
        What was seen of a window counts until that window ends.
        """
        scope = scope_of("local", window_us=HOUR)
        await vault.exchange(None, reservation_of("h", scope, cost=10))
        flaky.mood = "away"
        before = await vault.exchange(None, reservation_of("i", scope, cost=10))
        clock.now += HOUR
        after = await vault.exchange(None, reservation_of("i", scope, cost=10))

        assert before.refusal is not None
        assert after.refusal is None

    async def test_operators_caps_are_remembered(self, vault: FallbackVault, flaky: Flaky) -> None:
        """
        A cap that an operator set holds on while the vault is away, where this server has seen it.
        """
        await vault.set_caps("ada", "session", "s", Caps(cost_nano_usd=3))
        await vault.balances([scope_of("local")])
        flaky.mood = "away"

        assert Caps(cost_nano_usd=3) == (await balance_of(vault, scope_of("local"))).caps

    async def test_answer_that_was_lost_is_counted_once(self, vault: FallbackVault, flaky: Flaky, clock: Clock) -> None:
        """
        A hold that both sides granted is one hold: its charge settles it.
        """
        flaky.mood = "mute"
        await vault.exchange(None, reservation_of("h", scope_of("local"), cost=10))
        flaky.mood = "well"
        clock.now += SECOND
        await vault.exchange(settlement("h", 4), None)

        assert (spent(4), Amount()) == (await balance_of(flaky, scope_of("local")))[1:3]

    async def test_call_that_never_came_back_is_charged_at_its_worst(
        self, vault: FallbackVault, flaky: Flaky, clock: Clock
    ) -> None:
        """
        A lease ends here as it does in the vault, and a settlement after that changes nothing.
        """
        flaky.mood = "away"
        await vault.exchange(None, reservation_of("h", scope_of("local"), cost=8, lease_us=5))
        clock.now += SECOND
        flaky.mood = "well"
        await vault.flush()
        await vault.exchange(settlement("h", 1), None)
        (report,) = await vault.reports("ada")

        assert (spent(8), spent(8), 0) == (report.spent, report.assumed, report.reservations)

    async def test_charge_settles_what_was_granted_here(self, vault: FallbackVault, flaky: Flaky) -> None:
        """
        A charge under the id of a hold that was granted here takes its place.
        """
        flaky.mood = "away"
        await vault.exchange(None, reservation_of("h", scope_of("local"), cost=8))
        await vault.charge("h", [scope_of("local")], spent(5), SpendPath())

        assert (spent(5), Amount()) == (await balance_of(vault, scope_of("local")))[1:3]


@pytest.mark.anyio
class TestManners:
    async def test_nobody_waits_for_a_vault_that_is_away(self, vault: FallbackVault, flaky: Flaky, clock: Clock) -> None:
        """
        After it did not answer the vault is left alone for half a second.
        """
        flaky.mood = "away"
        for _ in range(5):
            await vault.balances([scope_of()])
        clock.now += SECOND // 2
        await vault.balances([scope_of()])

        assert 2 == flaky.asked

    async def test_one_asks_for_all(self, vault: FallbackVault, flaky: Flaky, clock: Clock) -> None:
        """
        While one caller finds out whether the vault is back, the others go on without it.
        """
        flaky.mood = "away"
        await vault.balances([scope_of()])
        clock.now += SECOND
        flaky.mood, flaky.holds_up = "well", anyio.Event()
        answers: list[str] = []

        async def read() -> None:
            answers.append((await balance_of(vault, scope_of("open"))).away)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            while_asking = list(answers)
            flaky.holds_up.set()

        assert ["open", "open"] == while_asking
        assert ["open", "open", ""] == answers

    async def test_clock_that_is_set_back_does_not_lengthen_the_pause(
        self, vault: FallbackVault, flaky: Flaky, clock: Clock
    ) -> None:
        """
        A vault that is back is asked again, whatever became of the time.
        """
        flaky.mood = "away"
        await vault.balances([scope_of()])
        flaky.mood = "well"
        clock.now -= HOUR

        assert "" == (await balance_of(vault, scope_of("open"))).away

    async def test_caller_who_goes_away_leaves_nothing_behind(self, vault: FallbackVault, flaky: Flaky) -> None:
        """
        A call that is cancelled while it asks is settled, and gives back what it may have been granted.
        """
        await vault.exchange(None, reservation_of("h", scope_of(), cost=5))
        flaky.holds_up = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(vault.exchange, settlement("h", 2), reservation_of("i", scope_of(), cost=8))
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        flaky.holds_up = None
        # As if it had gone through after all.
        await flaky.exchange(None, reservation_of("i", scope_of(), cost=5))
        await vault.flush()

        assert (spent(2), Amount()) == (await balance_of(flaky, scope_of()))[1:3]

    async def test_operator_hears_that_it_is_away(self, vault: FallbackVault, flaky: Flaky) -> None:
        """
        Who asks for statements, caps or claims is told that nobody answers, at once the second time.
        """
        flaky.mood = "away"
        with pytest.raises(VaultUnavailable, match="nobody is there"):
            await vault.reports("ada")
        with pytest.raises(VaultUnavailable, match="the vault flaky does not answer; try again"):
            await vault.claim("ada", "k", "t", "f", SECOND)
        with pytest.raises(VaultUnavailable, match="the vault flaky does not answer"):
            await vault.finish("ada", "k", "t", None, SECOND)
        with pytest.raises(VaultUnavailable, match="the vault flaky does not answer"):
            await vault.set_caps("ada", "session", "s", Caps())

        assert 1 == flaky.asked

    async def test_memory_is_bounded(self, flaky: Flaky, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        """
        What is more than can be remembered is dropped, the oldest first, counted and reported.
        """
        vault = FallbackVault(flaky, clock_us=clock, max_messages=2)
        flaky.mood = "away"
        for number in range(5):
            await vault.charge(f"c{number}", [scope_of("open")], spent(10**number), SpendPath())
        flaky.mood = "well"
        clock.now += SECOND
        await vault.flush()

        assert 3 == vault.dropped
        assert spent(11_000) == (await balance_of(flaky, scope_of()))[1]
        assert ["1 in all", "2 in all"] == [line.partition(", ")[2].partition(":")[0] for line in errors(caplog)]

    async def test_closing_tells_what_is_left_to_tell(self, vault: FallbackVault, flaky: Flaky) -> None:
        """
        A server that ends while its vault is back hands over what it still knows.
        """
        flaky.mood = "away"
        await vault.charge("c", [scope_of("open")], spent(3), SpendPath())
        flaky.mood = "well"
        await vault.aclose()

        assert spent(3) == (await balance_of(flaky, scope_of()))[1]
        assert flaky.closed

    async def test_closing_reports_what_nobody_heard(
        self, vault: FallbackVault, flaky: Flaky, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        A server that ends before its vault is back says how much the books miss.
        """
        flaky.mood = "away"
        await vault.charge("c", [scope_of("open")], spent(3), SpendPath())
        await vault.aclose()

        assert flaky.closed
        assert [
            "settlements and charges are lost for the vault flaky, 1 in all: this server ended before it was back"
        ] == errors(caplog)

    def test_is_known_by_the_name_of_its_vault(self, vault: FallbackVault, flaky: Flaky) -> None:
        """
        Whoever waits, waits where the vault's own settlements ring.
        """
        assert (flaky.name, flaky.waits, flaky.poll_seconds, flaky.risks) == (
            vault.name,
            vault.waits,
            vault.poll_seconds,
            vault.risks,
        )
        assert vault.waiters is flaky.waiters


# ---- a fleet of servers and a vault that comes and goes -----------------------------------------------------------------


class Server:
    """
    Spend through one standby, and remember what it granted and what was left when it last heard of the vault.
    """

    def __init__(self, flaky: Flaky, clock: Clock) -> None:
        self.vault = FallbackVault(flaky, clock_us=clock)
        self.reserved: dict[str, int] = {}
        self.here: set[str] = set()
        self.spent = 0
        self.spent_here = 0
        self.left = CAP

    def record(self, balance: Balance) -> None:
        if not balance.away:
            # What it spent by itself has been told, and is in what it sees.
            self.left, self.spent_here = CAP - balance.used.cost_nano_usd, 0

    @property
    def granted_here(self) -> int:
        return self.spent_here + sum(self.reserved[id_] for id_ in self.here)


class Fleet:
    """
    Run a few servers on one vault, and let a list of drawn numbers say what happens.
    """

    def __init__(self, away: AwayPolicy, servers: int) -> None:
        self.clock = Clock()
        self.flaky = Flaky(self.clock)
        self.servers = [Server(self.flaky, self.clock) for _ in range(servers)]
        self.scope = scope_of(away, CAP)
        self.made = 0

    async def step(self, act: str, number: int, amount: int) -> None:
        server = self.servers[number % len(self.servers)]
        match act:
            case "hold":
                await self.reserve(server, amount)
            case "settle" if server.reserved:
                await self.settle(server, sorted(server.reserved)[number % len(server.reserved)], amount)
            case "well" | "mute" | "away":
                self.flaky.mood = act
            case "wait":
                self.clock.now += SECOND

    async def reserve(self, server: Server, amount: int) -> None:
        self.made += 1
        id_ = f"h{self.made}"
        answer = await server.vault.exchange(None, reservation_of(id_, self.scope, cost=amount, lease_us=10**15))
        server.record(answer.balances[0])
        if answer.refusal is None:
            server.reserved[id_] = amount
            if answer.balances[0].away:
                server.here.add(id_)

                assert self.scope.away == "open" or server.granted_here <= server.left

    async def settle(self, server: Server, id_: str, amount: int) -> None:
        amount = min(amount, server.reserved.pop(id_))
        server.spent += amount
        if id_ in server.here:
            server.here.remove(id_)
            server.spent_here += amount
        await server.vault.exchange(settlement(id_, amount), None)

    async def come_back(self) -> None:
        """
        Let everything be settled, and every server tell what it has to tell.
        """
        self.flaky.mood = "well"
        for server in self.servers:
            for id_ in sorted(server.reserved):
                await self.settle(server, id_, server.reserved[id_])
        self.clock.now += SECOND
        for server in self.servers:
            await server.vault.flush()

    @property
    def spent(self) -> int:
        return sum(server.spent for server in self.servers)

    @property
    def granted(self) -> int:
        return self.spent + sum(sum(server.reserved.values()) for server in self.servers)


CAP = 20
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["hold", "hold", "hold", "settle", "settle", "well", "mute", "away", "wait", "wait"]),
        st.integers(0, 5),
        st.integers(0, 8),
    ),
    min_size=1,
    max_size=40,
)


class TestFleet:
    @given(steps=STEPS)
    def test_closed_never_overspends(self, steps: list[tuple[str, int, int]]) -> None:
        """
        Whatever is lost on the way, three servers together never grant more than the cap, and the books end true.
        """

        async def run() -> None:
            fleet = Fleet("closed", 3)
            for step in steps:
                await fleet.step(*step)

                assert fleet.granted <= CAP

            await fleet.come_back()

            assert Balance(Caps(CAP), spent(fleet.spent), Amount()) == await balance_of(fleet.flaky, scope_of(cap=CAP))

        asyncio.run(run())

    @given(steps=STEPS)
    def test_local_risks_what_was_left_once_a_server(self, steps: list[tuple[str, int, int]]) -> None:
        """
        What a server grants by itself is within what was left when it last heard of the vault, and all of it is told.
        """

        async def run() -> None:
            fleet = Fleet("local", 3)
            for step in steps:
                # Where it grants by itself it looks at what it has granted so.
                await fleet.step(*step)
            await fleet.come_back()

            assert Balance(Caps(CAP), spent(fleet.spent), Amount()) == await balance_of(fleet.flaky, scope_of(cap=CAP))

        asyncio.run(run())

    @given(steps=STEPS)
    def test_open_grants_and_forgets_nothing(self, steps: list[tuple[str, int, int]]) -> None:
        """
        Whatever was granted uncounted is counted in the end.
        """

        async def run() -> None:
            fleet = Fleet("open", 2)
            for step in steps:
                await fleet.step(*step)
            await fleet.come_back()

            assert Balance(Caps(CAP), spent(fleet.spent), Amount()) == await balance_of(fleet.flaky, scope_of(cap=CAP))

        asyncio.run(run())
