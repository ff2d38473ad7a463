"""
What a graph would do, to the wire and from it.
"""

# ruff: noqa: D102 (the engine's own classes say what these properties are)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from meshwalk.model import Value
from meshwalk.plan import Plan
from meshwalk.records.hops import considered, need_of
from meshwalk.trace import Decision, Outcome, Reserve
from meshwalk.wire.convert.hops import pack_decision, unpack_considered
from meshwalk.wire.convert.values import (
    OUTCOMES,
    VERDICTS,
    pack_need,
    pack_plan,
    pack_values,
    unpack_need,
    unpack_plan,
    unpack_values,
)
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2 as common
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2 as routing
from meshwalk.wire.types import Decided, FreeHop, PreviewEdge


class PreviewedEdge(Protocol):
    """
    Show an edge as the engine does, which stands above this room.
    """

    @property
    def to(self) -> str: ...
    @property
    def guard(self) -> str: ...
    @property
    def needs(self) -> tuple[str, ...]: ...
    @property
    def verdict(self) -> bool | None: ...


class Previewed(Protocol):
    """
    Look ahead as the engine does, which stands above this room.
    """

    @property
    def path(self) -> tuple[str, ...]: ...
    @property
    def outcome(self) -> Outcome | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def outputs(self) -> Mapping[str, Mapping[str, Value]]: ...
    @property
    def decisions(self) -> tuple[Decision, ...]: ...
    @property
    def next(self) -> str: ...
    @property
    def need(self) -> Reserve | None: ...
    @property
    def edges(self) -> Sequence[PreviewedEdge]: ...


_VERDICTS: Mapping[bool | None, str] = {True: "held", False: "not held", None: "undetermined"}
_HELD = {VERDICTS.number[word]: verdict for verdict, word in _VERDICTS.items()}


def pack_decided(preview: Previewed, plan: Plan) -> routing.DecideResponse:
    """
    Make a message of *preview*, which looked at *plan*.
    """
    need = preview.need

    return routing.DecideResponse(
        plan=pack_plan(plan),
        path=preview.path,
        outcome=common.OUTCOME_UNSPECIFIED if preview.outcome is None else OUTCOMES.number[preview.outcome],
        hops=[_pack_free(hop, node, preview, plan) for hop, node in enumerate(preview.path) if node != preview.next],
        next=preview.next,
        need=None if need is None else pack_need(need_of(need)),
        considered=[
            routing.PreviewEdge(
                to=edge.to, guard=edge.guard, needs=edge.needs, verdict=VERDICTS.number[_VERDICTS[edge.verdict]]
            )
            for edge in preview.edges
        ],
        reason=preview.reason,
    )


def _pack_free(hop: int, node: str, preview: Previewed, plan: Plan) -> routing.FreeHop:
    left = next((decision for decision in preview.decisions if decision.hop == hop), None)

    return routing.FreeHop(
        node=node,
        outputs=pack_values(preview.outputs.get(node, {})),
        decision=None if left is None else pack_decision(left, considered(left, plan.node(node))),
    )


def unpack_decided(message: routing.DecideResponse) -> Decided:
    """
    Read what a graph would do.
    """
    return Decided(
        plan=unpack_plan(message.plan),
        path=tuple(message.path),
        outcome=None if message.outcome == common.OUTCOME_UNSPECIFIED else OUTCOMES.word(message.outcome),
        reason=message.reason,
        hops=tuple(_unpack_free(hop) for hop in message.hops),
        next=message.next,
        need=unpack_need(message.need) if message.HasField("need") else None,
        edges=tuple(
            PreviewEdge(edge.to, edge.guard, tuple(edge.needs), _HELD.get(edge.verdict)) for edge in message.considered
        ),
    )


def _unpack_free(message: routing.FreeHop) -> FreeHop:
    left = message.decision

    return FreeHop(message.node, unpack_values(message.outputs), left.to, unpack_considered(left.considered))
