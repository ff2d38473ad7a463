"""
Previews of walks, to the wire and from it.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwalk.plan import Plan
from meshwalk.records.hops import Verdict
from meshwalk.records.previews import FreeHop, Preview, PreviewEdge
from meshwalk.trace import Decision
from meshwalk.wire.convert.enums import OUTCOMES, SECTIONS, VERDICTS
from meshwalk.wire.convert.hops import pack_decision, unpack_considered
from meshwalk.wire.convert.values import (
    pack_plan,
    pack_values,
    pack_worst_case,
    unpack_plan,
    unpack_values,
    unpack_worst_case,
)
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2 as common
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2 as routing


_VERDICTS: Mapping[bool | None, Verdict] = {True: "held", False: "not_held", None: "undetermined"}
_HELD = {VERDICTS.number[word]: verdict for verdict, word in _VERDICTS.items()}


def pack_preview(preview: Preview, plan: Plan) -> routing.DecideResponse:
    """
    Make a message of *preview*, which looked at *plan*.
    """
    return routing.DecideResponse(
        plan=pack_plan(plan),
        path=preview.path,
        outcome=common.OUTCOME_UNSPECIFIED if preview.outcome is None else OUTCOMES.number[preview.outcome],
        hops=[_pack_free(hop) for hop in preview.hops],
        next_node=preview.next,
        worst_case=None if preview.need is None else pack_worst_case(preview.need),
        considered=[
            routing.PreviewEdge(
                to=edge.to, guard=edge.guard, needs=edge.needs, verdict=VERDICTS.number[_VERDICTS[edge.verdict]]
            )
            for edge in preview.edges
        ],
        reason=preview.reason,
    )


def _pack_free(hop: FreeHop) -> routing.FreeHop:
    decision = None if hop.section is None else Decision(0, hop.section, hop.position, hop.edge, "")

    return routing.FreeHop(
        node=hop.node,
        outputs=pack_values(hop.outputs),
        decision=None if decision is None else pack_decision(decision, hop.considered),
    )


def unpack_preview(message: routing.DecideResponse) -> Preview:
    """
    Read a preview.
    """
    return Preview(
        plan=unpack_plan(message.plan),
        path=tuple(message.path),
        outcome=None if message.outcome == common.OUTCOME_UNSPECIFIED else OUTCOMES.word(message.outcome),
        reason=message.reason,
        hops=tuple(_unpack_free(hop) for hop in message.hops),
        next=message.next_node,
        need=unpack_worst_case(message.worst_case) if message.HasField("worst_case") else None,
        edges=tuple(
            PreviewEdge(edge.to, edge.guard, tuple(edge.needs), _HELD.get(edge.verdict)) for edge in message.considered
        ),
    )


def _unpack_free(message: routing.FreeHop) -> FreeHop:
    outputs = unpack_values(message.outputs)
    if not message.HasField("decision"):
        return FreeHop(message.node, outputs)
    decision = message.decision

    return FreeHop(
        message.node,
        outputs,
        decision.to,
        unpack_considered(decision.considered),
        SECTIONS.word(decision.section),
        decision.edge if decision.HasField("edge") else -1,
    )
