"""
The records of walks, to the wire and from it.

A record on the wire has hops, which `hops` puts together from entries; it comes back as a `Record`, not a `Traversal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from meshwalk.records.hops import Hop, hops_of
from meshwalk.records.results import Record
from meshwalk.trace import Content, Facts, Finish, Traversal, calling_us, total_usage, weakest
from meshwalk.wire.convert.enums import BASES, CAUSES, OUTCOMES, SCOPES
from meshwalk.wire.convert.hops import Prototypes, fill_hop, unpack_hop
from meshwalk.wire.convert.values import (
    fill_time,
    fill_usage,
    pack_limits,
    pack_messages,
    pack_plan_ref,
    pack_sampling,
    pack_scopes,
    pack_time,
    pack_values,
    unpack_limits,
    unpack_messages,
    unpack_plan,
    unpack_sampling,
    unpack_scopes,
    unpack_time,
    unpack_usage,
    unpack_values,
)
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2 as common
from meshwalk.wire.gen.meshwalk.v1beta1 import trace_pb2 as trace
from meshwalk.wire.gen.meshwalk.v1beta1 import traversal_pb2 as wire
from meshwalk.wire.types import Summary


class Totals(NamedTuple):
    """
    The sums of a walk.
    """

    usage: tuple[int, int, int, int, int]
    cost_nano_usd: int
    basis: common.CostBasis.ValueType
    latency_us: int
    budget_wait_us: int
    engine_us: int

    @classmethod
    def of_calls(cls, traversal: Traversal) -> Totals:
        """
        Add up the calls of *traversal*, in one pass over its entries; its own properties would make one each.
        """
        calls = list(traversal.attempts())
        latency_us, wait_us = traversal.latency_us, traversal.budget_wait_us
        put_off_us = sum([call.backoff_us for call in calls])

        return cls(
            usage=total_usage(calls),
            cost_nano_usd=sum([call.cost_nano_usd for call in calls]),
            basis=BASES.number[weakest(call.basis for call in calls)],
            latency_us=latency_us,
            budget_wait_us=wait_us,
            engine_us=latency_us - wait_us - put_off_us - calling_us(calls),
        )

    @classmethod
    def of_hops(cls, hops: Sequence[Hop], latency_us: int) -> Totals:
        """
        Add up *hops*, which are all of a walk that took *latency_us*.
        """
        read = written = cached = reasoned = stored = cost_nano_usd = wait_us = elsewhere_us = 0
        basis = common.COST_BASIS_NONE
        for hop in hops:
            counted = hop.usage
            read += counted[0]
            written += counted[1]
            cached += counted[2]
            reasoned += counted[3]
            stored += counted[4]
            cost_nano_usd += hop.cost_nano_usd
            wait_us += hop.budget_wait_us
            elsewhere_us += hop.latency_us - hop.engine_us
            # The numbers go from the surest basis to the weakest.
            basis = max(basis, BASES.number[hop.basis])

        usage = (read, written, cached, reasoned, stored)

        return cls(usage, cost_nano_usd, basis, latency_us, wait_us, latency_us - elsewhere_us)


# ---- the whole record -----------------------------------------------------------------------------------------------


def pack_record(traversal: Traversal, prototypes: Prototypes, *, full: bool) -> wire.Traversal:
    """
    Make a message of *traversal*.

    Args:
        prototypes: Of the plan that it walked.
        full: With attempts, budget views, facts, limits and content.
    """
    message, hops = wire.Traversal(), hops_of(traversal, prototypes.plan)
    message.CopyFrom(prototypes.reply(hops).traversal)
    fill_record(message, traversal, hops, Totals.of_hops(hops, traversal.latency_us), full=full)

    return message


def fill_record(message: wire.Traversal, traversal: Traversal, hops: Sequence[Hop], totals: Totals, *, full: bool) -> None:
    """
    Complete *message*, a copy of the prototype of its *hops*, with *traversal*, see `pack_record`.
    """
    message.traversal_id = traversal.traversal_id
    message.trace_id = traversal.trace_id
    message.span_id = traversal.span_id
    message.parent_span_id = traversal.parent_span_id
    # The name of a version is no part of the plan's digest, so the record's own is the true one.
    message.plan.version = traversal.version
    fill_time(message.start_time, traversal.began_unix_us)
    _fill_end(message, traversal.finish)
    fill_usage(message.usage, totals.usage)
    message.cost_nano_usd = totals.cost_nano_usd
    message.cost_basis = totals.basis
    message.latency_us = totals.latency_us
    message.engine_us = totals.engine_us
    message.budget_wait_us = totals.budget_wait_us
    message.slack_nano_usd = traversal.slack_nano_usd
    message.prices = traversal.prices
    for packed, hop in zip(message.hops, hops, strict=True):
        fill_hop(packed, hop, full=full)
    if full:
        _pack_rest(message, traversal)


def _fill_end(message: wire.Traversal, finish: Finish) -> None:
    message.outcome = OUTCOMES.number[finish.outcome]
    if finish.answer_hop is not None:
        message.answer_hop = finish.answer_hop
    if any(finish[2:]):
        message.cause, message.scope = CAUSES.number[finish.cause], SCOPES.number[finish.scope]
        message.message, message.node = finish.message, finish.node


def _pack_rest(message: wire.Traversal, traversal: Traversal) -> None:
    began, content = traversal.began, traversal.content
    message.facts.CopyFrom(_pack_facts(began.facts))
    message.limits.CopyFrom(pack_limits(began.limits))
    if content is not None:
        message.content.CopyFrom(wire.Content(messages=pack_messages(content.messages), answer=content.answer))


def leave_out_content(message: wire.Traversal) -> None:
    """
    Take the content out of the record of a graph that records it: prompts, answers, and the words of providers in messages.
    """
    message.ClearField("content")
    message.message = ""
    for hop in message.hops:
        hop.message = ""
        for attempt in hop.attempts:
            attempt.message = ""


def unpack_record(message: wire.Traversal) -> Record:
    """
    Read a record.
    """
    return Record(
        traversal_id=message.traversal_id,
        trace_id=message.trace_id,
        span_id=message.span_id,
        parent_span_id=message.parent_span_id,
        plan=unpack_plan(message.plan),
        began_unix_us=unpack_time(message.start_time),
        outcome=OUTCOMES.word(message.outcome),
        cause=CAUSES.word(message.cause),
        message=message.message,
        node=message.node,
        scope=SCOPES.word(message.scope),
        path=tuple(message.path),
        answer_hop=message.answer_hop if message.HasField("answer_hop") else None,
        hops=tuple(unpack_hop(hop) for hop in message.hops),
        usage=unpack_usage(message.usage),
        cost_nano_usd=message.cost_nano_usd,
        basis=BASES.word(message.cost_basis),
        latency_us=message.latency_us,
        engine_us=message.engine_us,
        budget_wait_us=message.budget_wait_us,
        slack_nano_usd=message.slack_nano_usd,
        prices=message.prices,
        facts=_unpack_facts(message.facts) if message.HasField("facts") else None,
        limits=unpack_limits(message.limits) if message.HasField("limits") else None,
        content=_unpack_content(message.content) if message.HasField("content") else None,
    )


def _pack_facts(facts: Facts) -> wire.Facts:
    return wire.Facts(
        attributes=pack_values(dict(facts.attributes)),
        input_bytes=facts.input_bytes,
        messages=facts.messages,
        sampling=pack_sampling(facts.sampling),
        scopes=pack_scopes(facts.scopes),
        tenant=facts.scopes.tenant,
        counted_tokens=dict(facts.counted),
        healthy=dict(facts.healthy),
    )


def _unpack_facts(message: wire.Facts) -> Facts:
    attributes = unpack_values(message.attributes)

    return Facts(
        # A map has no order, so the names' own order is the only one both sides can agree on.
        tuple(sorted(attributes.items())),
        message.input_bytes,
        message.messages,
        unpack_sampling(message.sampling),
        unpack_scopes(message.scopes)._replace(tenant=message.tenant),
        tuple(sorted(message.counted_tokens.items())),
        tuple(sorted(message.healthy.items())),
    )


def _unpack_content(message: wire.Content) -> Content:
    return Content(unpack_messages(message.messages), message.answer)


# ---- lists ----------------------------------------------------------------------------------------------------------


def pack_summary(summary: Summary) -> trace.TraversalSummary:
    """
    Make a message of a record in a list.
    """
    return trace.TraversalSummary(
        traversal_id=summary.traversal_id,
        trace_id=summary.trace_id,
        plan=pack_plan_ref(summary.plan),
        scopes=pack_scopes(summary.scopes),
        outcome=OUTCOMES.number[summary.outcome],
        cause=CAUSES.number[summary.cause],
        path=summary.path,
        answer_node=summary.answer_node,
        start_time=pack_time(summary.began_unix_us),
        latency_us=summary.latency_us,
        engine_us=summary.engine_us,
        cost_nano_usd=summary.cost_nano_usd,
    )


def unpack_summary(message: trace.TraversalSummary) -> Summary:
    """
    Read a record in a list.
    """
    return Summary(
        traversal_id=message.traversal_id,
        trace_id=message.trace_id,
        plan=unpack_plan(message.plan),
        scopes=unpack_scopes(message.scopes),
        outcome=OUTCOMES.word(message.outcome),
        cause=CAUSES.word(message.cause),
        path=tuple(message.path),
        answer_node=message.answer_node,
        began_unix_us=unpack_time(message.start_time),
        latency_us=message.latency_us,
        engine_us=message.engine_us,
        cost_nano_usd=message.cost_nano_usd,
    )
