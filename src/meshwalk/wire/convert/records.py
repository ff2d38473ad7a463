"""
The records of walks, to the wire and from it.

The wire tells of hops, which `hops` puts together from entries; a record that comes back is a `Record`, not a `Traversal`.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshwalk.hops import VERDICTS as MARKED
from meshwalk.hops import Considered, Glimpse, Hop, HopStatus, hops_of
from meshwalk.plan import Plan
from meshwalk.trace import (
    Attempt,
    AttemptStatus,
    Content,
    Decision,
    Facts,
    Timing,
    Traversal,
    View,
    calling_us,
    total_usage,
    weakest,
)
from meshwalk.wire.convert.values import (
    BASES,
    OUTCOMES,
    ROLES,
    SECTIONS,
    VERDICTS,
    Words,
    pack_amount,
    pack_caps,
    pack_limits,
    pack_messages,
    pack_need,
    pack_params,
    pack_plan,
    pack_plan_ref,
    pack_scopes,
    pack_time,
    pack_usage,
    pack_values,
    unpack_amount,
    unpack_caps,
    unpack_limits,
    unpack_messages,
    unpack_need,
    unpack_params,
    unpack_plan,
    unpack_scopes,
    unpack_time,
    unpack_usage,
    unpack_values,
)
from meshwalk.wire.gen.meshwalk.v1 import trace_pb2 as trace
from meshwalk.wire.gen.meshwalk.v1 import traversal_pb2 as wire
from meshwalk.wire.words import Record, Summary


HOP_STATUSES: Words[HopStatus, wire.HopStatus.ValueType] = Words(
    "HopStatus",
    {
        "ok": wire.HOP_STATUS_OK,
        "failed": wire.HOP_STATUS_FAILED,
        "timeout": wire.HOP_STATUS_TIMEOUT,
        "cancelled": wire.HOP_STATUS_CANCELLED,
        "denied": wire.HOP_STATUS_DENIED,
        "skipped": wire.HOP_STATUS_SKIPPED,
        "refused": wire.HOP_STATUS_REFUSED,
        "stopped": wire.HOP_STATUS_STOPPED,
    },
)

_MARKS = {word: mark for mark, word in MARKED.items()}

ATTEMPT_STATUSES: Words[AttemptStatus, wire.AttemptStatus.ValueType] = Words(
    "AttemptStatus",
    {
        "ok": wire.ATTEMPT_STATUS_OK,
        "failed": wire.ATTEMPT_STATUS_FAILED,
        "timeout": wire.ATTEMPT_STATUS_TIMEOUT,
        "cancelled": wire.ATTEMPT_STATUS_CANCELLED,
        "denied": wire.ATTEMPT_STATUS_DENIED,
    },
)


class Totals:
    """
    Add up the calls of *traversal*, in one pass over its entries; its own properties would make one each.
    """

    __slots__ = ("basis", "budget_wait_us", "cost_nano_usd", "engine_us", "usage")

    def __init__(self, traversal: Traversal) -> None:
        calls = list(traversal.attempts())
        self.usage = pack_usage(total_usage(calls))
        self.cost_nano_usd = sum([call.cost_nano_usd for call in calls])
        self.basis = BASES.number[weakest(call.basis for call in calls)]
        self.budget_wait_us = traversal.budget_wait_us
        put_off_us = sum([call.backoff_us for call in calls])
        self.engine_us = traversal.latency_us - self.budget_wait_us - put_off_us - calling_us(calls)


# ---- the whole record -----------------------------------------------------------------------------------------------


def pack_record(traversal: Traversal, plan: Plan, *, full: bool) -> wire.Traversal:
    """
    Make a message of *traversal*, which walked *plan*.

    Args:
        full: With attempts, budget views, facts, limits and content.
    """
    finish, totals = traversal.finish, Totals(traversal)
    message = wire.Traversal(
        traversal_id=traversal.traversal_id,
        trace_id=traversal.trace_id,
        span_id=traversal.span_id,
        parent_span_id=traversal.parent_span_id,
        plan=pack_plan(plan),
        began=pack_time(traversal.began_unix_us),
        outcome=OUTCOMES.number[finish.outcome],
        cause=finish.cause,
        message=finish.message,
        node=finish.node,
        scope=finish.scope,
        path=traversal.path,
        answer_hop=finish.answer_hop,
        hops=_pack_hops(traversal, plan, full=full),
        usage=totals.usage,
        cost_nano_usd=totals.cost_nano_usd,
        cost_basis=totals.basis,
        latency_us=traversal.latency_us,
        engine_us=totals.engine_us,
        budget_wait_us=totals.budget_wait_us,
        slack_nano_usd=traversal.slack_nano_usd,
        prices=traversal.prices,
    )
    # The name of a version is no part of the plan's digest, so the record's own is the true one.
    message.plan.version = traversal.version
    if full:
        _pack_rest(message, traversal)

    return message


def _pack_rest(message: wire.Traversal, traversal: Traversal) -> None:
    began, content = traversal.began, traversal.content
    message.facts.CopyFrom(_pack_facts(began.facts))
    message.limits.CopyFrom(pack_limits(began.limits))
    if content is not None:
        message.content.CopyFrom(wire.Content(messages=pack_messages(content.messages), answer=content.answer))


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
        began_unix_us=unpack_time(message.began),
        outcome=OUTCOMES.word(message.outcome),
        cause=message.cause,
        message=message.message,
        node=message.node,
        scope=message.scope,
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
        params=pack_params(facts.sampling),
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
        unpack_params(message.params),
        unpack_scopes(message.scopes)._replace(tenant=message.tenant),
        tuple(sorted(message.counted_tokens.items())),
        tuple(sorted(message.healthy.items())),
    )


def _unpack_content(message: wire.Content) -> Content:
    return Content(unpack_messages(message.messages), message.answer)


# ---- hops -----------------------------------------------------------------------------------------------------------


def _pack_hops(traversal: Traversal, plan: Plan, *, full: bool) -> list[wire.Hop]:
    return [pack_hop(hop, full=full) for hop in hops_of(traversal, plan)]


def pack_hop(hop: Hop, *, full: bool) -> wire.Hop:
    """
    Make a message of *hop*.

    Args:
        full: With attempts and budget views.
    """
    queue_us, connect_us, first_byte_us = hop.timing
    message = wire.Hop(
        index=hop.index,
        visit=hop.visit,
        node=hop.node,
        role=ROLES.number[hop.role],
        status=HOP_STATUSES.number[hop.status],
        started_us=hop.started_us,
        queue_us=queue_us,
        connect_us=connect_us,
        first_byte_us=first_byte_us,
        latency_us=hop.latency_us,
        engine_us=hop.engine_us,
        reserved_nano_usd=hop.reserved_nano_usd,
        cost_nano_usd=hop.cost_nano_usd,
        cost_basis=BASES.number[hop.basis],
        usage=pack_usage(hop.usage),
        outputs=pack_values(hop.outputs),
        decision=None if hop.decision is None else pack_decision(hop.decision, hop.considered),
        error_class=hop.error_class,
        message=hop.message,
        budget_wait_us=hop.budget_wait_us,
        scope=hop.scope,
        need=None if hop.need is None else pack_need(hop.need),
        glimpse=None if hop.glimpse is None else _pack_glimpse(hop.glimpse),
        backoff_us=hop.backoff_us,
    )
    if full:
        message.attempts.extend([_pack_attempt(attempt) for attempt in hop.attempts])
        message.views.extend([_pack_view(view) for view in hop.views])
        message.granted_views.extend([_pack_view(view) for view in hop.granted_views])

    return message


def unpack_hop(message: wire.Hop) -> Hop:
    """
    Read a hop.
    """
    hop = Hop(message.index, message.visit, message.node, ROLES.word(message.role), message.started_us)
    hop.status = HOP_STATUSES.word(message.status)
    hop.latency_us = message.latency_us
    hop.engine_us = message.engine_us
    hop.budget_wait_us = message.budget_wait_us
    hop.backoff_us = message.backoff_us
    hop.glimpse = _unpack_glimpse(message.glimpse) if message.HasField("glimpse") else None
    hop.scope = message.scope
    hop.timing = Timing(message.queue_us, message.connect_us, message.first_byte_us)
    hop.attempts = tuple(_unpack_attempt(attempt) for attempt in message.attempts)
    hop.usage = unpack_usage(message.usage)
    hop.need = unpack_need(message.need) if message.HasField("need") else None
    hop.cost_nano_usd = message.cost_nano_usd
    hop.basis = BASES.word(message.cost_basis)
    hop.outputs = unpack_values(message.outputs)
    hop.granted_views = tuple(_unpack_view(view) for view in message.granted_views)
    hop.views = tuple(_unpack_view(view) for view in message.views)
    hop.error_class = message.error_class
    hop.message = message.message
    hop.considered = unpack_considered(message.decision.considered)
    if message.HasField("decision"):
        hop.decision = _unpack_decision(message)
        hop.edge = hop.decision.to

    return hop


def _pack_glimpse(glimpse: Glimpse) -> wire.Glimpse:
    return wire.Glimpse(
        at_us=glimpse.at_us, tokens=glimpse.tokens, outputs=pack_values(glimpse.outputs), committed=glimpse.committed
    )


def _unpack_glimpse(message: wire.Glimpse) -> Glimpse:
    return Glimpse(message.at_us, message.tokens, unpack_values(message.outputs), message.committed)


def pack_decision(decision: Decision, considered: Iterable[Considered]) -> wire.Decision:
    """
    Make a message of *decision*, with the edges it considered.
    """
    return wire.Decision(
        section=SECTIONS.number[decision.section],
        edge=None if decision.edge < 0 else decision.edge,
        to=decision.to,
        considered=[
            wire.ConsideredEdge(to=edge.to, guard=edge.guard, verdict=VERDICTS.number[edge.verdict]) for edge in considered
        ],
    )


def _unpack_decision(hop: wire.Hop) -> Decision:
    left = hop.decision
    section = SECTIONS.word(left.section)

    return Decision(
        hop=hop.index,
        section=section,
        edge=left.edge if left.HasField("edge") else -1,
        to=left.to,
        verdicts="".join(_MARKS[VERDICTS.word(edge.verdict)] for edge in left.considered),
        error_class=hop.error_class if section == "on_error" else "",
    )


def unpack_considered(messages: Iterable[wire.ConsideredEdge]) -> tuple[Considered, ...]:
    """
    Read the edges that a decision considered.
    """
    return tuple(Considered(edge.to, edge.guard, VERDICTS.word(edge.verdict)) for edge in messages)


def _pack_attempt(attempt: Attempt) -> wire.Attempt:
    return wire.Attempt(
        started_us=attempt.started_at,
        latency_us=attempt.latency_us,
        status=ATTEMPT_STATUSES.number[attempt.status],
        **attempt.timing._asdict(),
        usage=pack_usage(attempt.usage),
        cost_basis=BASES.number[attempt.basis],
        budget_wait_us=attempt.waited_us,
        cache_age_us=attempt.cache_age_us,
        **{name: getattr(attempt, name) for name in _SAME},
    )


def _unpack_attempt(message: wire.Attempt) -> Attempt:
    return Attempt(
        started_at=message.started_us,
        latency_us=message.latency_us,
        status=ATTEMPT_STATUSES.word(message.status),
        timing=Timing(message.queue_us, message.connect_us, message.first_byte_us),
        usage=unpack_usage(message.usage),
        basis=BASES.word(message.cost_basis),
        waited_us=message.budget_wait_us,
        cache_age_us=message.cache_age_us if message.HasField("cache_age_us") else None,
        **{name: getattr(message, name) for name in _SAME},
    )


# The fields of an attempt that have the same name and type on both sides.
_SAME = (
    "error_class", "message", "reserved_nano_usd", "cost_nano_usd", "backend", "model", "finish_reason", "simulated", "span_id",
    "endpoint", "hedge", "backoff_us", "tokens_seen",
)  # fmt: skip


def _pack_view(view: View) -> wire.ScopeView:
    return wire.ScopeView(scope=view.scope, caps=pack_caps(view.caps), used=pack_amount(view.used), away=view.away)


def _unpack_view(message: wire.ScopeView) -> View:
    return View(message.scope, unpack_caps(message.caps), unpack_amount(message.used), message.away)


# ---- lists ----------------------------------------------------------------------------------------------------------


def pack_summary(summary: Summary) -> trace.TraversalSummary:
    """
    Make a message of what a list says of a record.
    """
    return trace.TraversalSummary(
        traversal_id=summary.traversal_id,
        trace_id=summary.trace_id,
        plan=pack_plan_ref(summary.plan),
        scopes=pack_scopes(summary.scopes),
        outcome=OUTCOMES.number[summary.outcome],
        cause=summary.cause,
        path=summary.path,
        answer_node=summary.answer_node,
        began=pack_time(summary.began_unix_us),
        latency_us=summary.latency_us,
        engine_us=summary.engine_us,
        cost_nano_usd=summary.cost_nano_usd,
    )


def unpack_summary(message: trace.TraversalSummary) -> Summary:
    """
    Read what a list says of a record.
    """
    return Summary(
        traversal_id=message.traversal_id,
        trace_id=message.trace_id,
        plan=unpack_plan(message.plan),
        scopes=unpack_scopes(message.scopes),
        outcome=OUTCOMES.word(message.outcome),
        cause=message.cause,
        path=tuple(message.path),
        answer_node=message.answer_node,
        began_unix_us=unpack_time(message.began),
        latency_us=message.latency_us,
        engine_us=message.engine_us,
        cost_nano_usd=message.cost_nano_usd,
    )
