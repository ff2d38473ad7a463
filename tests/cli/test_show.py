"""
Walks as people read them.
"""

from __future__ import annotations

import io

from rich.console import Console

from meshwalk.cli.shapes import record_document
from meshwalk.cli.show import hops_table, trace_table
from meshwalk.records.hops import hops_of
from meshwalk.trace import Attempt, Replied, Traversal, Usage
from tests.support.records import attempt, classified, granted, triage, walked
from tests.support.walks import WalkPair


PLAN = triage()


def told(call: Attempt, prices: str = "") -> tuple[Traversal, str]:
    """
    Walk with *call*, and return the record with all that is printed of it.
    """

    def script(pair: WalkPair) -> None:
        classified(pair)
        granted(pair, 120)
        pair.feed(Replied(1, 600, {"confidence": 0.9, "finish_reason": "stop", "output_tokens": 8.0}, (call,)))

    traversal = walked(script, plan=PLAN)
    traversal.source = traversal.source._replace(prices=prices)
    out = io.StringIO()
    Console(file=out, width=240).print(trace_table(traversal, hops_of(traversal, PLAN), PLAN))

    return traversal, out.getvalue()


class TestTokens:
    def test_parts_are_shown_where_there_are_any(self) -> None:
        """
        What was cached and what is not seen stands beside the tokens it is a part of.
        """
        assert "40 (30 cached) > 8 (5 reasoning)" in told(attempt(150, usage=Usage(40, 8, 30, 5)))[1]
        assert "40 > 8" in told(attempt(150))[1]

    def test_prices_are_named(self) -> None:
        """
        The version of the prices stands beside the cost, and in the document.
        """
        traversal, text = told(attempt(150), "2026-11")

        assert "0.000006 USD (reported, prices 2026-11)" in text
        assert "2026-11" == record_document(traversal, PLAN)["prices"]
        assert "prices" not in told(attempt(150))[1]


class TestCosts:
    def test_what_has_no_price_is_no_zero(self) -> None:
        """
        A hop whose call has no price shows that in the place of its cost.
        """
        assert "0.000006" in told(attempt(150))[1]
        assert 1 == told(attempt(150, cost_nano_usd=0, basis="unpriced"))[1].count(" unpriced ")


class TestCaches:
    def test_age_is_shown(self) -> None:
        """
        A reply from a cache says so, with its age.
        """
        traversal, text = told(attempt(150, cache_age_us=12_300_000))

        assert "ok (from cache, 12.3 s old)" in text
        assert 12_300_000 == record_document(traversal, PLAN)["hops"][1]["attempts"][0]["cache_age_us"]
        assert "from cache, 86,400 s old" in told(attempt(150, cache_age_us=86_400_000_000))[1]

    def test_other_replies_do_not_speak_of_it(self) -> None:
        """
        A reply that was made for its call has no age.
        """
        out = io.StringIO()
        Console(file=out, width=240).print(hops_table(hops_of(told(attempt(150))[0], PLAN)))

        assert "cache" not in out.getvalue()
