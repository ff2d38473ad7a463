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
from meshwalk.trace import Called, Facts, Leg, Straight, View, make_leg
from meshwalk.walk import values


class Way(NamedTuple):
    """
    Hold an edge of `next`.

    Args:
        to: None is `done`.
        answer: With that: the index of the node whose reply is served; None is the latest answer's.
        verdicts: What is recorded when no edge before it held.
    """

    test: Test | None
    to: Stop | None
    answer: int | None
    name: str
    verdicts: str


class Stop:
    """
    Hold what a straight walk needs of a node.

    Args:
        plain: Whether a straight walk may come here at all.
        passes: Whether coming here changes nothing but where the walk is: no visits are counted, and it does not end here.
        marks: Whether leaving it is noted beside its outputs.
        least_us: With less time than this left, it is not called.
        all_ways: Its edges of `next`, in order.
        ways: Those that are tried in order; none where some of them are looked up.
    """

    __slots__ = (
        "all_ways", "deadline_us", "index", "least_us", "marks", "most_visits", "name", "node", "passes", "plain", "reason",
        "serves", "status_slot", "visits_slot", "ways", "writes",
    )  # fmt: skip

    def __init__(self, node: NodePlan) -> None:
        own = node.node
        self.node = node
        self.index = node.index
        self.name = node.name
        self.serves = node.serves
        self.deadline_us = own.deadline_us
        self.reason = own.reason if node.role == "refusal" else None
        self.least_us = max(1, own.min_time_us) if node.calls else 0
        self.plain = node.calls or not node.reserves or self.reason is not None
        self.most_visits = own.visits
        self.status_slot = node.status_slot
        self.visits_slot = node.visits_slot
        self.writes = node.writes
        self.passes = self.plain and self.reason is None and self.visits_slot < 0
        self.marks = self.status_slot >= 0
        self.ways: tuple[Way, ...] = ()
        self.all_ways: tuple[Way, ...] = ()

    def open(self, stops: Sequence[Stop]) -> None:
        """
        Lead on to others of *stops*.
        """
        edges: Sequence[EdgePlan] = self.node.next
        last = len(edges) - 1
        self.all_ways = tuple(
            Way(
                edge.test,
                None if edge.to == DONE_INDEX else stops[edge.to],
                edge.answer,
                DONE if edge.to == DONE_INDEX else stops[edge.to].name,
                "n" * position + "y" + "-" * (last - position),
            )
            for position, edge in enumerate(edges)
        )
        if not self.node.runs:
            self.ways = self.all_ways


class Course:
    """
    Hold what straight walks over *plan* have in common.

    Args:
        asks_first: Whether guards read anything of the request itself.
    """

    __slots__ = ("asks_first", "plan", "start", "stops")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.stops = tuple(Stop(node) for node in plan.nodes)
        for stop in self.stops:
            stop.open(self.stops)
        self.start = self.stops[plan.start]
        self.asks_first = bool(plan.fits or plan.watched) or any(slot.startswith("request.") for slot in plan.slots)
        # A cycle has a node with more than one visit in it, or the plan would not have compiled.
        cyclic = any(node.node.visits > 1 for node in plan.nodes)
        reads_time = "elapsed" in plan.slots or "deadline.left" in plan.slots
        for stop in self.stops:
            stop.passes = stop.passes and not cyclic
            stop.marks = stop.marks or reads_time


class StraightWalk:
    """
    Decide a walk on *course* under its effective *limits*.

    Args:
        views: How budgets stand, where more than the walk's own limits count.

    Attributes:
        stop: The node whose hop is under way; None once the walk is over, or has to go on as a `Walk`.
        over: Whether it has come to its end.
        deadline_at: By when the hop under way must be done.
    """

    __slots__ = (
        "_answer_hop", "_called", "_course", "_deadline_at", "_facts", "_last_answer", "_legs", "_limits", "_most_hops",
        "_refused_by", "_replies", "_started_us", "_values", "_views", "_visits", "deadline_at",
        "over", "stop",
    )  # fmt: skip

    def __init__(self, course: Course, facts: Facts, limits: Limits, views: tuple[View, ...] = ()) -> None:
        most_hops, deadline_at, *_ = limits
        assert most_hops is not None, "limits are effective ones"
        assert deadline_at is not None, "limits are effective ones"
        self._course = course
        self._facts = facts
        self._limits = limits
        self._most_hops = most_hops
        self._deadline_at = deadline_at
        self._values = values.start(course.plan, facts) if course.asks_first else list(course.plan.template)
        # By the index of a node: how often it was visited, and the hop of its latest reply.
        self._visits: dict[int, int] = {}
        self._replies: dict[int, int] = {}
        self._last_answer: int | None = None
        self._called: list[Called] = []
        self._legs: list[Leg] = []
        self._views = views
        if views:
            self.see(views)
        self._refused_by: Stop | None = None
        self._answer_hop: int | None = None
        self.over = False
        self.stop: Stop | None = None
        self.deadline_at = self._started_us = 0
        self._enter(course.start, 0)

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

        return Straight(self._facts, self._limits, tuple(self._legs), self._answer_hop, refused_by, reason, self._views)

    def affords(self, cost: int | None, inputs: int, outputs: int | None) -> bool:
        """
        Tell whether the walk's own limits leave room for a call that needs so much at most.
        """
        _, _, most_cost, _, most_outputs, most_inputs, most_calls = self._limits
        called = self._called
        if most_cost is not None:
            for call in called:
                most_cost -= call.cost_nano_usd
            if cost is None or (cost and cost > most_cost):
                return False
        if most_outputs is not None:
            left = most_outputs - sum([call.usage.output_tokens for call in called])
            if outputs is None or (outputs and outputs > left):
                return False
        if most_inputs is not None and inputs and inputs > most_inputs - sum([call.usage.input_tokens for call in called]):
            return False

        return most_calls is None or len(called) < most_calls

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
        if call is not None:
            self._replies[stop.index] = hop = len(self._legs)
            if stop.serves:
                self._last_answer = hop
            self._called.append(call)
        if stop.marks:
            self._mark(stop, at)
        self.stop = None
        edge = 0
        for test, to, answer, name, verdicts in stop.ways:
            verdict = True if test is None else test(held)
            if verdict is False:
                edge += 1
                continue
            if verdict is None:
                break
            leg = make_leg((stop.name, self._started_us, self.deadline_at, at, outputs, edge, name, verdicts, call))
            self._legs.append(leg)
            if to is not None:
                self._enter(to, at)
            else:
                self._end(answer)
            return
        self._look_up(stop, at, outputs, call)

    def _mark(self, stop: Stop, at: int) -> None:
        if stop.status_slot >= 0:
            self._values[stop.status_slot] = "ok"
        values.tell_time(self._course.plan, self._values, at, self._deadline_at)

    def _look_up(self, stop: Stop, at: int, outputs: Mapping[str, Value], call: Called | None) -> None:
        """
        Leave by an edge that is not simply the first to hold of those that are tried in order.
        """
        # Whether visits are used up is seen where the edge leads.
        edge, verdicts = stop.node.choose(self._values, _is_never_spent)
        _, to, answer, name, certain = stop.all_ways[edge]
        verdicts += certain[edge + 1 :]
        self._legs.append(Leg(stop.name, self._started_us, self.deadline_at, at, outputs, edge, name, verdicts, call))
        if to is not None:
            self._enter(to, at)
        else:
            self._end(answer)

    def _end(self, answer: int | None) -> None:
        hop = self._last_answer if answer is None else self._replies.get(answer)
        if hop is not None:
            self._answer_hop = hop
            self.over = True

    def _enter(self, stop: Stop, at: int) -> None:
        if len(self._legs) >= self._most_hops or not (stop.passes or self._comes_to(stop)):
            return
        deadline_at, own_us = self._deadline_at, stop.deadline_us
        if deadline_at - at < stop.least_us:
            return
        self.deadline_at = deadline_at if own_us is None or deadline_at < at + own_us else at + own_us
        self._started_us = at
        self.stop = stop

    def _comes_to(self, stop: Stop) -> bool:
        """
        Count a visit to *stop*; False if there is no hop of a straight walk to be made there.
        """
        if not stop.plain or not self._visit(stop):
            return False
        if stop.reason is not None:
            self._refused_by = stop
            self.over = True

        return stop.reason is None

    def _visit(self, stop: Stop) -> bool:
        """
        Count a visit; False leaves it to `Walk`, which passes over an edge to a node whose visits are used up.
        """
        visits = self._visits.get(stop.index, 0) + 1
        if visits > stop.most_visits:
            return False
        self._visits[stop.index] = visits
        if stop.visits_slot >= 0:
            self._values[stop.visits_slot] = float(visits)

        return True


def _is_never_spent(_: int) -> bool:
    return False
