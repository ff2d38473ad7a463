"""
Granted, denied or contended.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.budgets import REQUEST, Balance, Need, Refusal, Scope, judge, refusal_of
from meshwalk.model import Amount, Caps


PART = st.integers(0, 12)
CAP = st.one_of(st.none(), PART)
STANDINGS = st.lists(
    st.builds(Balance, st.builds(Caps, *[CAP] * 5), st.builds(Amount, *[PART] * 5), st.builds(Amount, *[PART] * 5)),
    max_size=3,
)
NEEDS = st.builds(Need, *[st.one_of(PART, st.none())] * 5)


def cost(cap: int | None, spent: int = 0, reserved: int = 0) -> Balance:
    return Balance(Caps(cost_nano_usd=cap), Amount(cost_nano_usd=spent), Amount(cost_nano_usd=reserved))


class TestJudge:
    @pytest.mark.parametrize(
        ("asked", "balance", "verdict"),
        [
            (10, cost(10), None),
            (11, cost(10), (0, 0, False)),
            (4, cost(10, spent=6), None),
            (5, cost(10, spent=6), (0, 0, False)),
            (4, cost(10, spent=3, reserved=3), None),
            (5, cost(10, spent=3, reserved=3), (0, 0, True)),
            (8, cost(10, spent=3, reserved=3), (0, 0, False)),
            (99, cost(None, spent=6, reserved=3), None),
            (None, cost(None), None),
            (None, cost(10), (0, 0, False)),
            (0, cost(10, spent=12), None),
            (1, cost(0), (0, 0, False)),
        ],
    )
    def test_one_scope(self, asked: int | None, balance: Balance, verdict: tuple[int, int, bool] | None) -> None:
        """
        It fits to the last nano-dollar, is contended where others hold it, and denied where waiting does not help.
        """
        assert verdict == judge(Need(cost_nano_usd=asked), [balance])

    def test_denial_comes_before_contention(self) -> None:
        """
        Where one scope would let wait and another denies for good, nobody waits.
        """
        assert (1, 0, False) == judge(Need(cost_nano_usd=5), [cost(10, reserved=6), cost(4)])

    def test_first_contention_is_named(self) -> None:
        """
        Of several scopes to wait for, the first is named.
        """
        assert (1, 0, True) == judge(Need(cost_nano_usd=5), [cost(None), cost(10, reserved=6), cost(10, reserved=7)])

    @given(need=NEEDS, balances=STANDINGS)
    def test_grants_what_fits_and_nothing_else(self, need: Need, balances: list[Balance]) -> None:
        """
        A need is granted just where it is bounded and fits beside all that is used, in each capped part of every scope.
        """
        capped = [
            (asked, cap, spent, reserved)
            for balance in balances
            for asked, cap, spent, reserved in zip(need, balance.caps, balance.spent, balance.reserved, strict=True)
            if cap is not None
        ]
        unfit = [
            (asked, cap, spent)
            for asked, cap, spent, reserved in capped
            if asked != 0 and (asked or 99) > cap - spent - reserved
        ]
        hopeless = [asked for asked, cap, spent in unfit if asked is None or asked > cap - spent]
        found = judge(need, balances)

        assert (found is None) == (not unfit)
        assert found is None or found[2] == (not hopeless)


class TestRefusal:
    def test_names_the_scope(self) -> None:
        """
        A refusal says which scope, where it stands among those asked, and when its window ends.
        """
        balance = Balance(Caps(calls=1), Amount(calls=1), Amount(), 5_000_000)
        refusal = refusal_of(Need(calls=1), [REQUEST, Scope("ada", "workflow", "w")], [cost(None), balance])
        words = "makes 1 model call and 0 of 1 are left of workflow 'w'; a new window begins in 5 s"

        assert Refusal(1, "workflow", contended=False, message=words, resets_in_us=5_000_000) == refusal

    def test_is_none_where_all_fits(self) -> None:
        """
        What is granted has no words.
        """
        assert refusal_of(Need(calls=1), [REQUEST], [cost(1)]) is None
