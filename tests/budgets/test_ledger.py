"""
Many accounts: windows, leases, ids, and how long anything is kept.

The contract of all vaults is in `vault_contract`; the law is in `test_ledger_law`.
"""

from __future__ import annotations

import pytest

from meshwalk.budgets import Answer, Balance, Ledger, Need, Scope, Settlement, SpendPath
from meshwalk.budgets.ledger import KEPT_AFTER_WINDOW_US, KEPT_ID_US, KEPT_IDLE_US, account_key, effective_caps
from meshwalk.model import Amount, Caps
from tests.budgets.vault_contract import reservation_of, session, spent
from tests.budgets.vault_machine import BEGINNING_US as NOW
from tests.budgets.vault_machine import HOUR, SECOND


WINDOWED = Scope("ada", "session", "w", HOUR, Caps(cost_nano_usd=10))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


class TestWindows:
    def test_new_window_is_empty(self, ledger: Ledger) -> None:
        """
        A window begins at whole multiples of its length since the Unix epoch, with nothing used.
        """
        ledger.exchange(NOW, None, reservation_of("h", WINDOWED, cost=10, lease_us=2 * HOUR))
        next_window = (NOW // HOUR + 1) * HOUR

        assert NOW // HOUR == account_key(WINDOWED, NOW)[4]
        assert (Balance(WINDOWED.caps, Amount(), spent(10), 1),) == ledger.balances(next_window - 1, [WINDOWED])
        assert (Balance(WINDOWED.caps, Amount(), Amount(), HOUR),) == ledger.balances(next_window, [WINDOWED])

    def test_settled_where_it_was_held(self, ledger: Ledger) -> None:
        """
        What a call of the last window cost is no part of this one.
        """
        ledger.exchange(NOW, None, reservation_of("h", WINDOWED, cost=10, lease_us=2 * HOUR))
        ledger.exchange(NOW + HOUR, Settlement("ada", "h", spent(7)), None)
        (report,) = ledger.reports(NOW + HOUR, "ada")

        assert (NOW // HOUR + 1) * HOUR == report.window_ends_unix_us
        assert (spent(7), 0) == (report.spent, report.reservations)

    def test_graphs_with_other_windows_count_apart(self, ledger: Ledger) -> None:
        """
        One session counted by the hour and for ever is two accounts.
        """
        ledger.exchange(NOW, None, reservation_of("h", WINDOWED, cost=10))

        assert Amount() == ledger.balances(NOW, [WINDOWED._replace(window_us=None)])[0].reserved


class TestLeases:
    def test_all_that_have_ended_are_charged(self, ledger: Ledger) -> None:
        """
        Each hold ends with its own lease, and those that were settled before do not end again.
        """
        for number in range(4):
            ledger.exchange(NOW, None, reservation_of(f"h{number}", session(), cost=1, lease_us=SECOND * (number + 1)))
        ledger.exchange(NOW, Settlement("ada", "h0", spent(1)), None)

        assert (0, 1, 2) == (
            ledger.expire(NOW + SECOND),
            ledger.expire(NOW + 2 * SECOND),
            ledger.expire(NOW + 9 * SECOND),
        )
        assert 0 == ledger.reservations

    def test_id_that_is_held_anew_has_a_new_lease(self, ledger: Ledger) -> None:
        """
        The lease of a hold that was settled does not end its successor of the same id.
        """
        ledger.exchange(NOW, None, reservation_of("h", session(), cost=1, lease_us=SECOND))
        ledger.exchange(NOW, Settlement("ada", "h", spent(1)), reservation_of("h", session(), cost=1, lease_us=HOUR))

        assert 0 == ledger.expire(NOW + SECOND)
        assert 1 == ledger.reservations

    def test_unbounded_parts_are_charged_as_nothing(self, ledger: Ledger) -> None:
        """
        What was not bounded, because nothing caps it, is not known and not assumed.
        """
        reservation = reservation_of("h", session(cost_nano_usd=10), cost=4, lease_us=1)
        ledger.exchange(NOW, None, reservation._replace(need=Need(4, None, None, 1)))
        ledger.expire(NOW + 1)

        assert Amount(4, calls=1) == ledger.balances(NOW + 1, [session()])[0].spent

    def test_leases_of_what_was_settled_are_forgotten(self, ledger: Ledger) -> None:
        """
        Many short calls with long leases do not pile up.
        """
        for number in range(5_000):
            ledger.exchange(NOW, None, reservation_of(f"h{number}", session(), cost=1, lease_us=HOUR))
            if number:
                ledger.exchange(NOW, Settlement("ada", f"h{number}", Amount()), None)

        assert len(ledger._leases) < 1_100
        assert 1 == ledger.expire(NOW + HOUR)


class TestReports:
    def test_an_account_tells_all_of_it(self, ledger: Ledger) -> None:
        """
        Each account of the tenant, and of nobody else, has its caps, and what was spent, held, assumed and spent beyond that.
        """
        ledger.set_caps("ada", "session", "s-1", Caps(calls=9))
        ledger.exchange(NOW, None, reservation_of("other", session()._replace(tenant="bob"), cost=1))
        ledger.exchange(NOW, None, reservation_of("a", session(), cost=4))
        ledger.exchange(NOW, Settlement("ada", "a", spent(5)), reservation_of("b", session(), cost=3))
        ledger.exchange(NOW, None, reservation_of("c", session(), cost=2, lease_us=1))
        (report,) = ledger.reports(NOW + 1, "ada")

        assert ("ada", "session", "s-1", Caps(calls=9)) == (report.tenant, report.kind, report.name, report.caps)
        assert (7, 3, 1, 2) == tuple(
            amount.cost_nano_usd for amount in (report.spent, report.reserved, report.overrun, report.assumed)
        )
        assert (1, None, None) == (report.reservations, report.window_us, report.window_ends_unix_us)
        assert 7 == sum(line.spent.cost_nano_usd for line in report.lines)

    def test_an_account_without_caps_of_its_own(self, ledger: Ledger) -> None:
        """
        Where an operator set none, the graphs' caps hold.
        """
        ledger.exchange(NOW, None, reservation_of("w", WINDOWED, cost=4))
        (report,) = ledger.reports(NOW, "ada")

        assert (Caps(), HOUR) == (report.caps, report.window_us)


class TestIds:
    def test_are_their_tenants(self, ledger: Ledger) -> None:
        """
        Nobody settles what another tenant holds.
        """
        ledger.exchange(NOW, None, reservation_of("h", session(), cost=1))
        ledger.exchange(NOW, Settlement("bob", "h", spent(1)), None)

        assert 1 == ledger.reservations

    def test_are_known_for_a_day(self, ledger: Ledger) -> None:
        """
        A charge that comes again within a day is passed over, and then nobody remembers.
        """
        for at in (NOW, NOW + KEPT_ID_US - 1, NOW + KEPT_ID_US):
            ledger.charge(at, "c", [session()], spent(5), SpendPath())

        assert spent(10) == ledger.balances(NOW + KEPT_ID_US, [session()])[0].spent

    @pytest.mark.parametrize("assumed", [False, True])
    def test_a_charge_of_what_is_reserved_settles_it(self, ledger: Ledger, assumed: bool) -> None:
        """
        A settlement that comes late, as a charge, replaces its reservation, and is known from then on.
        """
        ledger.exchange(NOW, None, reservation_of("h", session(), cost=4))
        for _ in range(2):
            ledger.charge(NOW, "h", [session()], spent(3), SpendPath(), assumed=assumed)
        (report,) = ledger.reports(NOW, "ada")

        assert (spent(3), Amount(), 0) == (report.spent, report.reserved, report.reservations)
        assert (spent(3) if assumed else Amount()) == report.assumed

    def test_charge_of_nothing_is_passed_over(self, ledger: Ledger) -> None:
        """
        What draws on no scope is nobody's business.
        """
        ledger.charge(NOW, "c", [], spent(5), SpendPath())

        assert {} == ledger._known

    def test_hold_without_scopes_holds_nothing(self, ledger: Ledger) -> None:
        """
        A walk in no scope leaves nothing that could expire.
        """
        assert Answer(None, ()) == ledger.exchange(NOW, None, reservation_of("h", cost=5))
        assert Answer(None, ()) == ledger.exchange(NOW, None, None)
        assert 0 == ledger.reservations


class TestKeeping:
    def fill(self, ledger: Ledger, now: int) -> None:
        """
        Use so many accounts that those nobody needs are swept out.
        """
        for number in range(3_000):
            ledger.charge(now, f"fill {now} {number}", [session(f"fill {now} {number}", "bob")], spent(1), SpendPath())

    def test_window_that_is_long_over_is_dropped(self, ledger: Ledger) -> None:
        """
        An operator can look at a window for an hour after its end; then it makes room.
        """
        ledger.charge(NOW, "c", [WINDOWED], spent(1), SpendPath())
        end = account_key(WINDOWED, NOW)[4] * HOUR + HOUR
        self.fill(ledger, end + KEPT_AFTER_WINDOW_US - 1)
        kept = len(list(ledger.reports(NOW, "ada")))
        self.fill(ledger, end + KEPT_AFTER_WINDOW_US)

        assert (1, 0) == (kept, len(list(ledger.reports(NOW, "ada"))))

    def test_what_counts_for_ever_is_kept_while_it_is_used(self, ledger: Ledger) -> None:
        """
        An account without a window is forgotten when nobody has drawn on it for thirty days, and not before.
        """
        for name, at in (("old", NOW), ("used", NOW), ("used", NOW + 1)):
            ledger.charge(at, f"{name} {at}", [session(name)], spent(1), SpendPath())
        self.fill(ledger, NOW + KEPT_IDLE_US)

        assert ["used"] == [report.name for report in ledger.reports(NOW, "ada")]

    def test_what_is_held_is_kept(self, ledger: Ledger) -> None:
        """
        However long a call takes, it finds its account when it is settled.
        """
        ledger.exchange(NOW, None, reservation_of("h", WINDOWED, cost=5, lease_us=100 * HOUR))
        self.fill(ledger, NOW + 50 * HOUR)
        ledger.exchange(NOW + 50 * HOUR, Settlement("ada", "h", spent(5)), None)

        assert [spent(5)] == [report.spent for report in ledger.reports(NOW, "ada")]


class TestCaps:
    def test_an_operators_replace_the_graphs(self) -> None:
        """
        Part by part, what an operator set holds, be it more or less.
        """
        assert Caps(5, None, 7, 3) == effective_caps(Caps(9, None, 7, None), Caps(5, None, None, 3))

    def test_hold_for_what_was_granted_later(self, ledger: Ledger) -> None:
        """
        A lowered cap takes nothing back, and grants no more.
        """
        ledger.exchange(NOW, None, reservation_of("h", session(cost_nano_usd=10), cost=8))
        ledger.set_caps("ada", "session", "s-1", Caps(cost_nano_usd=5))
        answer = ledger.exchange(NOW, None, reservation_of("i", session(cost_nano_usd=10), cost=1))

        assert answer.refusal is not None
        assert (Balance(Caps(cost_nano_usd=5), Amount(), spent(8)),) == answer.balances
