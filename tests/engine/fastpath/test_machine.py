"""
A walk while all goes well: what it has left to spend, where it goes, and when it leaves the decision to `Walk`.
"""

from __future__ import annotations

import pytest

from meshwalk.engine.fastpath.machine import FastPlan, FastWalk
from meshwalk.model import Limits
from meshwalk.trace import CompactCall, Timing, Usage
from tests.support.plans import plan_of
from tests.support.walks import NO_LIMITS, began


PLAN = plan_of(
    """
    meshwalk: 1
    name: g
    start: small
    thresholds: {sure: 0.8}
    backends: {b: {kind: simulated}}
    nodes:
      small:
        role: answer
        backend: b
        confidence: {from: recorded, missing: 0}
        next:
          - {to: done, when: "output.confidence >= thresholds.sure"}
          - {to: large}
      large: {role: primary, backend: b, min_time: 2s, next: done}
    """
)
CALL = CompactCall("b", 10, 5, 100, 20, 30, Timing(), Usage(7, 11), 60, "reported")


def after_one_call(limits: Limits = NO_LIMITS) -> FastWalk:
    """
    Walk on after the small model has answered in doubt.
    """
    return leave(FastWalk(FastPlan(PLAN), began().facts, limits), confidence=0.1)


def leave(walk: FastWalk, *, confidence: float) -> FastWalk:
    assert walk.node is not None
    walk.node.leave(walk, 15, {"confidence": confidence}, CALL)

    return walk


class TestAffords:
    @pytest.mark.parametrize(
        ("limit", "fits", "too_much"),
        [
            ({"cost_nano_usd": 100}, (40, 0, 0), (41, 0, 0)),
            ({"input_tokens": 100}, (0, 93, 0), (0, 94, 0)),
            ({"output_tokens": 100}, (0, 0, 89), (0, 0, 90)),
            ({"cost_nano_usd": 100}, (0, 0, None), (None, 0, 0)),
            ({"output_tokens": 100}, (None, 0, 0), (0, 0, None)),
        ],
    )
    def test_what_was_spent_is_gone(
        self, limit: dict[str, int], fits: tuple[int | None, int, int | None], too_much: tuple[int | None, int, int | None]
    ) -> None:
        """
        What the calls so far cost counts against the walk's limits, and what cannot be bounded fits no limit.
        """
        walk = after_one_call(NO_LIMITS._replace(**limit))

        assert (True, False) == (walk.affords(*fits), walk.affords(*too_much))

    def test_calls_are_counted(self) -> None:
        """
        A walk that may make one call has none left after it.
        """
        assert after_one_call(NO_LIMITS._replace(calls=2)).affords(0, 0, 0)
        assert not after_one_call(NO_LIMITS._replace(calls=1)).affords(0, 0, 0)


class TestLeft:
    def test_the_first_edge_that_holds_is_taken(self) -> None:
        """
        A reply in doubt goes on, and a sure one is served.
        """
        doubtful = after_one_call()
        sure = leave(FastWalk(FastPlan(PLAN), began().facts, NO_LIMITS), confidence=0.9)

        assert ("large", False) == (doubtful.node.name if doubtful.node else "", doubtful.over)
        assert (None, True, 0) == (sure.node, sure.over, sure.trace().answer_hop)
        assert ["ny", "y-"] == [walk.trace().hops[0].verdicts for walk in (doubtful, sure)]

    @pytest.mark.parametrize("limits", [NO_LIMITS._replace(hops=1), NO_LIMITS._replace(deadline_us=2_000_010)])
    def test_it_stops_where_something_else_must_decide(self, limits: Limits) -> None:
        """
        Past its hops, or with too little time for the next call, nothing is under way, and the walk is not over.
        """
        walk = after_one_call(limits)

        assert (None, False, 1) == (walk.node, walk.over, walk.hop)
