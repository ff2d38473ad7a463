"""
Replies and the events of a stream, to the wire and from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from meshwalk.records.events import AnswerDelta, Committed, Event, HopFinished, HopStarted, answer_deltas
from meshwalk.records.hops import Hop, hops_of
from meshwalk.records.results import Figures, RouteResult
from meshwalk.trace import ToolCall, Traversal
from meshwalk.wire.convert.compact import keep_template
from meshwalk.wire.convert.enums import BASES, OUTCOMES, ROLES
from meshwalk.wire.convert.hops import Prototypes, pack_hop, unpack_hop
from meshwalk.wire.convert.records import Totals, fill_record, unpack_record
from meshwalk.wire.convert.values import (
    fill_usage,
    pack_plan_of,
    pack_tool_calls,
    unpack_plan,
    unpack_tool_calls,
    unpack_usage,
)
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2 as routing
from meshwalk.wire.types import Detail


def pack_reply(
    traversal: Traversal,
    answer: str,
    finish_reason: str,
    prototypes: Prototypes | None,
    detail: Detail = "NONE",
    *,
    repeated: bool = False,
    tool_calls: Sequence[ToolCall] = (),
    carried: str = "",
) -> routing.RouteResponse:
    """
    Make the reply to a request whose walk did not fail.

    Args:
        prototypes: Of the plan that was walked; None if that plan is gone, so that the reply has no record.
        detail: The part of the record that the reply carries.
        repeated: True if an earlier call made the walk.
    """
    message, finish, path = routing.RouteResponse(), traversal.finish, traversal.path
    hops = None if prototypes is None else hops_of(traversal, prototypes.plan)
    totals = Totals.of_calls(traversal) if hops is None else Totals.of_hops(hops, traversal.latency_us)
    if prototypes is None or hops is None or detail == "NONE":
        message.plan.CopyFrom(pack_plan_of(traversal) if prototypes is None else prototypes.ref)
        message.path.extend(path)
    else:
        message.CopyFrom(prototypes.reply(hops))
        fill_record(message.traversal, traversal, hops, totals, full=detail == "FULL")
    message.traversal_id = traversal.traversal_id
    message.trace_id = traversal.trace_id
    fill_usage(message.usage, totals.usage)
    message.cost_nano_usd = totals.cost_nano_usd
    message.cost_basis = totals.basis
    message.latency_us = totals.latency_us
    message.engine_us = totals.engine_us
    message.replayed = repeated
    message.outcome = OUTCOMES.number[finish.outcome]
    if finish.answer_hop is None:
        message.refusal.node, message.refusal.reason = finish.node, finish.message
    else:
        packed = message.answer
        packed.text, packed.node, packed.finish_reason = answer, path[finish.answer_hop], finish_reason
        packed.simulated = traversal.trace.simulated_at(finish.answer_hop)
        if tool_calls:
            packed.tool_calls.extend(pack_tool_calls(tool_calls))
        if carried:
            packed.carried = carried
    if detail != "FULL" and prototypes is not None and not (repeated or tool_calls or carried):
        keep_template(prototypes, traversal, message, detail)

    return message


def unpack_reply(message: routing.RouteResponse) -> RouteResult:
    """
    Read a reply.
    """
    answer, refusal = message.answer, message.refusal
    figures = Figures(
        traversal_id=message.traversal_id,
        trace_id=message.trace_id,
        plan=unpack_plan(message.plan),
        outcome=OUTCOMES.word(message.outcome),
        node=answer.node or refusal.node,
        reason=refusal.reason,
        simulated=answer.simulated,
        path=tuple(message.path),
        usage=unpack_usage(message.usage),
        cost_nano_usd=message.cost_nano_usd,
        basis=BASES.word(message.cost_basis),
        latency_us=message.latency_us,
        engine_us=message.engine_us,
    )

    return RouteResult(
        figures,
        None,
        answer.text,
        answer.finish_reason,
        repeated=message.replayed,
        tool_calls=unpack_tool_calls(answer.tool_calls),
        carried=answer.carried,
        # Most callers only want the answer, and need not wait for the record to be read.
        read=partial(unpack_record, message.traversal) if message.HasField("traversal") else None,
    )


# ---- events of a stream ---------------------------------------------------------------------------------------------


def pack_started(event: HopStarted) -> routing.RouteStreamResponse:
    """
    Tell that a hop started.
    """
    started = routing.HopStarted(hop=event.hop, node=event.node, role=ROLES.number[event.role], started_us=event.started_us)

    return routing.RouteStreamResponse(hop_started=started)


def pack_finished(hop: Hop, prototypes: Prototypes, *, full: bool) -> routing.RouteStreamResponse:
    """
    Tell that *hop* ended.
    """
    return routing.RouteStreamResponse(hop_finished=routing.HopFinished(hop=pack_hop(hop, prototypes, full=full)))


def pack_committed(event: Committed) -> routing.RouteStreamResponse:
    """
    Tell that a hop's reply will be served.
    """
    return routing.RouteStreamResponse(committed=routing.Committed(hop=event.hop))


def pack_delta(event: AnswerDelta) -> routing.RouteStreamResponse:
    """
    Give a piece of the answer as it came.
    """
    return routing.RouteStreamResponse(answer_delta=routing.AnswerDelta(hop=event.hop, text=event.text))


def pack_deltas(hop: int, answer: str) -> Iterator[routing.RouteStreamResponse]:
    """
    Give *answer* in pieces.
    """
    for delta in answer_deltas(hop, answer):
        yield pack_delta(delta)


def pack_final(reply: routing.RouteResponse) -> routing.RouteStreamResponse:
    """
    End a stream with the whole reply.
    """
    return routing.RouteStreamResponse(reply=reply)


def unpack_event(message: routing.RouteStreamResponse) -> Event | None:
    """
    Read an event; None if it is of a kind that this meshwalk does not know.
    """
    match message.WhichOneof("event"):
        case "hop_started":
            started = message.hop_started
            return HopStarted(started.hop, started.node, ROLES.word(started.role), started.started_us)
        case "hop_finished":
            return HopFinished(unpack_hop(message.hop_finished.hop))
        case "committed":
            return Committed(message.committed.hop)
        case "answer_delta":
            return AnswerDelta(message.answer_delta.hop, message.answer_delta.text)
        case "reply":
            return unpack_reply(message.reply)
        case _:
            return None
