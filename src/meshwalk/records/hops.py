"""
A record read back as hops: the one place where latency, tokens, cost and the edges considered are put together.

A traversal keeps entries, wishes and decisions; people, spans and the wire want hops.  All of them ask here, so that a span and
an RPC never tell two stories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from meshwalk.budgets import Need
from meshwalk.model import Role, Value
from meshwalk.plan import EdgePlan, NodePlan, Plan
from meshwalk.trace import (
    Attempt,
    Basis,
    Began,
    Call,
    Cancelled,
    Closing,
    Commit,
    CompactHop,
    Decision,
    Denied,
    Entry,
    Failed,
    Finish,
    Granted,
    Outcome,
    PrefixJudged,
    Replied,
    Reserve,
    ScopeView,
    Stopped,
    TimedOut,
    Timing,
    Trace,
    Traversal,
    Usage,
    Wish,
    calling_us,
    total_usage,
    weakest,
)


_NO_TIMING = Timing()
_NO_USAGE = Usage()

HopStatus = Literal["ok", "failed", "timeout", "cancelled", "denied", "skipped", "refused", "stopped"]

Verdict = Literal["held", "not_held", "undetermined", "visits_spent", "another_class", "not_looked_at"]

# The verdict of each character of `Decision.verdicts`, which is how a record stores them.
VERDICTS: Mapping[str, Verdict] = {
    "y": "held",
    "n": "not_held",
    "u": "undetermined",
    "s": "visits_spent",
    "c": "another_class",
    "-": "not_looked_at",
}


class Considered(NamedTuple):
    """
    One edge that a decision looked at, or did not need to.
    """

    to: str
    guard: str
    verdict: Verdict


class PrefixVerdict(NamedTuple):
    """
    The verdict on the prefix of a streamed reply, and whether the walk committed to the reply there.
    """

    at_us: int
    tokens: int
    outputs: Mapping[str, Value]
    committed: bool


class Hop:
    """
    One visit to a node.

    Args:
        visit: The number of the visit to this node, from 1.
        latency_us: From the decision to come here to the entry that closed the hop.
        engine_us: The part of it spent neither in calls nor in waiting for a budget or a retry.
        budget_wait_us: The time it waited for a budget that others had reserved.
        backoff_us: The time it waited between a failed attempt and the next.
        prefix_verdict: None if its reply was not judged before its end.
        need: The amount reserved, or requested, before its first call; None if there was none.
        scope: The budget scope that did not allow the call.
        edge: The next node of the walk; empty if the walk ended here.
        decision: The recorded decision on leaving it; None if the walk ended here.
        source: The walk's trace and the node, from which rarely read parts are put together when they are asked for; None if
            all parts are set.
    """

    __slots__ = (
        "_attempts",
        "_considered",
        "_granted_views",
        "_source",
        "_views",
        "backoff_us",
        "basis",
        "budget_wait_us",
        "cost_nano_usd",
        "decision",
        "edge",
        "engine_us",
        "error_class",
        "index",
        "latency_us",
        "message",
        "need",
        "node",
        "outputs",
        "prefix_verdict",
        "role",
        "scope",
        "started_us",
        "status",
        "timing",
        "usage",
        "visit",
    )  # fmt: skip

    def __init__(
        self, index: int, visit: int, node: str, role: Role, started_us: int, source: tuple[Trace, NodePlan] | None = None
    ) -> None:
        self.index = index
        self.visit = visit
        self.node = node
        self.role = role
        self.started_us = started_us
        self.status: HopStatus = "skipped"
        self.latency_us = 0
        self.engine_us = 0
        self.budget_wait_us = 0
        self.backoff_us = 0
        self.prefix_verdict: PrefixVerdict | None = None
        self.timing = _NO_TIMING
        self.usage = _NO_USAGE
        self.need: Need | None = None
        self.cost_nano_usd = 0
        self.basis: Basis = "none"
        self.outputs: Mapping[str, Value] = {}
        self._source = source
        self._attempts: tuple[Attempt, ...] | None = None
        self._granted_views: tuple[ScopeView, ...] | None = None
        self._views: tuple[ScopeView, ...] | None = None
        self._considered: tuple[Considered, ...] | None = None
        self.error_class = ""
        self.message = ""
        self.scope = ""
        self.edge = ""
        self.decision: Decision | None = None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """
        Return its calls, in order.
        """
        if self._attempts is None:
            self._attempts = () if self._source is None else self._source[0].attempts_at(self.index)

        return self._attempts

    @attempts.setter
    def attempts(self, attempts: tuple[Attempt, ...]) -> None:
        self._attempts = attempts

    @property
    def granted_views(self) -> tuple[ScopeView, ...]:
        """
        Return the budgets as its reservation left them.
        """
        if self._granted_views is None:
            self._granted_views = () if self._source is None else self._source[0].views_at(self.index)[0]

        return self._granted_views

    @granted_views.setter
    def granted_views(self, views: tuple[ScopeView, ...]) -> None:
        self._granted_views = views

    @property
    def views(self) -> tuple[ScopeView, ...]:
        """
        Return the budgets as it last saw them, which is as guards saw them when it was left.
        """
        if self._views is None:
            self._views = () if self._source is None else self._source[0].views_at(self.index)[1]

        return self._views

    @views.setter
    def views(self, views: tuple[ScopeView, ...]) -> None:
        self._views = views

    @property
    def considered(self) -> tuple[Considered, ...]:
        """
        Return every edge of the section that decided, in order.
        """
        if self._considered is None:
            source, decision = self._source, self.decision
            self._considered = () if source is None or decision is None else considered(decision, source[1])

        return self._considered

    @considered.setter
    def considered(self, edges: tuple[Considered, ...]) -> None:
        self._considered = edges

    def _values(self) -> tuple[object, ...]:
        return tuple([getattr(self, name.removeprefix("_")) for name in self.__slots__ if name != "_source"])

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        # A compact trace comes with its node's plan, which holds compiled code; another process has no use for it.
        state = {name: getattr(self, name.removeprefix("_")) for name in self.__slots__ if name != "_source"}

        return None, {**state, "_source": None}

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Hop) else NotImplemented

    # It is filled in as its walk goes on.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        end = f" {self.error_class}" if self.error_class else ""

        return f"<Hop {self.index} {self.node}: {self.status}{end}, {self.cost_nano_usd / 1e9:.6f} USD, {self.latency_us} us>"

    @property
    def reserved_nano_usd(self) -> int:
        """
        Return the money reserved for its first call; what nothing bounds counts as nothing.
        """
        return 0 if self.need is None else self.need.cost_nano_usd or 0

    def grant(self, entry: Granted) -> None:
        """
        Fill in that its reservation was granted.
        """
        self.granted_views = self.views = entry.views
        self.budget_wait_us = entry.waited_us

    def judge(self, entry: PrefixJudged, *, committed: bool) -> None:
        """
        Fill in what the beginning of its reply was like.
        """
        self.prefix_verdict = PrefixVerdict(entry.at_us, entry.tokens, entry.outputs, committed)

    def close(self, entry: Closing | Denied) -> None:
        """
        Fill in what *entry* says.
        """
        self.latency_us = entry.at_us - self.started_us
        match entry:
            case Denied():
                self.status, self.error_class, self.message = "denied", "budget", entry.message
                self.scope, self.views, self.budget_wait_us = entry.scope, entry.views, entry.waited_us
                self.engine_us = self.latency_us - entry.waited_us
                return
            case Replied():
                self.status, self.outputs = "ok", entry.outputs
            case Stopped():
                self.status = "stopped"
                self.outputs = {} if self.prefix_verdict is None else self.prefix_verdict.outputs
            case Failed():
                self.status, self.error_class, self.message = "failed", entry.error_class, entry.message
                self.scope = entry.scope
            case TimedOut():
                self.status, self.error_class, self.message = "timeout", "timeout", entry.message
            case Cancelled():
                self.status = "cancelled"
                self.budget_wait_us += entry.waited_us
        if not isinstance(entry, Cancelled) and entry.views:
            self.views = entry.views
        self._add_up(entry.attempts)

    def _add_up(self, attempts: tuple[Attempt, ...]) -> None:
        self.attempts = attempts
        self.budget_wait_us += sum(attempt.waited_us for attempt in attempts)
        self.backoff_us = sum(attempt.backoff_us for attempt in attempts)
        self.engine_us = self.latency_us - self.budget_wait_us - self.backoff_us - calling_us(attempts)
        self.timing = Timing._make(sum(times) for times in zip(*(attempt.timing for attempt in attempts), strict=True)) \
            if attempts else Timing()  # fmt: skip
        self.usage = total_usage(iter(attempts))
        self.cost_nano_usd = sum(attempt.cost_nano_usd for attempt in attempts)
        self.basis = weakest(attempt.basis for attempt in attempts)


class Assembly:
    """
    The hops of a walk, assembled from its entries as they arrive; the walk may be under way.
    """

    __slots__ = ("_plan", "_trace", "_visits", "hops")

    def __init__(self, plan: Plan, trace: Trace | None = None) -> None:
        self._plan = plan
        self._trace = trace
        self._visits: dict[str, int] = {}
        self.hops: list[Hop] = []

    def feed(self, entry: Entry, wishes: Sequence[Wish], path: Sequence[str]) -> None:
        """
        Add an event and the commands that followed it; *path* names the nodes as far as they are known.
        """
        if isinstance(entry, Granted):
            self.hops[entry.hop].grant(entry)
        elif isinstance(entry, PrefixJudged):
            self.hops[entry.hop].judge(entry, committed=any(isinstance(wish, Commit) for wish in wishes))
        elif not isinstance(entry, Began):
            self.hops[entry.hop].close(entry)
        for wish in wishes:
            if isinstance(wish, Reserve):
                self._open(path[: wish.hop + 1], entry.at_us)
                self.hops[wish.hop].need = need_of(wish)
            elif isinstance(wish, Call):
                self._open(path[: wish.hop + 1], entry.at_us)
            elif isinstance(wish, Finish):
                self._open(path, entry.at_us)
                if wish.outcome is Outcome.REFUSED:
                    self.hops[-1].status, self.hops[-1].message = "refused", wish.message

    def decide(self, decision: Decision) -> None:
        """
        Add the decision that ended a hop.
        """
        hop = self.hops[decision.hop]
        hop.decision = decision
        hop.considered = considered(decision, self._plan.node(hop.node))
        hop.edge = decision.to
        if hop.status == "skipped":
            hop.error_class = decision.error_class

    def add(self, hop: CompactHop) -> None:
        """
        Take a whole hop.
        """
        name, started_us, _, at_us, outputs, edge, to, verdicts, call = hop
        index, node, visits = len(self.hops), self._plan.node(name), self._visits
        visits[name] = visit = visits.get(name, 0) + 1
        assert self._trace is not None, "whole hops come from a trace"
        made = Hop(index, visit, name, node.role, started_us, (self._trace, node))
        made.status = "ok"
        made.outputs = outputs
        made.edge = to
        made.decision = Decision(index, "next", edge, to, verdicts)
        made.latency_us = made.engine_us = at_us - started_us
        if call is not None:
            made.engine_us -= call.latency_us
            made.timing = call.timing
            made.usage = call.usage
            made.need = Need(call.cost_bound, call.input_bound, call.output_bound, 1, 1)
            made.cost_nano_usd = call.cost_nano_usd
            made.basis = call.basis
        self.hops.append(made)

    def refuse(self, node: str, at_us: int, reason: str) -> None:
        """
        Add the refusal that ended the walk.
        """
        hop = Hop(len(self.hops), self._visits.get(node, 0) + 1, node, self._plan.node(node).role, at_us)
        hop.status, hop.message = "refused", reason
        self.hops.append(hop)

    def _open(self, path: Sequence[str], at_us: int) -> None:
        # Hops that were skipped for want of time have no wish of their own; they open with the next.
        for index in range(len(self.hops), len(path)):
            node = path[index]
            visit = self._visits[node] = self._visits.get(node, 0) + 1
            self.hops.append(Hop(index, visit, node, self._plan.node(node).role, at_us))


def hops_of(traversal: Traversal, plan: Plan) -> list[Hop]:
    """
    Put *traversal* together as hops, in order; *plan* is the plan it walked.
    """
    assembly = Assembly(plan, traversal.trace)
    traversal.trace.build(assembly)

    return assembly.hops


def need_of(wish: Reserve) -> Need:
    """
    Return the request that *wish* stands for.
    """
    return Need(wish.cost_nano_usd, wish.input_tokens, wish.output_tokens, wish.calls, wish.hops)


def considered(decision: Decision, node: NodePlan) -> tuple[Considered, ...]:
    """
    Show every edge that *decision*, made at *node*, looked at or did not need to, in order.
    """
    edges = node.next if decision.section == "next" else node.on_error
    shown = [
        Considered(edge.edge.to, condition(edge), VERDICTS[verdict])
        for edge, verdict in zip(edges, decision.verdicts, strict=True)
    ]
    if decision.edge >= 0 and decision.to != (taken := shown[decision.edge]).to:
        # There was no answer to serve, and the walk went on by the edge's `else:`.
        shown[decision.edge] = taken._replace(to=decision.to, guard=f"{taken.guard}; no answer to serve, so else")

    return tuple(shown)


def condition(edge: EdgePlan) -> str:
    """
    Say when *edge* is taken: its guard, its classes, or `otherwise`.
    """
    if edge.edge.when is not None:
        return edge.edge.when

    return f"class in [{', '.join(edge.edge.classes)}]" if edge.edge.classes else "otherwise"
