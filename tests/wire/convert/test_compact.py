"""
Replies written as bytes say what those made field by field do.
"""

from __future__ import annotations

import pickle
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.plan import Plan
from meshwalk.trace import CompactCall, CompactTrace, Reply, ScopeView, Traversal
from meshwalk.wire import convert
from meshwalk.wire.convert import Prototypes
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2
from meshwalk.wire.types import Detail
from tests.support.plans import plan_of
from tests.support.random_plans import plans
from tests.support.random_walks import SESSIONS, SEVERAL, walks_of


DETAILS: tuple[Detail, ...] = ("NONE", "HOPS")
ANSWERS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def packed(record: Traversal, answer: str, known: Prototypes, detail: Detail = "HOPS") -> routing_pb2.RouteResponse:
    return convert.pack_reply(record, answer, "stop", known, detail)


def told(record: Traversal, answer: str, known: Prototypes, detail: Detail = "HOPS") -> routing_pb2.RouteResponse:
    """
    Return what a server gives: what is written, or else packed.
    """
    written = convert.write_compact(record, answer, "stop", known, detail)

    return packed(record, answer, known, detail) if written is None else routing_pb2.RouteResponse.FromString(written)


@pytest.mark.slow
@settings(max_examples=60)
@given(plans(), SEVERAL, SESSIONS, ANSWERS, st.lists(st.sampled_from(DETAILS), min_size=1))
def test_what_is_written_says_what_is_packed(
    plan: Plan, replies: list[Reply], sessions: list[str], answer: str, details: list[Detail]
) -> None:
    """
    Whatever walks came before, and in whatever detail, each one's reply reads as one that was made for it alone.
    """
    known = Prototypes(plan)

    for record, detail in zip(walks_of(plan, replies, sessions), cycle(details), strict=False):
        assert packed(record, answer, Prototypes(plan), detail) == told(record, answer, known, detail)


def costing(record: Traversal, cost_nano_usd: int) -> Traversal:
    """
    Return *record* with calls that cost so much.
    """

    def costly(call: CompactCall | None) -> CompactCall | None:
        return None if call is None else call._replace(cost_nano_usd=cost_nano_usd)

    trace = compact(record)
    costly_trace = trace._replace(hops=tuple(hop._replace(call=costly(hop.call)) for hop in trace.hops))

    return Traversal(record.source, record.traversal_id, record.trace_id, record.span_id, "", record.sampled, 0, costly_trace)


def compact(record: Traversal) -> CompactTrace:
    """
    Return the trace of *record*, all of whose hops took the usual way.
    """
    assert isinstance(record.trace, CompactTrace)

    return record.trace


class TestOneKind:
    def records(self) -> tuple[Plan, list[Traversal]]:
        plan = two_calls()

        return plan, walks_of(plan, [Reply("yes")], ["s"])

    @pytest.mark.parametrize("detail", DETAILS)
    def test_later_ones_are_written(self, detail: Detail) -> None:
        """
        The first of a kind is made field by field, and those after it are bytes, in the same detail.
        """
        plan, (first, second) = self.records()
        known, other = Prototypes(plan), DETAILS[1 - DETAILS.index(detail)]

        assert convert.write_compact(first, "yes", "stop", known, detail) is None
        assert packed(first, "yes", known, detail) == told(first, "yes", known, detail)
        assert convert.write_compact(second, "yes", "stop", known, detail) is not None
        assert convert.write_compact(second, "yes", "stop", known, other) is None

    def test_finish_reasons_take_little_room(self) -> None:
        """
        Walks all of whose replies stopped are of one kind, and whatever ends others are of another: not of one for each word.
        """
        plan = two_calls()

        def kind(*reasons: str) -> object:
            return walks_of(plan, [Reply("yes", finish_reason=reason) for reason in reasons], ["s"])[0].template_key

        others = {kind(reason) for reason in ("length", "other", "à la fin")} | {kind("length", "stop"), kind("stop", "other")}

        assert 1 == len(others)
        assert kind("stop") not in others

    def test_a_signal_of_that_name_may_say_anything(self) -> None:
        """
        What a classifier of the author's own writes as `finish_reason` takes no room for each word, either.
        """
        trace = compact(self.records()[1][0])
        first, *others = trace.hops
        hops = [(first._replace(outputs={"finish_reason": f"said {number}"}), *others) for number in range(5)]

        assert 1 == len({trace._replace(hops=several).template_key for several in hops})

    def test_what_was_decided_while_the_vault_was_away_is_of_no_kind(self) -> None:
        """
        It tells of a slack that others of its kind would not have.
        """
        trace = compact(self.records()[1][0])
        first, *others = trace.hops
        assert first.call is not None
        away = first._replace(call=first.call._replace(shared_views=(ScopeView("session", away="local"),)))

        assert trace.template_key is not None
        assert trace._replace(hops=(away, *others)).template_key is None

    def test_what_a_finish_reason_is_taken_for_is_told(self) -> None:
        """
        Words of a provider that are taken for different ones of ours are not written over each other.
        """
        plan, known = two_calls(), Prototypes(two_calls())
        for reason in ("eos", "à la fin", "eos"):
            (record, _) = walks_of(plan, [Reply("yes", finish_reason=reason)], ["s"])

            assert packed(record, "yes", Prototypes(plan)) == told(record, "yes", known)

    def test_what_has_no_room_is_packed(self) -> None:
        """
        A cost past what a place holds is told all the same.
        """
        plan, (record, _) = self.records()
        known, dear = Prototypes(plan), costing(record, 1 << 60)
        for each in (record, dear):
            assert each.cost_nano_usd == told(each, "yes", known).cost_nano_usd

    def test_what_is_read_late_can_go_elsewhere(self) -> None:
        """
        A reply with hops can be pickled, whether its record was read by then or not.
        """
        plan, (record, _) = self.records()
        routed = convert.unpack_reply(packed(record, "yes", Prototypes(plan)))
        back = pickle.loads(pickle.dumps(routed))

        assert routed == back
        assert [(hop.node, hop.usage) for hop in routed.hops] == [(hop.node, hop.usage) for hop in back.hops]

    def test_it_stands_in_a_frame_as_it_is(self) -> None:
        """
        A result of `RouteMany` reads the same, whether its reply was written or packed.
        """
        plan, (record, _) = self.records()
        reply = packed(record, "yes", Prototypes(plan))
        frames = [convert.pack_result(7, made) for made in (reply, reply.SerializeToString())]

        packed_one, written = map(routing_pb2.RouteManyResponse.FromString, frames)

        assert packed_one == written
        assert reply == written.results[0].reply


def two_calls() -> Plan:
    return plan_of(
        """
        meshwalk: 1
        name: two-calls
        start: small
        backends:
          b0: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
          b1: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
        nodes:
          small: {role: answer, backend: b0, max_tokens: 9, next: large}
          large: {role: primary, backend: b1, max_tokens: 9, next: done}
        """
    )
