"""
A walk for as long as nothing but the usual happens.

Most walks are granted what they ask for, are answered by whom they call, and take an edge of `next` to a node that they may
visit.  `FastWalk` decides those as `Walk` does, and keeps one `CompactHop` a hop in place of entries and wishes, which is what
makes it quick.  At anything else it stops, having changed nothing: `walk.entries()` then tells what happened so far, and an
ordinary `Walk` that is fed it goes on from there, and decides whatever it is that was not straight.

Laws of this room:

1. A straight walk decides as `Walk` does, or not at all.
2. Like that, it owns no clock and no ledger of what others spend: what is reserved in shared scopes it is told as views.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from meshwalk.guards import Test
from meshwalk.model import DONE, Limits, Value
from meshwalk.plan import DONE_INDEX, NodePlan, Plan
from meshwalk.trace import CompactCall, CompactHop, CompactTrace, Facts, View, make_compact_hop, make_compact_trace
from meshwalk.walk import values


# What no walk spends.
_PLENTY = 1 << 62


class FastEdge(NamedTuple):
    """
    Hold an edge of `next`.

    Args:
        to: None is `done`.
        name: Where it leads.
        verdicts: What is recorded when no edge before it held.
        swift: Whether it leads where a hop may begin as soon as there is one left, and this much time.
        own_us: What a hop there may take of its own.
        answers: With `done`: the nodes whose latest reply is served.
    """

    edge: int
    to: FastNode | None
    name: str
    verdicts: str
    swift: bool
    min_us: int
    own_us: int | None = None
    answers: frozenset[str] = frozenset()


# Takes when the hop at a stop was over, what it gave, and its call if it made one; gives the stop that is next, if any is.
Leave = Callable[["FastWalk", int, Mapping[str, Value], CompactCall | None], "FastNode | None"]


class FastNode:
    """
    Hold what a straight walk needs of a node.

    Args:
        plain: Whether a straight walk may come here at all.
        passes: Whether coming here changes nothing but where the walk is: no visits are counted, and it does not end here.
        marks: Whether leaving it is noted beside its outputs.
        least_us: With less time than this left, it is not called.
        ways: Its edges of `next`, in order.
        leave: Takes the walk on from here.
    """

    __slots__ = (
        "deadline_us",
        "index",
        "leave",
        "marks",
        "max_visits",
        "min_us",
        "name",
        "node",
        "passes",
        "plain",
        "reason",
        "serves",
        "status_slot",
        "visits_slot",
        "ways",
        "writes",
    )  # fmt: skip

    def __init__(self, node: NodePlan) -> None:
        own = node.node
        self.node = node
        self.index = node.index
        self.name = node.name
        self.serves = node.serves
        self.deadline_us = own.deadline_us
        self.reason = own.reason if node.role == "refusal" else None
        self.min_us = max(1, own.min_time_us) if node.calls else 0
        self.plain = node.calls or not node.reserves or self.reason is not None
        self.max_visits = own.visits
        self.status_slot = node.status_slot
        self.visits_slot = node.visits_slot
        self.writes = node.writes
        self.passes = self.plain and self.reason is None and self.visits_slot < 0
        self.marks = self.status_slot >= 0
        self.ways: tuple[FastEdge, ...] = ()
        self.leave: Leave = _leave(self)

    def open(self, stops: Sequence[FastNode]) -> None:
        """
        Lead on to others of *stops*, which have their final form.
        """
        edges = self.node.next
        last = len(edges) - 1
        ways = []
        for position, edge in enumerate(edges):
            verdicts = "n" * position + "y" + "-" * (last - position)
            if edge.to == DONE_INDEX:
                serving = (stop for stop in stops if (stop.serves if edge.answer is None else stop.index == edge.answer))
                answers = frozenset(stop.name for stop in serving)
                ways.append(FastEdge(position, None, DONE, verdicts, False, 0, answers=answers))
            else:
                to = stops[edge.to]
                ways.append(FastEdge(position, to, to.name, verdicts, to.passes, to.min_us, to.deadline_us))
        self.ways = tuple(ways)
        self.leave = _leave(self)


class FastPlan:
    """
    Hold what straight walks over *plan* have in common.

    Args:
        asks_first: Whether guards read anything of the request itself.
    """

    __slots__ = ("asks_first", "plan", "start", "stops", "template")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.template = plan.template
        self.stops = tuple(FastNode(node) for node in plan.nodes)
        self.start = self.stops[plan.start]
        self.asks_first = bool(plan.fits or plan.watched) or any(slot.startswith("request.") for slot in plan.slots)
        # A cycle has a node with more than one visit in it, or the plan would not have compiled.
        cyclic = any(node.node.visits > 1 for node in plan.nodes)
        reads_time = "elapsed" in plan.slots or "deadline.left" in plan.slots
        for stop in self.stops:
            stop.passes = stop.passes and not cyclic
            stop.marks = stop.marks or reads_time
        for stop in self.stops:
            stop.open(self.stops)


class FastWalk:
    """
    Decide a walk on *course* under its effective *limits*.

    Args:
        views: How budgets stand, where guards read them: the walk's own limits, and those that it shares.

    Attributes:
        stop: The node whose hop is under way; None once the walk is over, or has to go on as a `Walk`.
        deadline_at: By when the hop under way must be done.
        answer_hop: Whose reply is served.
        sure_nano_usd: A call that costs at most so much is surely afforded, and nobody need ask.

    The others are for stops, which take the walk on; `held` is what guards read.
    """

    __slots__ = (
        "_course", "_facts", "_limits", "_refused_by", "_views", "_visits", "answer_hop", "deadline_at", "ends_at", "held",
        "legs", "max_hops", "started_us", "stop", "sure_nano_usd",
    )  # fmt: skip

    def __init__(self, course: FastPlan, facts: Facts, limits: Limits, views: tuple[View, ...] = ()) -> None:
        max_hops, deadline_at, max_nano_usd, _, max_outputs, max_inputs, max_calls = limits
        self._course = course
        self._facts = facts
        self._limits = limits
        self._views = views
        if max_outputs is None and max_inputs is None and max_calls is None:
            self.sure_nano_usd = _PLENTY if max_nano_usd is None else max_nano_usd
        else:
            # What else is limited has to be asked for each time.
            self.sure_nano_usd = -1
        # Limits are effective ones, so there is a deadline, and one hop or more.
        self.max_hops = max_hops or 0
        self.ends_at = deadline_at or 0
        self.held = values.start(course.plan, facts) if course.asks_first else list(course.template)
        if views:
            self.see(views)
        # How often nodes were visited whose visits count, by their index.
        self._visits: dict[int, int] | None = None
        self.legs: list[CompactHop] = []
        self._refused_by: FastNode | None = None
        self.answer_hop: int | None = None
        self.stop: FastNode | None = None
        self._begin(course.start, 0)

    @property
    def over(self) -> bool:
        """
        Tell whether it has come to its end.
        """
        return self.answer_hop is not None or self._refused_by is not None

    @property
    def hop(self) -> int:
        """
        Count the hops that are over, which is the number of the one under way.
        """
        return len(self.legs)

    @property
    def path(self) -> list[str]:
        """
        Name the node of each hop, the one under way included.
        """
        path = [leg.node for leg in self.legs]

        return path if self.stop is None else [*path, self.stop.name]

    def told(self) -> CompactTrace:
        """
        Return the walk so far.
        """
        told = make_compact_trace((self._facts, self._limits, tuple(self.legs), self.answer_hop, "", "", self._views[1:]))
        by = self._refused_by

        return told if by is None else told._replace(refused_by=by.name, reason=by.reason or "")

    def affords(self, cost: int | None, inputs: int, outputs: int | None) -> bool:
        """
        Tell whether the walk's own limits leave room for a call that needs so much at most.
        """
        _, _, max_cost, _, max_outputs, max_inputs, max_calls = self._limits
        called = [leg.call for leg in self.legs if leg.call is not None]
        if max_cost is not None:
            left = max_cost - sum([call.cost_nano_usd for call in called])
            if cost is None or (cost and cost > left):
                return False
        if max_outputs is not None:
            left = max_outputs - sum([call.usage.output_tokens for call in called])
            if outputs is None or (outputs and outputs > left):
                return False
        if max_inputs is not None and inputs and inputs > max_inputs - sum([call.usage.input_tokens for call in called]):
            return False

        return max_calls is None or len(called) < max_calls

    def see(self, views: tuple[View, ...]) -> None:
        """
        Take how budgets stand.
        """
        values.see(self._course.plan, self.held, views)

    # ---- for those who take the walk on -----------------------------------------------------------------------------

    def mark(self, stop: FastNode, at: int) -> None:
        """
        Note what guards read of the time, and that *stop* went well.
        """
        if stop.status_slot >= 0:
            self.held[stop.status_slot] = "ok"
        values.tell_time(self._course.plan, self.held, at, self.ends_at)

    def end(self, answers: frozenset[str]) -> None:
        """
        End with the latest reply of any of *answers*; where they gave none it is for `Walk` to say what follows.
        """
        legs = self.legs
        for hop in range(len(legs) - 1, -1, -1):
            leg = legs[hop]
            if leg.call is not None and leg.node in answers:
                self.answer_hop = hop
                return

    def enter(self, stop: FastNode, at: int) -> None:
        """
        Begin a hop at *stop*, if that is one of a straight walk.
        """
        if len(self.legs) < self.max_hops:
            self._begin(stop, at)

    def _begin(self, stop: FastNode, at: int) -> None:
        if not stop.passes and not self._comes_to(stop):
            return
        deadline_at, own_us = self.ends_at, stop.deadline_us
        if deadline_at - at < stop.min_us:
            return
        self.deadline_at = deadline_at if own_us is None or deadline_at < at + own_us else at + own_us
        self.started_us = at
        self.stop = stop

    def _comes_to(self, stop: FastNode) -> bool:
        """
        Count a visit to *stop*; False if there is no hop of a straight walk to be made there.
        """
        if not stop.plain or not self._visit(stop):
            return False
        if stop.reason is not None:
            self._refused_by = stop

        return stop.reason is None

    def _visit(self, stop: FastNode) -> bool:
        """
        Count a visit; False leaves it to `Walk`, which passes over an edge to a node whose visits are used up.
        """
        if self._visits is None:
            self._visits = {}
        visits = self._visits.get(stop.index, 0) + 1
        if visits > stop.max_visits:
            return False
        self._visits[stop.index] = visits
        if stop.visits_slot >= 0:
            self.held[stop.visits_slot] = float(visits)

        return True


def _leave(stop: FastNode) -> Leave:
    """
    Prepare how walks leave *stop*, so that they ask of it only what can differ between them.
    """
    name, writes, marks = stop.name, stop.writes, stop.marks
    output, slot = writes[0] if len(writes) == 1 else ("", -1)
    # Most nodes have one edge, or two with one guard.
    first, sole, fork = _tried(stop)
    if sole is not None and sole.to is None and not writes and not marks:
        return _last(name, sole)

    def leave(walk: FastWalk, at: int, outputs: Mapping[str, Value], call: CompactCall | None) -> FastNode | None:
        held, legs = walk.held, walk.legs
        if output:
            held[slot] = outputs.get(output)
        elif writes:
            for each, place in writes:
                held[place] = outputs.get(each)
        if call is not None:
            walk.sure_nano_usd -= call[8]
        if marks:
            walk.mark(stop, at)
        way = sole or fork.get(first(held)) or _sought(stop, held)
        edge, to, to_name, verdicts, swift, min_us, own_us, answers = way
        legs.append(make_compact_hop((name, walk.started_us, walk.deadline_at, at, outputs, edge, to_name, verdicts, call)))
        if swift:
            ends_at = walk.ends_at
            if ends_at - at >= min_us and len(legs) < walk.max_hops:
                walk.deadline_at = ends_at if own_us is None or ends_at < at + own_us else at + own_us
                walk.started_us = at
                walk.stop = to
                return to
        walk.stop = None
        if to is None:
            if name in answers and call is not None:
                walk.answer_hop = len(legs) - 1
            else:
                walk.end(answers)
        elif not swift:
            walk.enter(to, at)

        return walk.stop

    return leave


def _last(name: str, way: FastEdge) -> Leave:
    """
    Prepare how walks leave the node *name*, where nothing that it gives is read, by its only way, which is to their end.
    """
    verdicts, answers = way.verdicts, way.answers
    serves = name in answers

    def leave(walk: FastWalk, at: int, outputs: Mapping[str, Value], call: CompactCall | None) -> None:
        legs = walk.legs
        legs.append(make_compact_hop((name, walk.started_us, walk.deadline_at, at, outputs, 0, DONE, verdicts, call)))
        walk.stop = None
        if serves and call is not None:
            walk.answer_hop = len(legs) - 1
        else:
            walk.end(answers)

    return leave


def _tried(stop: FastNode) -> tuple[Test, FastEdge | None, Mapping[bool | None, FastEdge]]:
    """
    Prepare what is tried first at *stop*: a guard, and where its verdicts lead; or the one way that there is.
    """
    ways, edges = stop.ways, stop.node.next
    if not ways or stop.node.runs:
        return _undecided, None, {}
    first = edges[0].test
    if first is None:
        return _undecided, ways[0], {}
    if len(ways) > 1 and edges[1].test is None:
        return first, None, {True: ways[0], False: ways[1]}

    return first, None, {True: ways[0]}


def _sought(stop: FastNode, held: values.Values) -> FastEdge:
    """
    Find the first way on from *stop* that can be taken.
    """
    # Whether visits are used up is seen where the edge leads.
    edge, verdicts = stop.node.choose(held, _is_never_spent)
    way = stop.ways[edge]

    return way._replace(edge=edge, verdicts=verdicts + way.verdicts[edge + 1 :])


def _undecided(_: Sequence[Value | None]) -> None:
    return None


def _is_never_spent(_: int) -> bool:
    return False
