"""
The contract of every vault, as scenes; `vault_machine` drives a vault in step with the pure ledger beside them.

A vault's tests subclass `VaultMachine` and `VaultContract`, say how to open the vault under a steered clock, and run both:

    class Machine(VaultMachine):
        async def open(self, clock: Clock) -> Sequence[Vault]:
            return [await SqliteVault.open(self.path, clock_us=clock), await SqliteVault.open(self.path, clock_us=clock)]

    def test_agrees_with_the_ledger() -> None:
        run_state_machine_as_test(Machine)

    class TestContract(VaultContract):
        @pytest.fixture
        async def doors(self, clock: Clock, tmp_path: Path) -> AsyncIterator[Sequence[Vault]]:
            ...

What `open` returns are doors to the same books, as several processes have them.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from meshwalk.budgets import AccountReport, Answer, Balance, Need, Reservation, Scope, Settlement, SpendPath
from meshwalk.budgets.vaults import Claim, Vault
from meshwalk.model import Amount, Caps
from tests.budgets.vault_machine import HOUR, SECOND, Clock


def session(name: str = "s-1", tenant: str = "ada", **caps: int) -> Scope:
    """
    Name a session with *caps* and no window.
    """
    return Scope(tenant, "session", name, None, Caps(**caps))


def reservation_of(id_: str, *scopes: Scope, cost: int, lease_us: int = 60 * SECOND) -> Reservation:
    """
    Ask to hold *cost* in *scopes*.
    """
    return Reservation(id_, scopes, Need(cost_nano_usd=cost), lease_us, SpendPath("g", "a → b"))


def spent(cost: int) -> Amount:
    """
    Spend *cost*, and nothing else.
    """
    return Amount(cost_nano_usd=cost)


async def balance_of(vault: Vault, scope: Scope) -> Balance:
    """
    Look at one scope.
    """
    (one,) = await vault.balances([scope])

    return one


@pytest.mark.anyio
class VaultContract:
    """
    Show what every vault does; subclasses give the fixture `doors`, of one vault or of several on the same books.
    """

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def vault(self, doors: Sequence[Vault]) -> Vault:
        return doors[0]

    @pytest.fixture
    def other(self, doors: Sequence[Vault]) -> Vault:
        return doors[-1]

    async def test_what_is_held_at_one_door_counts_at_the_other(self, vault: Vault, other: Vault) -> None:
        """
        A hold is seen by all who share the books, at once.
        """
        scope = session(cost_nano_usd=10)
        granted = await vault.exchange(None, reservation_of("h", scope, cost=6))
        answer = await other.exchange(None, reservation_of("i", scope, cost=6))

        assert Answer(None, (Balance(scope.caps, Amount(), spent(6)),)) == granted
        assert answer.refusal is not None
        assert answer.refusal.contended

    async def test_settling_makes_room_for_the_next(self, vault: Vault, other: Vault) -> None:
        """
        What was settled below its worst case is free again, in the same call.
        """
        scope = session(cost_nano_usd=10)
        await vault.exchange(None, reservation_of("h", scope, cost=10))
        answer = await other.exchange(Settlement("ada", "h", spent(3)), reservation_of("i", scope, cost=7))

        assert Answer(None, (Balance(scope.caps, spent(3), spent(7)),)) == answer

    async def test_refused_in_one_scope_holds_in_none(self, vault: Vault) -> None:
        """
        All scopes grant, or none holds anything.
        """
        wide, narrow = session("wide", cost_nano_usd=100), Scope("ada", "workflow", "narrow", None, Caps(cost_nano_usd=1))
        answer = await vault.exchange(None, reservation_of("h", wide, narrow, cost=5))

        assert answer.refusal is not None
        assert (1, "workflow", False) == answer.refusal[:3]
        assert Amount() == (await balance_of(vault, wide)).reserved

    async def test_settlement_counts_though_the_hold_is_refused(self, vault: Vault) -> None:
        """
        Settling and holding are one call and two questions: a refusal does not undo the settlement.
        """
        scope = session(cost_nano_usd=10)
        await vault.exchange(None, reservation_of("h", scope, cost=10))
        answer = await vault.exchange(Settlement("ada", "h", spent(9)), reservation_of("i", scope, cost=2))

        assert answer.refusal is not None
        assert not answer.refusal.contended
        assert (Balance(scope.caps, spent(9), Amount()),) == answer.balances

    async def test_lease_that_ends_is_charged_at_its_worst(self, vault: Vault, other: Vault, clock: Clock) -> None:
        """
        Whoever asks next finds a hold charged whose owner never came back; its late settlement changes nothing.
        """
        scope = session(cost_nano_usd=10)
        await vault.exchange(None, reservation_of("h", scope, cost=8, lease_us=5))
        clock.now += 5

        assert Balance(scope.caps, spent(8), Amount()) == await balance_of(other, scope)

        await vault.exchange(Settlement("ada", "h", spent(1)), None)
        (report,) = await other.reports("ada")

        assert (spent(8), spent(8), 0) == (report.spent, report.assumed, report.reservations)

    async def test_hold_that_was_asked_twice_is_held_once(self, vault: Vault, other: Vault) -> None:
        """
        A hold whose answer was lost can be asked for again, at any door.
        """
        scope = session(cost_nano_usd=10)
        first = await vault.exchange(None, reservation_of("h", scope, cost=8))

        assert first == await other.exchange(None, reservation_of("h", scope, cost=8))

    async def test_charge_counts_once(self, vault: Vault, other: Vault) -> None:
        """
        A charge that is sent again is passed over; what it takes past the cap is an overrun.
        """
        scope = session(cost_nano_usd=10)
        for door in (vault, other, vault):
            await door.charge("c", [scope], spent(12), SpendPath("g", "a"))
        (report,) = await vault.reports("ada")

        assert (spent(12), spent(2), Amount()) == (report.spent, report.overrun, report.assumed)

    async def test_charge_of_what_is_held_settles_it(self, vault: Vault, other: Vault) -> None:
        """
        A hold whose answer was lost is settled by the charge, and not counted beside it.
        """
        scope = session(cost_nano_usd=10)
        await vault.exchange(None, reservation_of("h", scope, cost=8))
        await other.charge("h", [scope], spent(5), SpendPath("g", "a"))

        assert Balance(scope.caps, spent(5), Amount()) == await balance_of(vault, scope)

    async def test_charge_of_what_has_expired_is_passed_over(self, vault: Vault, clock: Clock) -> None:
        """
        What was charged at its worst when its lease ended is not charged again.
        """
        scope = session(cost_nano_usd=10)
        await vault.exchange(None, reservation_of("h", scope, cost=8, lease_us=5))
        clock.now += HOUR
        await vault.charge("h", [scope], spent(5), SpendPath("g", "a"))

        assert Balance(scope.caps, spent(8), Amount()) == await balance_of(vault, scope)

    async def test_operator_sees_where_it_was_spent(self, vault: Vault) -> None:
        """
        A statement lists each place with its sum, the dearest first, in figures far past a float's.
        """
        scope = session(cost_nano_usd=9_000_000_000_000_000)
        spend_path = SpendPath("g", "a → b")
        for number in range(2):
            await vault.exchange(None, reservation_of(f"h{number}", scope, cost=4_000_000_000_000_001))
            await vault.exchange(Settlement("ada", f"h{number}", spent(4_000_000_000_000_001)), None)
        await vault.charge("c", [scope], Amount(1, calls=1), SpendPath("g", "a"))
        (report,) = await vault.reports("ada", "session", "s-1")

        assert [
            (spend_path, spent(8_000_000_000_000_002)),
            (SpendPath("g", "a"), Amount(1, calls=1)),
        ] == list(report.lines)

    async def test_tenants_do_not_see_each_other(self, vault: Vault) -> None:
        """
        Scopes of the same name under two tenants are two accounts.
        """
        await vault.exchange(None, reservation_of("h", session(tenant="ada"), cost=5))

        assert [] == await vault.reports("bob")
        assert Amount() == (await balance_of(vault, session(tenant="bob"))).reserved

    async def test_statements_come_in_order(self, vault: Vault) -> None:
        """
        Statements are sorted by kind, name and window, and can be asked for by kind and by name.
        """
        for name in ("b", "a"):
            for window_us in (HOUR, None):
                scope = Scope("ada", "session", name, window_us)
                await vault.exchange(None, reservation_of(f"{name} {window_us}", scope, cost=1))
        await vault.exchange(None, reservation_of("t", Scope("ada", "tenant", "", None), cost=1))

        def names(reports: Sequence[AccountReport]) -> list[tuple[str, str, int | None]]:
            return [(one.kind, one.name, one.window_us) for one in reports]

        assert [
            ("session", "a", None),
            ("session", "a", HOUR),
            ("session", "b", None),
            ("session", "b", HOUR),
            ("tenant", "", None),
        ] == names(await vault.reports("ada"))
        assert [("session", "b", None), ("session", "b", HOUR)] == names(await vault.reports("ada", "session", "b"))

    async def test_operators_caps_replace_the_graphs_part_by_part(self, vault: Vault, other: Vault) -> None:
        """
        A cap that an operator set holds at every door from the next hold on, until it is taken back.
        """
        scope = session(cost_nano_usd=10, calls=5)
        await vault.set_caps("ada", "session", "s-1", Caps(cost_nano_usd=20))

        assert Caps(cost_nano_usd=20, calls=5) == (await balance_of(other, scope)).caps

        await other.set_caps("ada", "session", "s-1", Caps())

        assert scope.caps == (await balance_of(vault, scope)).caps

    async def test_many_at_once_never_overspend(self, doors: Sequence[Vault]) -> None:
        """
        However many ask at once, and wherever, no more is granted than fits.
        """
        scope = session(cost_nano_usd=10)
        granted: list[str] = []

        async def ask(number: int) -> None:
            answer = await doors[number % len(doors)].exchange(None, reservation_of(f"h{number}", scope, cost=3))
            if answer.refusal is None:
                granted.append(f"h{number}")

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(ask, number)

        assert 3 == len(granted)
        assert spent(9) == (await balance_of(doors[0], scope)).reserved

    async def test_hold_that_draws_on_nothing_is_granted(self, vault: Vault) -> None:
        """
        A walk without scopes is nobody's business.
        """
        assert Answer(None, ()) == await vault.exchange(None, reservation_of("h", cost=5))
        assert Answer(None, ()) == await vault.exchange(None, None)
        assert () == await vault.balances([])

    async def test_key_is_claimed_once(self, vault: Vault, other: Vault) -> None:
        """
        The second to claim a key learns who has it, and finds the result once it is there.
        """
        mine = await vault.claim("ada", "k", "t1", "f1", HOUR)
        theirs = await other.claim("ada", "k", "t2", "f2", HOUR)
        await vault.finish("ada", "k", "t1", b"\x00done", HOUR)

        assert Claim("t1", "f1") == mine == theirs
        assert Claim("t1", "f1", b"\x00done") == await other.claim("ada", "k", "t2", "f2", HOUR)

    async def test_key_that_was_given_free_can_be_claimed(self, vault: Vault, other: Vault) -> None:
        """
        A walk that failed leaves no result, so that a retry is executed.
        """
        await vault.claim("ada", "k", "t1", "f1", HOUR)
        await vault.finish("ada", "k", "t1", None, HOUR)

        assert Claim("t2", "f2") == await other.claim("ada", "k", "t2", "f2", HOUR)

    async def test_claim_of_one_who_never_came_back_ends(self, vault: Vault, other: Vault, clock: Clock) -> None:
        """
        A key whose owner died is free when the claim's time is over, and the dead owner's result comes too late.
        """
        await vault.claim("ada", "k", "t1", "f1", SECOND)
        clock.now += SECOND
        taken = await other.claim("ada", "k", "t2", "f2", SECOND)
        await vault.finish("ada", "k", "t1", b"late", HOUR)

        assert Claim("t2", "f2") == taken == await vault.claim("ada", "k", "t3", "f3", SECOND)

    async def test_closing_twice_is_fine(self, vault: Vault) -> None:
        """
        Whoever closes a vault need not know whether somebody else did.
        """
        await vault.aclose()
        await vault.aclose()

    async def test_closes_at_the_end_of_its_block(self, vault: Vault) -> None:
        """
        A vault is its own context, and says in its repr what it is.
        """
        async with vault as entered:
            name = vault.name

        assert vault is entered
        assert repr(vault).startswith(f"<{type(vault).__name__}")
        assert name.partition(":")[0] in repr(vault).lower()
