"""
A walk for as long as nothing but the usual happens.

Most walks are granted what they reserve, are answered by whom they call, and take an edge of `next` to a node that they may
visit.  `FastWalk` decides those as `Walk` does, and keeps one `CompactHop` a hop in place of entries and wishes.  At anything
else it stops and has changed nothing: `FastWalk.trace` then tells what happened so far, and a `Walk` that is fed its entries
goes on from there.

Invariants:

1. A fast walk decides as `Walk` does, or not at all.
2. It owns no clock and no ledger, as `Walk` owns none: reservations in shared scopes reach it as views.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from meshwalk.guards import Test
from meshwalk.model import DONE, Limits, Value
from meshwalk.plan import DONE_INDEX, NodePlan, Plan
from meshwalk.trace import CompactCall, CompactHop, CompactTrace, Facts, ScopeView, make_compact_hop, make_compact_trace
from meshwalk.walk import values as walk_values


# More than any walk spends.
_UNLIMITED_NANO_USD = 1 << 62


class FastEdge(NamedTuple):
    """
    An edge of `next`.

    Args:
        edge: Its index in the section.
        to: None is `done`.
        name: The name of its target.
        verdicts: The verdicts to record if no edge before it held.
        enters_freely: Whether the target can be entered whenever a hop and *min_us* remain.
        deadline_us: The target's own limit on a hop.
        answers: With `done`: the nodes whose latest reply is served.
    """

    edge: int
    to: FastNode | None
    name: str
    verdicts: str
    enters_freely: bool
    min_us: int
    deadline_us: int | None = None
    answers: frozenset[str] = frozenset()


# Takes when the hop at a node was over, its outputs, and its call if it made one; returns the next node, if there is one.
Leave = Callable[["FastWalk", int, Mapping[str, Value], CompactCall | None], "FastNode | None"]


class FastNode:
    """
    A node as fast walks need it.

    Attributes:
        eligible: Whether a fast walk may come here at all.
        counts_no_visits: Whether entering it changes only the walk's place: no visit is counted, and no walk ends here.
        tracks_status: Whether leaving it changes signals beside its outputs.
        min_us: With less time than this left, it is not called.
        edges: Its edges of `next`, in order.
        leave: Takes a walk on from here.
    """

    __slots__ = (
        "counts_no_visits",
        "deadline_us",
        "edges",
        "eligible",
        "index",
        "leave",
        "max_visits",
        "min_us",
        "name",
        "node",
        "reason",
        "serves",
        "status_slot",
        "tracks_status",
        "visits_slot",
        "writes",
    )  # fmt: skip

    def __init__(self, node: NodePlan) -> None:
        spec = node.node
        self.node = node
        self.index = node.index
        self.name = node.name
        self.serves = node.serves
        self.deadline_us = spec.deadline_us
        self.reason = spec.reason if node.role == "refusal" else None
        self.min_us = max(1, spec.min_time_us) if node.calls else 0
        self.eligible = node.calls or not node.reserves or self.reason is not None
        self.max_visits = spec.visits
        self.status_slot = node.status_slot
        self.visits_slot = node.visits_slot
        self.writes = node.writes
        self.counts_no_visits = self.eligible and self.reason is None and self.visits_slot < 0
        self.tracks_status = self.status_slot >= 0
        self.edges: tuple[FastEdge, ...] = ()
        self.leave: Leave = _leave(self)

    def connect(self, nodes: Sequence[FastNode]) -> None:
        """
        Prepare its edges to others of *nodes*, whose own flags are final.
        """
        edges = self.node.next
        last = len(edges) - 1
        prepared = []
        for position, edge in enumerate(edges):
            verdicts = "n" * position + "y" + "-" * (last - position)
            if edge.to == DONE_INDEX:
                serving = (node for node in nodes if (node.serves if edge.answer is None else node.index == edge.answer))
                answers = frozenset(node.name for node in serving)
                prepared.append(FastEdge(position, None, DONE, verdicts, False, 0, answers=answers))
            else:
                to = nodes[edge.to]
                prepared.append(FastEdge(position, to, to.name, verdicts, to.counts_no_visits, to.min_us, to.deadline_us))
        self.edges = tuple(prepared)
        self.leave = _leave(self)


class FastPlan:
    """
    The parts that all fast walks over *plan* have in common.

    Attributes:
        reads_request: Whether guards read anything of the request itself.
    """

    __slots__ = ("nodes", "plan", "reads_request", "start", "template")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.template = plan.template
        self.nodes = tuple(FastNode(node) for node in plan.nodes)
        self.start = self.nodes[plan.start]
        self.reads_request = bool(plan.fits or plan.watched) or any(slot.startswith("request.") for slot in plan.slots)
        # A cycle has a node with more than one visit in it, or the plan would not have compiled.
        cyclic = any(node.node.visits > 1 for node in plan.nodes)
        reads_time = "elapsed" in plan.slots or "deadline.left" in plan.slots
        for node in self.nodes:
            node.counts_no_visits = node.counts_no_visits and not cyclic
            node.tracks_status = node.tracks_status or reads_time
        for node in self.nodes:
            node.connect(self.nodes)


class FastWalk:
    """
    The decisions of one walk on *plan* under its effective *limits*.

    Args:
        views: The state of budgets, if guards read it: the walk's own limits, and those that it shares.

    Attributes:
        node: The node whose hop is under way; None once the walk is over, or has to go on as a `Walk`.
        deadline_at_us: When the hop under way must be done.
        answer_hop: The hop whose reply is served.
        cost_headroom_nano_usd: A call that costs at most so much is within the walk's own limits; others ask `affords`.

    The others are for the functions that leave a node; `values` are the signals that guards read.
    """

    __slots__ = (
        "_facts", "_limits", "_plan", "_refused_by", "_views", "_visits", "answer_hop", "cost_headroom_nano_usd",
        "deadline_at_us", "ends_at_us", "hops", "max_hops", "node", "started_us", "values",
    )  # fmt: skip

    def __init__(self, plan: FastPlan, facts: Facts, limits: Limits, views: tuple[ScopeView, ...] = ()) -> None:
        max_hops, deadline_us, max_nano_usd, _, max_outputs, max_inputs, max_calls = limits
        self._plan = plan
        self._facts = facts
        self._limits = limits
        self._views = views
        if max_outputs is None and max_inputs is None and max_calls is None:
            self.cost_headroom_nano_usd = _UNLIMITED_NANO_USD if max_nano_usd is None else max_nano_usd
        else:
            # Limits on tokens and calls are looked at for every call.
            self.cost_headroom_nano_usd = -1
        # Limits are effective ones, so there is a deadline, and one hop or more.
        self.max_hops = max_hops or 0
        self.ends_at_us = ends_at_us = deadline_us or 0
        self.values = walk_values.start(plan.plan, facts) if plan.reads_request else list(plan.template)
        if views:
            self.see(views)
        # The visits of nodes whose visits count, by their index.
        self._visits: dict[int, int] | None = None
        self.hops: list[CompactHop] = []
        self._refused_by: FastNode | None = None
        self.answer_hop: int | None = None
        start = plan.start
        if start.counts_no_visits and ends_at_us >= start.min_us:
            own_us = start.deadline_us
            self.deadline_at_us = ends_at_us if own_us is None or ends_at_us < own_us else own_us
            self.started_us = 0
            self.node: FastNode | None = start
        else:
            self.node = None
            self._begin(start, 0)

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
        return len(self.hops)

    @property
    def path(self) -> list[str]:
        """
        Name the node of each hop, the one under way included.
        """
        path = [hop.node for hop in self.hops]

        return path if self.node is None else [*path, self.node.name]

    def trace(self) -> CompactTrace:
        """
        Return the trace of the walk so far.
        """
        node, reason = "", ""
        if self._refused_by is not None:
            node, reason = self._refused_by.name, self._refused_by.reason or ""

        return make_compact_trace((self._facts, self._limits, tuple(self.hops), self.answer_hop, node, reason, self._views[1:]))

    def affords(self, cost: int | None, inputs: int, outputs: int | None) -> bool:
        """
        Tell whether the walk's own limits leave room for a call that needs at most so much.
        """
        _, _, max_cost, _, max_outputs, max_inputs, max_calls = self._limits
        calls = [hop.call for hop in self.hops if hop.call is not None]

        return (
            _fits(cost, max_cost, [call.cost_nano_usd for call in calls])
            and _fits(outputs, max_outputs, [call.usage.output_tokens for call in calls])
            and _fits(inputs, max_inputs, [call.usage.input_tokens for call in calls])
            and (max_calls is None or len(calls) < max_calls)
        )

    def see(self, views: tuple[ScopeView, ...]) -> None:
        """
        Take the state of budgets.
        """
        walk_values.see(self._plan.plan, self.values, views)

    # ---- for the functions that leave a node ------------------------------------------------------------------------

    def track(self, node: FastNode, at_us: int) -> None:
        """
        Update the signals of time, and of the status of *node*, which was left well.
        """
        if node.status_slot >= 0:
            self.values[node.status_slot] = "ok"
        walk_values.update_time(self._plan.plan, self.values, at_us, self.ends_at_us)

    def end(self, answers: frozenset[str]) -> None:
        """
        End with the latest reply of any of *answers*; if they gave none, `Walk` decides what follows.
        """
        hops = self.hops
        for index in range(len(hops) - 1, -1, -1):
            hop = hops[index]
            if hop.call is not None and hop.node in answers:
                self.answer_hop = index
                return

    def enter(self, node: FastNode, at_us: int) -> None:
        """
        Begin a hop at *node*, if a fast walk can make it.
        """
        if len(self.hops) < self.max_hops:
            self._begin(node, at_us)

    def _begin(self, node: FastNode, at_us: int) -> None:
        if not node.counts_no_visits and not self._comes_to(node):
            return
        ends_at_us, own_us = self.ends_at_us, node.deadline_us
        if ends_at_us - at_us < node.min_us:
            return
        self.deadline_at_us = ends_at_us if own_us is None or ends_at_us < at_us + own_us else at_us + own_us
        self.started_us = at_us
        self.node = node

    def _comes_to(self, node: FastNode) -> bool:
        """
        Count a visit to *node*, and return whether a fast walk has a hop to make there.
        """
        if not node.eligible or not self._visit(node):
            return False
        if node.reason is not None:
            self._refused_by = node

        return node.reason is None

    def _visit(self, node: FastNode) -> bool:
        """
        Count a visit; False leaves it to `Walk`, which passes over an edge to a node whose visits are used up.
        """
        if self._visits is None:
            self._visits = {}
        visits = self._visits.get(node.index, 0) + 1
        if visits > node.max_visits:
            return False
        self._visits[node.index] = visits
        if node.visits_slot >= 0:
            self.values[node.visits_slot] = float(visits)

        return True


def _fits(need: int | None, cap: int | None, spent: Sequence[int]) -> bool:
    """
    Tell whether *need* is within the rest of *cap*; no need is within any, and a need without a bound within none.
    """
    if cap is None or need == 0:
        return True

    return need is not None and need <= cap - sum(spent)


def _leave(node: FastNode) -> Leave:
    """
    Prepare how walks leave *node*, so that they look only at what can differ between them.
    """
    name, writes, tracks_status = node.name, node.writes, node.tracks_status
    output, slot = writes[0] if len(writes) == 1 else ("", -1)
    # Most nodes have one edge, or two with one guard.
    test, sole, by_verdict = _first_guard(node)
    if sole is not None and sole.to is None and not writes and not tracks_status:
        return _leave_for_done(name, sole)

    def leave(walk: FastWalk, at_us: int, outputs: Mapping[str, Value], call: CompactCall | None) -> FastNode | None:
        values, hops = walk.values, walk.hops
        if output:
            values[slot] = outputs.get(output)
        elif writes:
            for each, place in writes:
                values[place] = outputs.get(each)
        if call is not None:
            walk.cost_headroom_nano_usd -= call.cost_nano_usd
        if tracks_status:
            walk.track(node, at_us)
        taken = sole or by_verdict.get(test(values)) or _choose(node, values)
        edge, to, to_name, verdicts, enters_freely, min_us, own_us, answers = taken
        hops.append(
            make_compact_hop((name, walk.started_us, walk.deadline_at_us, at_us, outputs, edge, to_name, verdicts, call))
        )
        if enters_freely:
            ends_at_us = walk.ends_at_us
            if ends_at_us - at_us >= min_us and len(hops) < walk.max_hops:
                walk.deadline_at_us = ends_at_us if own_us is None or ends_at_us < at_us + own_us else at_us + own_us
                walk.started_us = at_us
                walk.node = to
                return to
        walk.node = None
        if to is None:
            if name in answers and call is not None:
                walk.answer_hop = len(hops) - 1
            else:
                walk.end(answers)
        elif not enters_freely:
            walk.enter(to, at_us)

        return walk.node

    return leave


def _leave_for_done(name: str, edge: FastEdge) -> Leave:
    """
    Prepare how walks leave the node *name* by its only *edge*, which ends them, where no guard reads its outputs.
    """
    verdicts, answers = edge.verdicts, edge.answers
    serves = name in answers

    def leave(walk: FastWalk, at_us: int, outputs: Mapping[str, Value], call: CompactCall | None) -> None:
        hops = walk.hops
        hops.append(make_compact_hop((name, walk.started_us, walk.deadline_at_us, at_us, outputs, 0, DONE, verdicts, call)))
        walk.node = None
        if serves and call is not None:
            walk.answer_hop = len(hops) - 1
        else:
            walk.end(answers)

    return leave


def _first_guard(node: FastNode) -> tuple[Test, FastEdge | None, Mapping[bool | None, FastEdge]]:
    """
    Return the guard that is tried first at *node*, its only edge if there is one, and edges by the guard's verdict.
    """
    edges, plans = node.edges, node.node.next
    if not edges or node.node.runs:
        return _undecided, None, {}
    first = plans[0].test
    if first is None:
        return _undecided, edges[0], {}
    if len(edges) > 1 and plans[1].test is None:
        return first, None, {True: edges[0], False: edges[1]}

    return first, None, {True: edges[0]}


def _choose(node: FastNode, values: walk_values.Values) -> FastEdge:
    """
    Return the first edge of *node* that can be taken, with the verdicts that led to it.
    """
    # Visits are counted when the walk enters the node that the edge leads to.
    edge, verdicts = node.node.choose(values, _is_never_spent)
    taken = node.edges[edge]

    return taken._replace(edge=edge, verdicts=verdicts + taken.verdicts[edge + 1 :])


def _undecided(_: Sequence[Value | None]) -> None:
    return None


def _is_never_spent(_: int) -> bool:
    return False
