"""
A record read back as hops: the one place where latency, tokens, cost and the edges considered are put together.

A traversal keeps entries, wishes and decisions; people, spans and the wire want hops.  All of them ask here, so that a span and
an RPC never tell two stories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from meshwalk.model import Role, Value
from meshwalk.plan import EdgePlan, NodePlan, Plan
from meshwalk.trace import (
    Attempt,
    Basis,
    Began,
    Call,
    Cancelled,
    Decision,
    Denied,
    Failed,
    Finish,
    Granted,
    Outcome,
    Replied,
    Reserve,
    Settle,
    TimedOut,
    Timing,
    Traversal,
    Usage,
    View,
    total_usage,
    weakest,
)


HopStatus = Literal["ok", "failed", "timeout", "cancelled", "denied", "skipped", "refused"]

VERDICTS: Mapping[str, str] = {
    "y": "held",
    "n": "not held",
    "u": "undetermined",
    "s": "visits spent",
    "c": "another class",
    "-": "not looked at",
}


class Considered:
    """
    Show one edge that a decision looked at, or did not need to.
    """

    __slots__ = ("guard", "to", "verdict")

    def __init__(self, to: str, guard: str, verdict: str) -> None:
        self.to = to
        self.guard = guard
        self.verdict = verdict


class Hop:
    """
    Show one visit to a node.

    Args:
        visit: Which visit to this node it is, from 1.
        latency_us: From the decision to come here to the entry that closed the hop.
        engine_us: The part of it that was not spent in calls.
        edge: Where the walk went from here; empty if it ended here.
        considered: Every edge of the section that decided, in order.
    """

    __slots__ = (
        "attempts", "basis", "considered", "cost_nano_usd", "edge", "engine_us", "error_class", "index", "latency_us",
        "message", "node", "outputs", "reserved_nano_usd", "role", "started_us", "status", "timing", "usage", "views", "visit",
    )  # fmt: skip

    def __init__(self, index: int, visit: int, node: str, role: Role, started_us: int) -> None:
        self.index = index
        self.visit = visit
        self.node = node
        self.role = role
        self.started_us = started_us
        self.status: HopStatus = "skipped"
        self.latency_us = 0
        self.engine_us = 0
        self.timing = Timing()
        self.attempts: tuple[Attempt, ...] = ()
        self.usage = Usage()
        self.reserved_nano_usd = 0
        self.cost_nano_usd = 0
        self.basis: Basis = "none"
        self.outputs: Mapping[str, Value] = {}
        self.views: tuple[View, ...] = ()
        self.error_class = ""
        self.message = ""
        self.edge = ""
        self.considered: tuple[Considered, ...] = ()

    def close(self, entry: Replied | Failed | TimedOut | Cancelled | Denied) -> None:
        """
        Fill in what *entry* says.
        """
        self.latency_us = entry.at - self.started_us
        match entry:
            case Denied():
                self.status, self.error_class, self.message, self.views = "denied", "budget", entry.message, entry.views
                self.engine_us = self.latency_us
                return
            case Replied():
                self.status, self.outputs = "ok", entry.outputs
            case Failed():
                self.status, self.error_class, self.message = "failed", entry.error_class, entry.message
            case TimedOut():
                self.status, self.error_class, self.message = "timeout", "timeout", entry.message
            case Cancelled():
                self.status = "cancelled"
        self._add_up(entry.attempts)

    def _add_up(self, attempts: tuple[Attempt, ...]) -> None:
        self.attempts = attempts
        self.engine_us = self.latency_us - sum(attempt.latency_us for attempt in attempts)
        self.timing = Timing._make(sum(times) for times in zip(*(attempt.timing for attempt in attempts), strict=True)) \
            if attempts else Timing()  # fmt: skip
        self.usage = total_usage(iter(attempts))
        self.cost_nano_usd = sum(attempt.cost_nano_usd for attempt in attempts)
        self.basis = weakest(attempt.basis for attempt in attempts)


def hops_of(traversal: Traversal, plan: Plan) -> list[Hop]:
    """
    Put *traversal* together as hops, in order; *plan* is the plan it walked.
    """
    return assemble(traversal.path, traversal.steps, traversal.decisions, plan)


def assemble(
    path: Sequence[str],
    steps: Sequence[tuple[object, Sequence[object]]],
    decisions: Sequence[Decision],
    plan: Plan,
) -> list[Hop]:
    """
    Put the hops of a walk together, which may still be under way.
    """
    hops: list[Hop] = []
    seen: dict[str, int] = {}

    def open_up_to(index: int, at: int) -> None:
        while len(hops) <= index:
            node = path[len(hops)]
            seen[node] = seen.get(node, 0) + 1
            hops.append(Hop(len(hops), seen[node], node, plan.node(node).role, at))

    for entry, wishes in steps:
        match entry:
            case Granted():
                hops[entry.hop].views = entry.views
            case Denied() | Replied() | Failed() | TimedOut() | Cancelled():
                hops[entry.hop].close(entry)
            case Began():
                pass
        at: int = entry.at  # type: ignore[attr-defined]
        for wish in wishes:
            match wish:
                case Reserve():
                    open_up_to(wish.hop, at)
                    hops[wish.hop].reserved_nano_usd = wish.cost_nano_usd or 0
                case Call():
                    open_up_to(wish.hop, at)
                case Finish():
                    open_up_to(len(path) - 1, at)
                    if wish.outcome is Outcome.REFUSED:
                        hops[-1].status, hops[-1].message = "refused", wish.message
                case Settle():
                    pass
    for decision in decisions:
        _decide(hops[decision.hop], decision, plan)

    return hops


def considered(decision: Decision, node: NodePlan) -> tuple[Considered, ...]:
    """
    Show every edge that *decision*, made at *node*, looked at or did not need to, in order.
    """
    edges = node.next if decision.section == "next" else node.on_error

    return tuple(
        Considered(edge.edge.to, _condition(edge), VERDICTS[verdict])
        for edge, verdict in zip(edges, decision.verdicts, strict=True)
    )


def _decide(hop: Hop, decision: Decision, plan: Plan) -> None:
    hop.considered = considered(decision, plan.node(hop.node))
    hop.edge = decision.to
    if hop.status == "skipped":
        hop.error_class = decision.error_class


def _condition(edge: EdgePlan) -> str:
    if edge.edge.when is not None:
        return edge.edge.when

    return f"class in [{', '.join(edge.edge.classes)}]" if edge.edge.classes else "otherwise"
