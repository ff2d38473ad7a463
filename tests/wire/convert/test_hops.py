"""
Hops on the wire: nothing is lost, and a copy of a prototype says what a message made from the ground up would.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model import Value
from meshwalk.records.hops import VERDICTS, Considered, Hop, Verdict, hops_of
from meshwalk.trace import Decision, Replied, Usage
from meshwalk.wire import convert
from meshwalk.wire.convert import Prototypes, enums, records, values
from meshwalk.wire.convert import hops as packing
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2, traversal_pb2
from tests.support.random_records import VALUES, WORDS, hops
from tests.support.records import (
    Script,
    answered,
    attempt,
    cancelled,
    classified,
    climbed,
    denied,
    failed,
    granted,
    refused,
    retry_denied,
    triage,
    walked,
    words_of,
)
from tests.support.service import DESK
from tests.support.walks import WalkPair


def plainly(hop: Hop) -> traversal_pb2.Hop:
    """
    Make a message of *hop* the obvious way: each field by its name, nothing copied.
    """
    left, prefix_verdict = hop.decision, hop.prefix_verdict

    return traversal_pb2.Hop(
        **{name: getattr(hop, name) for name in (
            "index", "visit", "node", "started_us", "latency_us", "engine_us", "reserved_nano_usd", "cost_nano_usd",
            "message", "budget_wait_us", "backoff_us",
        )},
        **hop.timing._asdict(),
        error_class=enums.ERROR_CLASSES.number[hop.error_class],
        scope=enums.SCOPES.number[hop.scope],
        role=enums.ROLES.number[hop.role],
        status=enums.HOP_STATUSES.number[hop.status],
        cost_basis=enums.BASES.number[hop.basis],
        usage=common_pb2.Usage(**hop.usage._asdict()),
        outputs=values.pack_values(hop.outputs),
        decision=None if left is None else packing.pack_decision(left, hop.considered),
        worst_case=None if hop.need is None else common_pb2.WorstCase(**hop.need._asdict()),
        prefix_verdict=None if prefix_verdict is None else traversal_pb2.PrefixVerdict(
            at_us=prefix_verdict.at_us,
            tokens=prefix_verdict.tokens,
            outputs=values.pack_values(prefix_verdict.outputs),
            committed=prefix_verdict.committed,
        ),
    )  # fmt: skip


def deciding(edges: int, verdicts: str = "") -> Hop:
    """
    Make a hop whose node has so many edges.
    """
    hop = Hop(0, 1, "desk", "classifier", 0)
    hop.considered = tuple(Considered("done", "otherwise", "not_held") for _ in range(edges))
    hop.decision = Decision(0, "next", -1, "", verdicts or "n" * edges)

    return hop


def slowly_answered(pair: WalkPair) -> None:
    """
    Go the way of `answered`, with other numbers and another output.
    """
    classified(pair, complexity=0.3)
    granted(pair, 220)
    outputs: dict[str, Value] = {"confidence": 0.95, "finish_reason": "length", "output_tokens": 9.0, "more": True}
    pair.feed(Replied(1, 9_600, outputs, (attempt(250, 9_000, usage=Usage(41, 9, 7, 1)),)))


class TestHops:
    @given(hops())
    def test_survive(self, hop: Hop) -> None:
        """
        Every field of a hop, its decision, its attempts and its budget views come back.
        """
        packed = traversal_pb2.Hop.FromString(convert.pack_hop(hop, Prototypes(DESK), full=True).SerializeToString())

        assert words_of(hop) == words_of(convert.unpack_hop(packed))

    @pytest.mark.slow
    @given(hops())
    def test_less_than_full(self, hop: Hop) -> None:
        """
        Below FULL only attempts and budget views are left out.
        """
        back = convert.unpack_hop(convert.pack_hop(hop, Prototypes(DESK), full=False))
        hop.attempts, hop.granted_views, hop.views = (), (), ()

        assert words_of(hop) == words_of(back)

    @given(st.lists(st.tuples(WORDS, WORDS, st.sampled_from(list(VERDICTS.values()))), max_size=3))
    def test_verdicts_survive(self, edges: list[tuple[str, str, Verdict]]) -> None:
        """
        What was considered comes back in order.
        """
        decision = Decision(0, "next", -1, "", "")
        packed = packing.pack_decision(decision, [Considered(*edge) for edge in edges])
        back = packing.unpack_considered(packed.considered)

        assert edges == [(edge.to, edge.guard, edge.verdict) for edge in back]
        assert not packed.HasField("edge")


class TestPrototypes:
    @given(hops())
    def test_a_copy_is_as_good(self, hop: Hop) -> None:
        """
        The first hop of its kind and every later one say what a message made from the ground up says, also through bytes.
        """
        prototypes, expected = Prototypes(DESK), plainly(hop)
        first, later = (convert.pack_hop(hop, prototypes, full=False) for _ in range(2))

        assert (expected, expected) == (first, later)
        assert expected == traversal_pb2.Hop.FromString(later.SerializeToString())

    @pytest.mark.slow
    @given(hops(), hops(), st.data())
    def test_one_hop_leaves_nothing_to_another(self, one: Hop, other: Hop, data: st.DataObject) -> None:
        """
        Hops that were left the same way share a prototype, and nothing else.
        """
        for name in ("node", "role", "status", "basis", "decision", "considered"):
            setattr(other, name, getattr(one, name))
        one.outputs = data.draw(st.dictionaries(WORDS, VALUES, min_size=1, max_size=3))
        prototypes = Prototypes(DESK)
        packed = [convert.pack_hop(hop, prototypes, full=False) for hop in (one, other, one)]

        assert [plainly(one), plainly(other), plainly(one)] == packed
        assert prototypes.hop(one) is prototypes.hop(other)

    @pytest.mark.parametrize(
        "change",
        [{"section": "on_error"}, {"edge": 1}, {"to": "done"}, {"verdicts": "yn"}],
        ids=lambda change: next(iter(change)),
    )
    def test_what_tells_them_apart(self, change: dict[str, Any]) -> None:
        """
        Whatever part of a decision differs, another prototype is copied.
        """
        one, other = deciding(2), deciding(2)
        assert other.decision is not None
        other.decision = other.decision._replace(**change)
        prototypes = Prototypes(DESK)

        assert prototypes.hop(one) is not prototypes.hop(other)
        assert (plainly(one), plainly(other)) == tuple(convert.pack_hop(hop, prototypes, full=False) for hop in (one, other))

    @pytest.mark.slow
    def test_they_are_bounded(self) -> None:
        """
        Rows of verdicts that would not fit are told in full each time, and those that fitted are still there.
        """
        prototypes, kept, more = Prototypes(DESK), deciding(2), deciding(packing.MAX_EDGES - 2)
        first = prototypes.hop(kept)

        assert prototypes.hop(more) is not prototypes.hop(more)
        assert plainly(more) == convert.pack_hop(more, prototypes, full=False)
        assert first is prototypes.hop(kept)


class TestRecords:
    @pytest.mark.parametrize("script", [answered, climbed, refused, failed, cancelled, denied, retry_denied])
    def test_a_copy_is_as_good(self, script: Script) -> None:
        """
        The first record of its path and every later one tell of each hop what a message made from the ground up tells.
        """
        plan = triage()
        traversal = walked(script, plan=plan, task="forbidden" if script is refused else "any")
        prototypes, found = Prototypes(plan), hops_of(traversal, plan)
        first, later = (convert.pack_record(traversal, prototypes, full=False) for _ in range(2))

        assert first == later
        assert [plainly(hop) for hop in found] == list(later.hops)
        assert (traversal.path, traversal.plan_digest) == (list(later.path), later.plan.plan_digest)
        assert prototypes.reply(found) is prototypes.reply(found)

    def test_one_walk_leaves_nothing_to_another(self) -> None:
        """
        Walks of one path share a prototype, and no number, output or name of another walk is left in their records.
        """
        plan = triage()
        prototypes = Prototypes(plan)
        one, other = (walked(script, plan=plan, number=at) for at, script in enumerate((answered, slowly_answered)))
        alone = [convert.pack_record(traversal, Prototypes(plan), full=True) for traversal in (one, other, one)]
        together = [convert.pack_record(traversal, prototypes, full=True) for traversal in (one, other, one)]

        assert alone == together
        assert prototypes.reply(hops_of(one, plan)) is prototypes.reply(hops_of(other, plan))


class TestTotals:
    @pytest.mark.parametrize("script", [answered, climbed, refused, failed, cancelled, denied, retry_denied])
    def test_hops_add_up_to_their_calls(self, script: Script) -> None:
        """
        What is added up from a walk's hops is what its calls add up to, however the walk ended.
        """
        plan = triage()
        traversal = walked(script, plan=plan, task="forbidden" if script is refused else "any")

        assert records.Totals.of_calls(traversal) == records.Totals.of_hops(hops_of(traversal, plan), traversal.latency_us)

    def test_the_weakest_basis_counts(self) -> None:
        """
        The numbers of the bases go from the surest to the weakest, so that the largest is the weakest.
        """
        expected = ["none", "reported", "estimated", "assumed", "unpriced"]

        assert expected == sorted(enums.BASES.number, key=enums.BASES.number.__getitem__)
