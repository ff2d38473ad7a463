"""
One request's way through a plan, as a state machine.

A `Walk` is fed entries, its events (`Began`, `Granted`, `Replied`, …), and answers with wishes, its commands (`Reserve`,
`Call`, `Settle`, `Finish`).  It owns no clock, no network and no dice: time and chance arrive inside the entries.  The same
plan fed the same entries therefore decides the same, which is all that replay is.

Invariants:

1. Whatever changes a walk's phase stands in a method that `LEGAL` names, or in one that it calls.
2. An entry that is refused leaves the walk as it was.
3. A walk reads the budget views it was given; it owns no ledger and never adds up costs itself.  The views of an entry that
   closes a hop show its cost in place of its reservation, which the walk's `Settle` then asks for.
4. Hops are numbered in the order the walk decides to make them, so that a hop can be skipped, and hedged or
   streamed hops can later be told apart, without another name.

A node with a backend is reserved, called and settled; one without is only called, unless the graph caps the hops of a shared
scope, which every hop but a refusal then reserves; a refusal ends the walk.

A streamed reply is judged once, when a part of it is seen (`PrefixJudged`): by the same edges, in the same order.  If the one
that holds serves this very reply, the walk commits to it, and then only its end can still go wrong.  Otherwise its call is
stopped, and the walk goes where that edge leads.  A reply that is whole before that is judged whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, ClassVar

from meshwalk.budgets import usd
from meshwalk.model import DONE, Value
from meshwalk.model.private_text import joined
from meshwalk.model.problems import ErrorClass, ProtocolError
from meshwalk.model.signals import Section
from meshwalk.plan import DONE_INDEX, EdgePlan, NodePlan, Plan
from meshwalk.trace import (
    Began,
    Call,
    Cancelled,
    Commit,
    Decision,
    Denied,
    Entry,
    Facts,
    Failed,
    Finish,
    Granted,
    Outcome,
    PrefixJudged,
    Replied,
    Reserve,
    ScopeView,
    Settle,
    StopCall,
    Stopped,
    TimedOut,
    Wish,
)
from meshwalk.walk import values


class Phase(Enum):
    """
    The event that a walk waits for.
    """

    NEW = "new"
    RESERVING = "reserving"
    CALLING = "calling"
    COMMITTED = "committed"
    STOPPING = "stopping"
    OVER = "over"


class Walk:
    """
    One request's way through *plan*.

    `path` names the node of each hop so far, `decisions` holds how each was left.
    """

    __slots__ = (
        "_call_deadline_at_us", "_chosen", "_deadline_at_us", "_facts", "_hops", "_last_answer", "_node", "_replies", "_values",
        "_views", "_visits", "decisions", "path", "phase", "plan",
    )  # fmt: skip

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.phase = Phase.NEW
        self.path: list[str] = []
        self.decisions: list[Decision] = []
        self._values: values.Values = list(plan.template)
        self._visits = [0] * len(plan.nodes)
        self._replies: dict[int, int] = {}
        self._last_answer: int | None = None
        self._views: tuple[ScopeView, ...] = ()
        self._facts: Facts
        self._hops: int
        self._deadline_at_us: int
        self._call_deadline_at_us: int
        self._node: NodePlan
        # The edge that a glimpse chose; None if all were spent.
        self._chosen: EdgePlan | None = None

    def feed(self, entry: Entry) -> tuple[Wish, ...]:
        """
        Process one event, and return the commands that the walk wants run now.

        Raises:
            ProtocolError: If the phase does not take *entry*, or it is about another hop; the walk is as it was.
        """
        handler = self.LEGAL[self.phase].get(type(entry))
        if handler is None:
            raise ProtocolError(f"{self!r} does not take {type(entry).__name__} now", self.phase.value)
        if self.path and getattr(entry, "hop", None) != len(self.path) - 1:
            raise ProtocolError(f"{self!r} is at hop {len(self.path) - 1}, and {entry!r} is about another", self.phase.value)
        if handler is Walk._prefix_judged and self._node.node.stream is None:
            raise ProtocolError(f"{self!r} holds the reply of '{self._node.name}' until it is whole", self.phase.value)

        return handler(self, entry)

    def value(self, slot: str) -> Value | None:
        """
        Return a signal's value as the last decision saw it; None if it is undetermined or no guard of the plan reads it.
        """
        position = self.plan.slots.get(slot)

        return None if position is None else self._values[position]

    def __repr__(self) -> str:
        hops = f"{len(self.path)} hop{'' if len(self.path) == 1 else 's'}"
        view = self._views[0] if self._views else ScopeView("request")
        cap, used = view.caps.cost_nano_usd, view.used.cost_nano_usd
        limit = "" if cap is None else f" of {usd(cap)}"
        waiting = f"waiting for '{self.path[-1]}'" if self.phase in _WAITING else self.phase.value

        return f"<Walk {self.plan.name}: {waiting}, {hops}, {usd(used)}{limit} USD>"

    # ---- what each entry does -----------------------------------------------------------------------------------

    def _began(self, entry: Began) -> tuple[Wish, ...]:
        limits = entry.limits
        if limits.hops is None or limits.deadline_us is None:
            raise ProtocolError("a walk begins under its effective limits: hops and deadline_us must be set", self.phase.value)
        self._facts = entry.facts
        self._hops = limits.hops
        self._deadline_at_us = limits.deadline_us
        self._values = values.start(self.plan, entry.facts)
        self._see(entry.views)

        return self._enter(self.plan.start, entry.at_us, ())

    def _granted(self, entry: Granted) -> tuple[Wish, ...]:
        self._see(entry.views)
        self.phase = Phase.CALLING

        return (Call(entry.hop, self._node.name, self._call_deadline_at_us),)

    def _denied(self, entry: Denied) -> tuple[Wish, ...]:
        self._see(entry.views)

        message = joined(f"node '{self._node.name}' ", entry.message)

        return self._leave_by_error("budget", message, entry.at_us, (), _refused(entry))

    def _replied(self, entry: Replied) -> tuple[Wish, ...]:
        self._see(entry.views)
        node, outputs = self._node, entry.outputs
        for name, slot in node.writes:
            self._values[slot] = outputs.get(name)
        if node.status_slot >= 0:
            self._values[node.status_slot] = "ok"
        settled = self._settled(entry.hop)
        if node.calls:
            self._replies[node.index] = entry.hop
            if node.serves:
                self._last_answer = entry.hop
        self._update_time(entry.at_us)
        edge = self._choose()

        return self._stuck(settled) if edge is None else self._follow(edge, entry.at_us, settled)

    def _prefix_judged(self, entry: PrefixJudged) -> tuple[Wish, ...]:
        node, outputs = self._node, entry.outputs
        if node.node.stream == 0:
            # Its only edge serves it, and that is decided when it is left.
            self.phase = Phase.COMMITTED
            return (Commit(entry.hop),)
        for name, slot in node.writes:
            self._values[slot] = outputs.get(name)
        self._update_time(entry.at_us)
        self._chosen = edge = self._choose()
        if edge is not None and edge.to == DONE_INDEX and edge.answer in (None, node.index):
            self.phase = Phase.COMMITTED
            return (Commit(entry.hop),)
        self.phase = Phase.STOPPING

        return (StopCall(entry.hop),)

    def _stopped(self, entry: Stopped) -> tuple[Wish, ...]:
        self._see(entry.views)
        node, edge, self._chosen = self._node, self._chosen, None
        if node.status_slot >= 0:
            self._values[node.status_slot] = "stopped"
        settled = self._settled(entry.hop)

        return self._stuck(settled) if edge is None else self._follow(edge, entry.at_us, settled)

    def _served(self, entry: Replied) -> tuple[Wish, ...]:
        if self._chosen is None:
            return self._replied(entry)
        self._see(entry.views)

        return self._finish(self._settled(entry.hop), Finish(Outcome.ANSWERED, entry.hop))

    def _broken(self, entry: Failed | TimedOut) -> tuple[Wish, ...]:
        self._see(entry.views)
        cause = "timeout" if isinstance(entry, TimedOut) else entry.error_class
        message = joined(entry.message, "; a part of the answer had been passed on by then, so nobody else was asked")

        return self._finish(
            self._settled(entry.hop), Finish(Outcome.FAILED, cause=cause, message=message, node=self._node.name)
        )

    def _failed(self, entry: Failed) -> tuple[Wish, ...]:
        self._see(entry.views)

        unhandled = _refused(entry) if entry.scope else None

        return self._leave_by_error(entry.error_class, entry.message, entry.at_us, self._settled(entry.hop), unhandled)

    def _timed_out(self, entry: TimedOut) -> tuple[Wish, ...]:
        self._see(entry.views)

        return self._leave_by_error("timeout", entry.message, entry.at_us, self._settled(entry.hop))

    def _cancelled(self, entry: Cancelled) -> tuple[Wish, ...]:
        # A hop that still waits for its reservation holds none.
        settled = () if self.phase is Phase.RESERVING else self._settled(entry.hop)

        return self._finish(settled, Finish(Outcome.CANCELLED, message="the caller went away", node=self._node.name))

    # ---- going on -----------------------------------------------------------------------------------------------

    def _enter(self, to: int, at_us: int, wishes: tuple[Wish, ...]) -> tuple[Wish, ...]:
        node = self.plan.nodes[to]
        if len(self.path) >= self._hops:
            most = f"{self._hops} hop{'' if self._hops == 1 else 's'}"
            message = f"the walk may make {most} and wants to go on to '{node.name}'; raise limits.hops"
            return self._finish(wishes, Finish(Outcome.FAILED, cause="hops", message=message, node=node.name))
        hop = len(self.path)
        self.path.append(node.name)
        self._node = node
        self._visits[to] += 1
        if node.visits_slot >= 0:
            self._values[node.visits_slot] = float(self._visits[to])
        if node.role == "refusal":
            return self._finish(wishes, Finish(Outcome.REFUSED, message=node.node.reason, node=node.name))
        deadline_at_us, own = self._deadline_at_us, node.node.deadline_us
        if own is not None:
            deadline_at_us = min(deadline_at_us, at_us + own)
        if not node.reserves:
            self.phase = Phase.CALLING
            return (*wishes, Call(hop, node.name, deadline_at_us))
        if not node.calls:
            return self._ask(wishes, Reserve(hop, node.name, 0, 0, 0, calls=0, hops=1, deadline_at_us=deadline_at_us))
        late = self._too_late(node, at_us)
        if late is not None:
            return self._leave_by_error(*late, at_us, wishes)

        return self._ask(
            wishes, Reserve(hop, node.name, *node.need(self._facts), calls=1, hops=1, deadline_at_us=deadline_at_us)
        )

    def _ask(self, wishes: tuple[Wish, ...], reserve: Reserve) -> tuple[Wish, ...]:
        self.phase = Phase.RESERVING
        # Waiting for a budget is part of a hop's time.
        self._call_deadline_at_us = reserve.deadline_at_us

        return (*wishes, reserve)

    def _too_late(self, node: NodePlan, at_us: int) -> tuple[ErrorClass, str] | None:
        left = self._deadline_at_us - at_us
        if left <= 0:
            return "timeout", f"time was up before node '{node.name}' could be called"
        if left < node.node.min_time_us:
            needs = f"{node.node.min_time_us / 1e6:g} s"
            return "not_started", f"node '{node.name}' needs {needs} (min_time) and {left / 1e6:g} s are left"

        return None

    def _choose(self) -> EdgePlan | None:
        """
        Decide on an edge of `next`, in order; None if every one that holds leads to a node whose visits are used up.
        """
        position, verdicts = self._node.choose(self._values, self._spent)
        if position >= 0:
            edge = self._node.next[position]
            self._decide(edge, "next", position, verdicts)
            return edge
        assert "s" in verdicts, "the last edge of `next` has no guard"
        self.decisions.append(Decision(len(self.path) - 1, "next", -1, "", verdicts))

        return None

    def _decide(self, edge: EdgePlan, section: Section, position: int, verdicts: str, by: str = "") -> None:
        to = self._resolve(edge)[0]
        edges = self._node.next if section == "next" else self._node.on_error
        target = DONE if to == DONE_INDEX else self.plan.nodes[to].name
        left = "-" * (len(edges) - position - 1)
        self.decisions.append(Decision(len(self.path) - 1, section, position, target, verdicts + left, by))

    def _follow(self, edge: EdgePlan, at_us: int, wishes: tuple[Wish, ...]) -> tuple[Wish, ...]:
        to, answer = self._resolve(edge)
        if to != DONE_INDEX:
            return self._enter(to, at_us, wishes)
        if answer is None:
            whose = f"node '{edge.edge.answer}'" if edge.edge.answer else "any answer or primary node"
            message = (
                f"'{self._node.name}' goes to done, and there is no reply of {whose} to serve; add `else:` or another edge"
            )
            return self._finish(wishes, Finish(Outcome.FAILED, cause="no_answer", message=message, node=self._node.name))

        return self._finish(wishes, Finish(Outcome.ANSWERED, answer))

    def _resolve(self, edge: EdgePlan) -> tuple[int, int | None]:
        """
        Return the target of *edge*, and the hop whose reply it serves if that is `done`.
        """
        if edge.to != DONE_INDEX:
            return edge.to, None
        answer = self._last_answer if edge.answer is None else self._replies.get(edge.answer)
        if answer is None and edge.otherwise is not None:
            return edge.otherwise, self._last_answer

        return DONE_INDEX, answer

    def _leave_by_error(
        self, error_class: ErrorClass, message: str, at_us: int, wishes: tuple[Wish, ...], unhandled: Finish | None = None
    ) -> tuple[Wish, ...]:
        node = self._node
        if node.status_slot >= 0:
            self._values[node.status_slot] = "failed"
        verdicts = ""
        for edge in node.on_error:
            if edge.classes and error_class not in edge.classes:
                verdicts += "c"
            elif self._spent(self._resolve(edge)[0]):
                verdicts += "s"
            else:
                self._decide(edge, "on_error", len(verdicts), verdicts + "y", error_class)
                return self._follow(edge, at_us, wishes)
        self.decisions.append(Decision(len(self.path) - 1, "on_error", -1, "", verdicts, error_class))
        if "s" in verdicts:
            return self._stuck(wishes)

        finish = Finish(Outcome.FAILED, cause=error_class) if unhandled is None else unhandled

        return self._finish(wishes, finish._replace(message=message, node=node.name))

    def _stuck(self, wishes: tuple[Wish, ...]) -> tuple[Wish, ...]:
        message = f"every edge '{self._node.name}' could take leads to a node whose visits are used up; raise its `visits`"

        return self._finish(wishes, Finish(Outcome.FAILED, cause="visits", message=message, node=self._node.name))

    def _finish(self, wishes: tuple[Wish, ...], finish: Finish) -> tuple[Wish, ...]:
        self.phase = Phase.OVER

        return (*wishes, finish)

    # ---- small ones ---------------------------------------------------------------------------------------------

    def _settled(self, hop: int) -> tuple[Wish, ...]:
        return (Settle(hop),) if self._node.reserves else ()

    def _spent(self, to: int) -> bool:
        return to != DONE_INDEX and self._visits[to] >= self.plan.nodes[to].node.visits

    def _update_time(self, at_us: int) -> None:
        values.update_time(self.plan, self._values, at_us, self._deadline_at_us)

    def _see(self, views: tuple[ScopeView, ...]) -> None:
        if views:
            self._views = views
            values.see(self.plan, self._values, views)

    # Which entries each phase takes, and what takes them.
    LEGAL: ClassVar[Mapping[Phase, Mapping[type, Callable[[Walk, Any], tuple[Wish, ...]]]]] = {
        Phase.NEW: {Began: _began},
        Phase.RESERVING: {Granted: _granted, Denied: _denied, Cancelled: _cancelled},
        Phase.CALLING: {
            PrefixJudged: _prefix_judged,
            Replied: _replied,
            Failed: _failed,
            TimedOut: _timed_out,
            Cancelled: _cancelled,
        },
        Phase.COMMITTED: {Replied: _served, Failed: _broken, TimedOut: _broken, Cancelled: _cancelled},
        Phase.STOPPING: {Stopped: _stopped, Cancelled: _cancelled},
        Phase.OVER: {},
    }


_WAITING = frozenset({Phase.RESERVING, Phase.CALLING, Phase.COMMITTED, Phase.STOPPING})


def _refused(entry: Denied | Failed) -> Finish:
    return Finish(Outcome.FAILED, cause="contended" if entry.contended else "budget", scope=entry.scope)
