"""
One account: held, spent, overrun and assumed, and where it went.
"""

from __future__ import annotations

import pytest

from meshwalk.budgets import Account, Balance, SpendLine, SpendPath
from meshwalk.budgets.account import MAX_LINES, OTHERS
from meshwalk.model import Amount, Caps


BOUNDED = (True,) * 5
PLACE = SpendPath("g", "a")


def cost(nano_usd: int) -> Amount:
    return Amount(cost_nano_usd=nano_usd)


def settled(reserved: int, spent: int, *, bounded: bool = True, assumed: bool = False) -> Account:
    account = Account()
    account.reserve(cost(reserved))
    account.settle(cost(reserved), cost(spent), PLACE, bounded=(bounded, *BOUNDED[1:]), assumed=assumed)

    return account


class TestSettle:
    def test_gives_back_what_was_not_needed(self) -> None:
        """
        Below its worst case a call costs what it costs.
        """
        account = settled(10, 4)

        assert (Amount(4), Amount(), Amount(), 0) == (account.spent, account.reserved, account.overrun, account.reservations)

    def test_counts_an_overrun(self) -> None:
        """
        Above its bound a call is charged in truth, and the difference is an overrun.
        """
        account = settled(10, 13)

        assert (13, 3) == (account.spent[0], account.overrun[0])

    def test_what_nothing_bounds_cannot_overrun(self) -> None:
        """
        A part without a bound held nothing, so that nothing was promised.
        """
        account = settled(0, 13, bounded=False)

        assert (13, 0) == (account.spent[0], account.overrun[0])

    def test_counts_what_was_assumed(self) -> None:
        """
        What nobody knows is spent, and known to be a guess.
        """
        account = settled(10, 10, assumed=True)

        assert (10, 10) == (account.spent[0], account.assumed[0])


class TestCharge:
    def test_overruns_past_what_is_free(self) -> None:
        """
        A charge that nobody held takes what is free, and the rest is an overrun.
        """
        account = Account()
        account.reserve(cost(6))
        account.charge(Caps(cost_nano_usd=10), cost(7), PLACE, assumed=False)

        assert (7, 6, 3) == (account.spent[0], account.reserved[0], account.overrun[0])

    def test_overruns_by_all_of_it_past_the_cap(self) -> None:
        """
        Where nothing is free any more, the overrun is the charge and not what was over before.
        """
        account = settled(10, 15)
        account.charge(Caps(cost_nano_usd=10), cost(2), PLACE, assumed=True)

        assert (17, 7, 2) == (account.spent[0], account.overrun[0], account.assumed[0])


class TestStanding:
    def test_shows_what_is_used(self) -> None:
        """
        What is spent and what is held are both used.
        """
        account = settled(10, 4)
        account.reserve(cost(5))
        balance = account.balance(Caps(cost_nano_usd=20), 99)

        assert Balance(Caps(cost_nano_usd=20), cost(4), cost(5), 99) == balance
        assert cost(9) == balance.used


class TestOverruns:
    @pytest.mark.parametrize(
        ("caps", "spent", "over"),
        [
            (Caps(), Amount(5, 6, 7, 1), Amount()),
            (Caps(cost_nano_usd=5, input_tokens=2), Amount(5, 6, 7, 1), Amount(0, 4)),
            (Caps(cost_nano_usd=1), Amount(5), Amount(4)),
        ],
    )
    def test_a_charge_past_a_cap(self, caps: Caps, spent: Amount, over: Amount) -> None:
        """
        Each part counts beyond its own cap, and nothing does beyond none.
        """
        account = Account()
        account.charge(caps, spent, SpendPath(), assumed=False)

        assert (spent, over) == (account.spent, account.overrun)

    def test_a_call_past_one_of_its_bounds(self) -> None:
        """
        The parts within their bounds add nothing to the overrun.
        """
        account = Account()
        account.reserve(Amount(4, 4, 4, 1))
        account.settle(Amount(4, 4, 4, 1), Amount(9, 4, 2, 1), SpendPath("g", "a"), bounded=(True,) * 5, assumed=False)

        assert Amount(5) == account.overrun
        assert [SpendPath("g", "a")] == [line.spend_path for line in account.lines()]


class TestLines:
    def test_dearest_first(self) -> None:
        """
        An operator reads first where most was spent; what cost nothing has no line.
        """
        account = Account()
        for path, nano_usd in (("a", 1), ("b", 5), ("a", 3), ("free", 0)):
            account.charge(Caps(), cost(nano_usd), SpendPath("g", path), assumed=False)

        assert (SpendLine(SpendPath("g", "b"), cost(5)), SpendLine(SpendPath("g", "a"), cost(4))) == account.lines()

    def test_many_places_share_a_line(self) -> None:
        """
        However many ways a graph is walked, an account stays small, and its lines still add up.
        """
        account = Account()
        for number in range(MAX_LINES + 5):
            account.charge(Caps(), cost(1), SpendPath("g", str(number)), assumed=False)
        account.charge(Caps(), cost(2), SpendPath("g", "0"), assumed=False)
        lines = dict(account.lines())

        assert MAX_LINES + 1 == len(lines)
        assert (cost(5), cost(3)) == (lines[OTHERS], lines[SpendPath("g", "0")])
        assert account.spent[0] == sum(spent.cost_nano_usd for spent in lines.values())
