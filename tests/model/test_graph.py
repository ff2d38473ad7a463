"""
What a graph's plain data promises.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model import URGENCY_DEADLINES_US, Graph, Limits, Node, Price, Sampling
from meshwalk.model.problems import Span
from meshwalk.model.signals import URGENCIES
from meshwalk.trace import Usage


HERE = Span("a.yaml", 1, 1)
TOKENS = st.integers(0, 10**9)
RATES = st.integers(0, 10**12)
PRICES = st.tuples(RATES, RATES).map(lambda rates: Price(*rates))
DETAILED = st.tuples(RATES, RATES, *[st.none() | RATES] * 3).map(lambda rates: Price(*rates))
USAGES = st.builds(Usage, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS)


class TestPrice:
    def test_price_is_for_a_million_tokens(self) -> None:
        """
        At 10 and 30 USD a million tokens, a thousand in and a hundred out cost 0.013 USD.
        """
        assert 13_000_000 == Price(10_000_000_000, 30_000_000_000).cost(1_000, 100)

    def test_part_of_a_nano_dollar_counts_as_one(self) -> None:
        """
        A bound that was rounded down would be none.
        """
        assert 1 == Price(1, 0).cost(1, 0)
        assert 0 == Price(1, 0).cost(0, 5)

    @given(PRICES, TOKENS, TOKENS)
    def test_cost_is_exact_but_for_rounding_up(self, price: Price, incoming: int, outgoing: int) -> None:
        """
        No price and no count is so large that a nano-dollar is lost.
        """
        exact = Fraction(incoming * price.input_nano_per_mtok + outgoing * price.output_nano_per_mtok, 1_000_000)

        assert 0 <= price.cost(incoming, outgoing) - exact < 1

    @given(PRICES, TOKENS, TOKENS, TOKENS)
    def test_one_call_never_costs_more_than_its_parts(self, price: Price, incoming: int, outgoing: int, more: int) -> None:
        """
        Reserving for two calls covers the one that does the work of both.
        """
        assert price.cost(incoming + more, outgoing) <= price.cost(incoming, outgoing) + price.cost(more, 0)

    def test_details_have_prices_of_their_own(self) -> None:
        """
        Of 1,000 tokens in, 600 cached ones cost a tenth; of 100 out, 40 that nobody sees cost twice as much.
        """
        price = Price(10_000_000_000, 30_000_000_000, 1_000_000_000, 60_000_000_000)

        assert 4_000_000 + 600_000 + 1_800_000 + 2_400_000 == price.cost(1_000, 100, 600, 40)

    def test_details_without_a_price_cost_what_the_others_do(self) -> None:
        """
        Where a price does not tell them apart, cached and reasoning tokens are tokens.
        """
        price = Price(10_000_000_000, 30_000_000_000)

        assert price.cost(1_000, 100) == price.cost(1_000, 100, 600, 40)

    def test_details_never_exceed_their_totals(self) -> None:
        """
        A provider that counts more cached tokens than tokens is believed as far as there are any.
        """
        price = Price(10_000_000_000, 30_000_000_000, 1_000_000_000, 60_000_000_000)

        assert price.cost(1_000, 100, 1_000, 100) == price.cost(1_000, 100, 5_000, 900)
        assert price.cost(1_000, 100) == price.cost(1_000, 100, -5, -9)

    @given(DETAILED, USAGES, TOKENS, TOKENS)
    def test_bound_covers_every_usage_below_it(self, price: Price, usage: Usage, more_in: int, more_out: int) -> None:
        """
        Whatever of a call's tokens is cached or not seen, it costs no more than the bound of as many or more.
        """
        assert price.cost(*usage) <= price.bound(usage.input_tokens + more_in, usage.output_tokens + more_out)

    @given(DETAILED, TOKENS, TOKENS)
    def test_bound_is_reached(self, price: Price, incoming: int, outgoing: int) -> None:
        """
        The bound is the cost of some way to split the tokens, and so is no larger than it must be.
        """
        splits = [
            (cached, reasoning, written)
            for cached, written in ((0, 0), (incoming, 0), (0, incoming))
            for reasoning in (0, outgoing)
        ]

        assert price.bound(incoming, outgoing) == max(price.cost(incoming, outgoing, *split) for split in splits)

    def test_the_pair_rate_is_of_a_plain_token_each_way(self) -> None:
        """
        Two prices are compared by what one token in and one token out cost together.
        """
        assert 3 == Price(1, 2, 0, 9).pair_rate


class TestPlainData:
    def test_nothing_said_is_none(self) -> None:
        """
        A limit or a sampling parameter that nobody set is None, not a number.
        """
        assert {None} == set(Limits())
        assert {None} == set(Sampling())

    @pytest.mark.parametrize("kind", [Graph, Node])
    def test_graph_is_frozen(self, kind: type[Graph | Node]) -> None:
        """
        Nobody changes a graph that others read.
        """
        node = Node(name="sorry", role="refusal", span=HERE)
        graph = Graph(
            name="g", file="a.yaml", span=HERE, start="sorry", start_span=HERE, nodes={"sorry": node}, backends={},
            attributes={}, thresholds={},
        )  # fmt: skip
        part = graph if kind is Graph else node
        with pytest.raises(dataclasses.FrozenInstanceError, match=r"^cannot assign to field 'name'$"):
            part.name = "other"  # type: ignore[misc]

    def test_every_urgency_has_a_deadline(self) -> None:
        """
        The words a caller may use for urgency are those that give a deadline, from the shortest on.
        """
        assert URGENCIES == tuple(URGENCY_DEADLINES_US)
        assert sorted(URGENCY_DEADLINES_US.values()) == list(URGENCY_DEADLINES_US.values())
