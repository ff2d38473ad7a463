"""
Replies about walks that went straight, to the wire: what most callers are told, made quickly.

Two such walks that were left by the same edges differ in little but times, tokens and costs.  So the first reply of its kind,
made as any other is, becomes the prototype of those that follow: they are copies of it, in which everything that may differ is
set.  What a kind has in common is in its key, and nothing else is ever left as it was.
"""

from __future__ import annotations

from meshwalk.trace import Called, Leg, Straight, Traversal
from meshwalk.wire.convert.hops import Prototypes
from meshwalk.wire.convert.values import fill_time, fill_usage, fill_values
from meshwalk.wire.gen.meshwalk.v1 import routing_pb2 as routing
from meshwalk.wire.gen.meshwalk.v1 import traversal_pb2 as wire


def kind_of(straight: Straight) -> tuple[object, ...]:
    """
    Return what replies about walks of one kind have in common, beside what the plan says.
    """
    return straight.answer_hop, straight.refused_by, *[_kind(leg) for leg in straight.legs]


def _kind(leg: Leg) -> tuple[object, ...]:
    call = leg.call
    if call is None:
        return leg.node, leg.edge, leg.verdicts, *leg.outputs

    # Whether a bound is said at all, and how sure the cost is, is the same for all of a kind, too.
    return (
        leg.node, leg.edge, leg.verdicts, call.basis, call.simulated, call.cost_bound is None, call.output_bound is None,
        *leg.outputs,
    )  # fmt: skip


def keep_prototype(prototypes: Prototypes, straight: Straight, reply: routing.RouteResponse) -> None:
    """
    Keep *reply* as the prototype of its kind, if there is room.
    """
    made = routing.RouteResponse()
    made.CopyFrom(reply)
    for hop in made.traversal.hops:
        # Most calls have nothing to say of it, and those that do set it.
        hop.queue_us = hop.connect_us = hop.first_byte_us = 0
    prototypes.keep_straight(kind_of(straight), made, sum(1 + len(leg.verdicts) for leg in straight.legs))


def pack_straight(
    traversal: Traversal, straight: Straight, answer: str, finish_reason: str, prototypes: Prototypes
) -> routing.RouteResponse | None:
    """
    Make the reply to a request whose walk went straight, with its hops; None if there is no prototype of its kind.
    """
    prototype = prototypes.straight(kind_of(straight))
    if prototype is None:
        return None
    message = routing.RouteResponse()
    message.CopyFrom(prototype)
    record = message.traversal
    message.traversal_id = record.traversal_id = traversal.traversal_id
    message.trace_id = record.trace_id = traversal.trace_id
    record.span_id, record.parent_span_id = traversal.span_id, traversal.parent_span_id
    fill_time(record.began, traversal.began_unix_us)
    read = written = cached = reasoned = cost_nano_usd = calling_us = 0
    for hop, leg in zip(record.hops, straight.legs, strict=False):
        started_us = leg.started_us
        latency_us = leg.at - started_us
        hop.started_us = started_us
        hop.latency_us = latency_us
        fill_values(hop.outputs, leg.outputs)
        call = leg.call
        if call is None:
            hop.engine_us = latency_us
            continue
        call_us, counted, cost = call.latency_us, call.usage, call.cost_nano_usd
        hop.engine_us = latency_us - call_us
        _fill_call(hop, call)
        calling_us += call_us
        cost_nano_usd += cost
        read += counted[0]
        written += counted[1]
        cached += counted[2]
        reasoned += counted[3]
    latency_us = straight.latency_us
    if straight.refused_by:
        record.hops[-1].started_us = latency_us
    else:
        message.answer.text, message.answer.finish_reason = answer, finish_reason
    for told in (message, record):
        fill_usage(told.usage, (read, written, cached, reasoned))
        told.cost_nano_usd = cost_nano_usd
        told.latency_us = latency_us
        told.engine_us = latency_us - calling_us

    return message


def _fill_call(hop: wire.Hop, call: Called) -> None:
    hop.cost_nano_usd = call.cost_nano_usd
    fill_usage(hop.usage, call.usage)
    need = hop.need
    need.input_tokens = call.input_bound
    if call.cost_bound is not None:
        hop.reserved_nano_usd = need.cost_nano_usd = call.cost_bound
    if call.output_bound is not None:
        need.output_tokens = call.output_bound
    if any(call.timing):
        hop.queue_us, hop.connect_us, hop.first_byte_us = call.timing
