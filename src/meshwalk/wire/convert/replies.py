"""
Replies and the events of a stream, to the wire and from it.

A reply without a record is what most calls ask for, so it is made in one pass over the calls, and no hop is put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshwalk.hops import Hop
from meshwalk.trace import Attempt, Outcome, Replied, ToolCall, Traversal
from meshwalk.wire.convert.records import Totals, pack_hop, unpack_hop, unpack_record
from meshwalk.wire.convert.values import (
    BASES,
    OUTCOMES,
    ROLES,
    pack_tool_calls,
    unpack_plan,
    unpack_tool_calls,
    unpack_usage,
)
from meshwalk.wire.gen.meshwalk.v1 import common_pb2 as common
from meshwalk.wire.gen.meshwalk.v1 import routing_pb2 as routing
from meshwalk.wire.gen.meshwalk.v1 import traversal_pb2 as wire
from meshwalk.wire.words import AnswerDelta, Committed, Event, HopFinished, HopStarted, Routed


# A piece of an answer is small beside any limit on the size of a message, whatever its characters are.
DELTA_CHARACTERS = 4_096


def pack_reply(
    traversal: Traversal,
    answer: str,
    finish_reason: str,
    plan: common.PlanRef,
    record: wire.Traversal | None = None,
    *,
    repeated: bool = False,
    tool_calls: Iterable[ToolCall] = (),
) -> routing.RouteResponse:
    """
    Make the reply to a request whose walk did not fail.

    Args:
        repeated: Whether an earlier call made the walk.
    """
    finish, totals = traversal.finish, Totals(traversal)
    message = routing.RouteResponse(
        traversal_id=traversal.traversal_id,
        plan=plan,
        outcome=OUTCOMES.number[finish.outcome],
        path=traversal.path,
        usage=totals.usage,
        cost_nano_usd=totals.cost_nano_usd,
        cost_basis=totals.basis,
        latency_us=traversal.latency_us,
        engine_us=totals.engine_us,
        trace_id=traversal.trace_id,
        traversal=record,
        repeated=repeated,
    )
    if finish.outcome is Outcome.ANSWERED:
        message.answer.text = answer
        message.answer.node = traversal.answer_node
        message.answer.finish_reason = finish_reason
        message.answer.simulated = _served_call(traversal).simulated
        message.answer.tool_calls.extend(pack_tool_calls(tool_calls))
    else:
        message.refusal.node = finish.node
        message.refusal.reason = finish.message

    return message


def _served_call(traversal: Traversal) -> Attempt:
    """
    Return the call whose reply was served.
    """
    hop = traversal.finish.answer_hop

    return next(entry.attempts[-1] for entry, _ in traversal.steps if isinstance(entry, Replied) and entry.hop == hop)


def unpack_reply(message: routing.RouteResponse) -> Routed:
    """
    Read a reply.
    """
    answer, refusal = message.answer, message.refusal

    return Routed(
        traversal_id=message.traversal_id,
        trace_id=message.trace_id,
        plan=unpack_plan(message.plan),
        outcome=OUTCOMES.word(message.outcome),
        answer=answer.text,
        node=answer.node or refusal.node,
        finish_reason=answer.finish_reason,
        reason=refusal.reason,
        simulated=answer.simulated,
        path=tuple(message.path),
        usage=unpack_usage(message.usage),
        cost_nano_usd=message.cost_nano_usd,
        basis=BASES.word(message.cost_basis),
        latency_us=message.latency_us,
        engine_us=message.engine_us,
        tool_calls=unpack_tool_calls(answer.tool_calls),
        repeated=message.repeated,
        record=unpack_record(message.traversal) if message.HasField("traversal") else None,
    )


# ---- events of a stream ---------------------------------------------------------------------------------------------


def pack_started(event: HopStarted) -> routing.RouteStreamResponse:
    """
    Tell that a hop started.
    """
    started = routing.HopStarted(hop=event.hop, node=event.node, role=ROLES.number[event.role], started_us=event.started_us)

    return routing.RouteStreamResponse(hop_started=started)


def pack_finished(hop: Hop, *, full: bool) -> routing.RouteStreamResponse:
    """
    Tell that *hop* ended.
    """
    return routing.RouteStreamResponse(hop_finished=routing.HopFinished(hop=pack_hop(hop, full=full)))


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
    for start in range(0, len(answer), DELTA_CHARACTERS):
        yield pack_delta(AnswerDelta(hop, answer[start : start + DELTA_CHARACTERS]))


def pack_final(reply: routing.RouteResponse) -> routing.RouteStreamResponse:
    """
    End a stream with the whole reply.
    """
    return routing.RouteStreamResponse(final=reply)


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
        case "final":
            return unpack_reply(message.final)
        case _:
            return None
