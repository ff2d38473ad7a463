"""
The ledger of one walk: what is promised counts at once, and what was not needed comes back.
"""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from meshwalk.budgets import Ledger, Need, usd
from meshwalk.model import Limits
from meshwalk.trace import View


def ledger_of(cost: int | None = None, tokens: int | None = None) -> Ledger:
    return Ledger(Limits(cost_nano_usd=cost, output_tokens=tokens))


class TestReserve:
    def test_counts_at_once(self) -> None:
        """
        A reservation lowers what is left before the cost is known.
        """
        ledger = ledger_of(cost=1_000)
        granted = ledger.reserve("small", Need(400, 10))

        assert "" == granted
        assert View("request", 1_000, 400, None, 10) == ledger.view()

    def test_refuses_what_does_not_fit(self) -> None:
        """
        What would pass the limit is refused with the figures, and holds nothing.
        """
        ledger = ledger_of(cost=1_000)
        ledger.reserve("small", Need(400, 0))
        refusal = ledger.reserve("large", Need(601, 0))

        assert "may cost up to 0.000000601 USD and 0.0000006 of 0.000001 are left" == refusal
        assert ("small",) == ledger.open

    def test_takes_exactly_what_is_left(self) -> None:
        """
        A need equal to what is left fits.
        """
        ledger = ledger_of(cost=1_000, tokens=50)

        assert "" == ledger.reserve("large", Need(1_000, 50))

    def test_refuses_tokens_past_the_limit(self) -> None:
        """
        Output tokens have a limit of their own.
        """
        ledger = ledger_of(tokens=100)

        assert "may write up to 101 tokens and 100 of 100 are left" == ledger.reserve("large", Need(0, 101))

    @pytest.mark.parametrize(
        ("ledger", "need", "word"),
        [
            (ledger_of(cost=1_000), Need(None, 10), "usd_per_mtok"),
            (ledger_of(tokens=1_000), Need(5, None), "max_tokens"),
        ],
    )
    def test_refuses_the_unbounded_under_a_cap(self, ledger: Ledger, need: Need, word: str) -> None:
        """
        A call without a bound is refused where that bound matters, and the remedy is named.
        """
        assert word in ledger.reserve("large", need)

    def test_takes_anything_without_a_cap(self) -> None:
        """
        Without limits everything is granted, bounded or not.
        """
        assert "" == ledger_of().reserve("large", Need(None, None))

    def test_twice_under_one_key_is_a_mistake(self) -> None:
        """
        A key that holds a reservation cannot hold a second one.
        """
        ledger = ledger_of()
        ledger.reserve(0, Need(1, 1))

        with pytest.raises(ValueError, match="holds a reservation already"):
            ledger.reserve(0, Need(1, 1))


class TestSettle:
    def test_returns_the_difference(self) -> None:
        """
        Settling below the estimate gives the rest back.
        """
        ledger = ledger_of(cost=1_000)
        ledger.reserve("small", Need(400, 0))
        ledger.settle("small", 150, 0)

        assert 150 == ledger.used_nano_usd
        assert () == ledger.open

    def test_counts_an_overrun(self) -> None:
        """
        A provider that charges past its bound is charged in truth, and the excess is counted.
        """
        ledger = ledger_of(cost=1_000, tokens=10)
        ledger.reserve("small", Need(400, 5))
        ledger.settle("small", 1_150, 8)

        assert (1_150, 750) == (ledger.spent_nano_usd, ledger.overrun_nano_usd)
        assert (8, 3) == (ledger.spent_tokens, ledger.overrun_tokens)

    def test_settles_once(self) -> None:
        """
        A reservation that was settled is gone.
        """
        ledger = ledger_of()
        ledger.reserve("small", Need(1, 1))
        ledger.settle("small", 1, 1)

        with pytest.raises(KeyError):
            ledger.settle("small", 1, 1)


class LedgerMachine(RuleBasedStateMachine):
    """
    Reserve and settle in any order; the limit holds at every step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cost_limit = 1_000
        self.token_limit = 100
        self.ledger = ledger_of(self.cost_limit, self.token_limit)
        self.next_key = 0
        self.held_cost: dict[Hashable, int] = {}

    @rule(cost=st.integers(0, 700), tokens=st.integers(0, 70))
    def reserve(self, cost: int, tokens: int) -> None:
        if not self.ledger.reserve(self.next_key, Need(cost, tokens)):
            self.held_cost[self.next_key] = cost
        self.next_key += 1

    @precondition(lambda self: self.ledger.open)
    @rule(cost=st.integers(0, 900), tokens=st.integers(0, 90), which=st.integers(0))
    def settle(self, cost: int, tokens: int, which: int) -> None:
        held = self.ledger.open
        key = held[which % len(held)]
        self.ledger.settle(key, cost, tokens)
        del self.held_cost[key]

    @invariant()
    def what_is_used_is_spent_or_held(self) -> None:
        assert self.ledger.used_nano_usd == self.ledger.spent_nano_usd + sum(self.held_cost.values())
        assert set(self.ledger.open) == set(self.held_cost)

    @invariant()
    def the_limit_holds(self) -> None:
        assert self.ledger.used_nano_usd <= self.cost_limit + self.ledger.overrun_nano_usd
        assert self.ledger.used_tokens <= self.token_limit + self.ledger.overrun_tokens


TestLedgerMachine = LedgerMachine.TestCase


class TestUsd:
    @pytest.mark.parametrize(
        ("nano", "text"),
        [(0, "0"), (1, "0.000000001"), (20_000_000, "0.02"), (1_000_000_000, "1"), (-1_500_000_000, "-1.5")],
    )
    def test_is_exact(self, nano: int, text: str) -> None:
        """
        Nano-dollars print as dollars without rounding and without trailing zeros.
        """
        assert text == usd(nano)

    @given(st.integers(-(10**15), 10**15))
    def test_reads_back(self, nano: int) -> None:
        """
        What is printed is the amount.
        """
        whole, _, part = usd(abs(nano)).partition(".")

        assert abs(nano) == int(whole) * 10**9 + int(part.ljust(9, "0"))
