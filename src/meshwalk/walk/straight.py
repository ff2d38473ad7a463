"""
A walk for as long as nothing but the usual happens.

Most walks are granted what they ask for, are answered by whom they call, and take an edge of `next` to a node that they may
visit.  `StraightWalk` decides those as `Walk` does, and keeps one `Leg` a hop in place of entries and wishes, which is what
makes it quick.  At anything else it stops, having changed nothing: `walk.entries()` then tells what happened so far, and an
ordinary `Walk` that is fed it goes on from there, and decides whatever it is that was not straight.

Laws of this room:

1. A straight walk decides as `Walk` does, or not at all.
2. Like that, it owns no clock and no ledger of what others spend: what is reserved in shared scopes it is told as views.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from meshwalk.guards import Test
from meshwalk.model import DONE, Limits, Value
from meshwalk.plan import DONE_INDEX, EdgePlan, NodePlan, Plan
from meshwalk.trace import Called, Facts, Leg, Straight, View
from meshwalk.walk import values


class _Way(NamedTuple):
    """
    Hold an edge of `next`.

    Args:
        verdicts: What is recorded when no edge before it held.
    """

    test: Test | None
    to: int
    answer: int | None
    name: str
    verdicts: str


class Stop:
    """
    Hold what a straight walk needs of a node.

    Args:
        plain: Whether a straight walk may come here at all.
    """

    __slots__ = (
        "calls", "deadline_us", "index", "min_time_us", "most_visits", "name", "node", "plain", "reason", "serves",
        "status_slot", "visits_slot", "ways", "writes",
    )  # fmt: skip

    def __init__(self, node: NodePlan, names: Sequence[str]) -> None:
        self.index = node.index
        self.name = node.name
        self.node = node
        self.calls = node.calls
        self.serves = node.serves
        self.deadline_us = node.node.deadline_us
        self.min_time_us = node.node.min_time_us
        self.reason = node.node.reason if node.role == "refusal" else None
        self.plain = node.calls or not node.reserves or self.reason is not None
        self.most_visits = node.node.visits
        self.status_slot = node.status_slot
        self.visits_slot = node.visits_slot
        self.writes = node.writes
        last = len(node.next) - 1
        self.ways = tuple(
            _Way(edge.test, edge.to, edge.answer, _name(edge, names), "n" * position + "y" + "-" * (last - position))
            for position, edge in enumerate(node.next)
        )


def _name(edge: EdgePlan, names: Sequence[str]) -> str:
    return DONE if edge.to == DONE_INDEX else names[edge.to]


class Course:
    """
    Hold what straight walks over *plan* have in common.
    """

    __slots__ = ("cyclic", "plan", "reads_time", "stops")

    def __init__(self, plan: Plan) -> None:
        names = [node.name for node in plan.nodes]
        self.plan = plan
        self.stops = tuple(Stop(node, names) for node in plan.nodes)
        # A cycle has a node with more than one visit in it, or the plan would not have compiled.
        self.cyclic = any(node.node.visits > 1 for node in plan.nodes)
        self.reads_time = "elapsed" in plan.slots or "deadline.left" in plan.slots


class StraightWalk:
    """
    Decide a walk on *course* under its effective *limits*.

    Args:
        views: How budgets stand, where more than the walk's own limits count.

    Attributes:
        stop: The node whose hop is under way; None once the walk is over, or has to go on as a `Walk`.
        over: Whether it has come to its end.
        deadline_at: By when the hop under way must be done.
        answer_hop: Once it is over: whose reply is served; None if it was refused.
    """

    __slots__ = (
        "_calls", "_cost", "_course", "_facts", "_input", "_last_answer", "_legs", "_limits", "_output", "_refused_by",
        "_replies", "_started_us", "_values", "_views", "_visits", "answer_hop", "deadline_at", "over", "stop",
    )  # fmt: skip

    def __init__(self, course: Course, facts: Facts, limits: Limits, views: tuple[View, ...] = ()) -> None:
        self._course = course
        self._facts = facts
        self._limits = limits
        self._values = values.start(course.plan, facts)
        self._visits: dict[int, int] = {}
        # By the index of a node: the hop of its latest reply.
        self._replies: dict[int, int] = {}
        self._last_answer: int | None = None
        self._cost = self._input = self._output = self._calls = 0
        self._legs: list[Leg] = []
        self._views = views
        if views:
            values.see(course.plan, self._values, views)
        self._refused_by: Stop | None = None
        self.over = False
        self.stop: Stop | None = None
        self.answer_hop: int | None = None
        self.deadline_at = self._started_us = 0
        self._enter(course.plan.start, 0)

    @property
    def hop(self) -> int:
        """
        Count the hops that are over, which is the number of the one under way.
        """
        return len(self._legs)

    @property
    def path(self) -> list[str]:
        """
        Name the node of each hop, the one under way included.
        """
        path = [leg.node for leg in self._legs]

        return path if self.stop is None else [*path, self.stop.name]

    def told(self) -> Straight:
        """
        Return the walk so far.
        """
        by = self._refused_by
        refused_by, reason = ("", "") if by is None else (by.name, by.reason or "")

        return Straight(self._facts, self._limits, tuple(self._legs), self.answer_hop, refused_by, reason, self._views)

    def affords(self, cost: int | None, inputs: int, outputs: int | None) -> bool:
        """
        Tell whether the walk's own limits leave room for a call that needs so much at most.
        """
        _, _, most_cost, _, most_outputs, most_inputs, most_calls = self._limits
        if most_cost is not None and (cost is None or (cost and self._cost + cost > most_cost)):
            return False
        if most_outputs is not None and (outputs is None or (outputs and self._output + outputs > most_outputs)):
            return False
        if most_inputs is not None and inputs and self._input + inputs > most_inputs:
            return False

        return most_calls is None or self._calls < most_calls

    def see(self, views: tuple[View, ...]) -> None:
        """
        Take how budgets stand.
        """
        values.see(self._course.plan, self._values, views)

    def left(self, at: int, outputs: Mapping[str, Value], call: Called | None) -> None:
        """
        Take that the hop was over *at*, and go on.
        """
        stop, held = self.stop, self._values
        assert stop is not None, "no hop is under way"
        for name, slot in stop.writes:
            held[slot] = outputs.get(name)
        if stop.status_slot >= 0:
            held[stop.status_slot] = "ok"
        if call is not None:
            self._note(stop, call)
        if self._course.reads_time:
            assert self._limits.deadline_us is not None, "limits are effective ones"
            values.tell_time(self._course.plan, held, at, self._limits.deadline_us)
        self.stop = None
        edge, verdicts = self._choose(stop)
        way = stop.ways[edge]
        self._legs.append(Leg(stop.name, self._started_us, self.deadline_at, at, outputs, edge, way.name, verdicts, call))
        if verdicts:
            self._follow(way, at)

    def _note(self, stop: Stop, call: Called) -> None:
        hop = len(self._legs)
        self._replies[stop.index] = hop
        if stop.serves:
            self._last_answer = hop
        usage = call.usage
        self._cost += call.cost_nano_usd
        self._input += usage[0]
        self._output += usage[1]
        self._calls += 1

    def _choose(self, stop: Stop) -> tuple[int, str]:
        """
        Return the first edge that holds, and a verdict for each; no verdicts if `Walk` has to decide.
        """
        held = self._values
        for edge, way in enumerate(stop.ways):
            verdict = True if way.test is None else way.test(held)
            if verdict:
                return edge, "" if self._is_spent(way) else way.verdicts
            if verdict is None:
                break

        return self._choose_in_doubt(stop)

    def _choose_in_doubt(self, stop: Stop) -> tuple[int, str]:
        verdicts = ""
        for edge, way in enumerate(stop.ways):
            verdict = True if way.test is None else way.test(self._values)
            if verdict:
                return edge, "" if self._is_spent(way) else verdicts + way.verdicts[edge:]
            verdicts += "u" if verdict is None else "n"
        raise AssertionError("the last edge of `next` has no guard")

    def _is_spent(self, way: _Way) -> bool:
        to = way.to

        return self._course.cyclic and to != DONE_INDEX and self._visits.get(to, 0) >= self._course.stops[to].most_visits

    def _follow(self, way: _Way, at: int) -> None:
        if way.to != DONE_INDEX:
            self._enter(way.to, at)
            return
        answer = self._last_answer if way.answer is None else self._replies.get(way.answer)
        if answer is not None:
            self.answer_hop = answer
            self.over = True

    def _enter(self, to: int, at: int) -> None:
        stop, limits = self._course.stops[to], self._limits
        most_hops, walk_deadline_at = limits[0], limits[1]
        assert most_hops is not None, "limits are effective ones"
        assert walk_deadline_at is not None, "limits are effective ones"
        if len(self._legs) >= most_hops or not stop.plain:
            return
        if self._course.cyclic or stop.visits_slot >= 0:
            self._visits[to] = visits = self._visits.get(to, 0) + 1
            if stop.visits_slot >= 0:
                self._values[stop.visits_slot] = float(visits)
        if stop.reason is not None:
            self._refused_by = stop
            self.over = True
            return
        own_us = stop.deadline_us
        self.deadline_at = walk_deadline_at if own_us is None else min(walk_deadline_at, at + own_us)
        if stop.calls and (at >= walk_deadline_at or walk_deadline_at - at < stop.min_time_us):
            return
        self._started_us = at
        self.stop = stop
