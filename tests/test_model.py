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
from meshwalk.problems import Span
from meshwalk.signals import URGENCIES


HERE = Span("a.yaml", 1, 1)
TOKENS = st.integers(0, 10**9)
PRICES = st.builds(Price, st.integers(0, 10**12), st.integers(0, 10**12))


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
        with pytest.raises(dataclasses.FrozenInstanceError):
            part.name = "other"  # type: ignore[misc]

    def test_every_urgency_has_a_deadline(self) -> None:
        """
        The words a caller may use for urgency are those that give a deadline, from the shortest on.
        """
        assert URGENCIES == tuple(URGENCY_DEADLINES_US)
        assert sorted(URGENCY_DEADLINES_US.values()) == list(URGENCY_DEADLINES_US.values())
