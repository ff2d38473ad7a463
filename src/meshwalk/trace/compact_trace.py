"""
A walk kept as one line a hop, from which its entries, wishes and decisions follow.

Most hops are granted at once, call once and are answered.  A walk with anything else in it is recorded in full.

Invariants:

1. The entries, wishes and decisions derived here are those that `Walk`, fed the same, would have recorded.
2. Nothing here asks a plan: a record is sufficient by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from meshwalk.model import Amount, Caps, Limits
from meshwalk.model.constructors import fast_constructor
from meshwalk.trace.compact import CompactCall, CompactHop
from meshwalk.trace.entries import Attempt, Began, Entry, Facts, Granted, Replied, ScopeView
from meshwalk.trace.interface import HopBuilder, Outline, Step, TemplateKey, make_outline
from meshwalk.trace.wishes import Call, Decision, Finish, Outcome, Reserve, Settle, Wish


# Of the attributes of a request, those that every graph has.
_BUILT_IN = frozenset({"urgency", "correctness"})

# Most replies end by it, so walks all of whose replies do share a template.
_STOP = "stop"

_ANSWERED, _REFUSED = Outcome.ANSWERED.value, Outcome.REFUSED.value

# An outline is made of every record that is stored, so it reads the fields without a loop of its own.
_node_of, _call_of = attrgetter("node"), attrgetter("call")
_cost_of, _latency_of = attrgetter("cost_nano_usd"), attrgetter("latency_us")

# The scope every walk has for itself.
_REQUEST = "request"


class CompactTrace(NamedTuple):
    """
    The trace of a walk all of whose hops are compact.

    Args:
        answer_hop: The hop whose reply was served; None if the walk was refused, by *refused_by* for *reason*.
        shared_views: The budgets shared with other walks, if guards asked for them before anything was reserved.
    """

    facts: Facts
    limits: Limits
    hops: tuple[CompactHop, ...]
    answer_hop: int | None = None
    refused_by: str = ""
    reason: str = ""
    shared_views: tuple[ScopeView, ...] = ()

    @property
    def path(self) -> list[str]:
        """
        Name the node of each hop.
        """
        path = [hop.node for hop in self.hops]

        return [*path, self.refused_by] if self.refused_by else path

    @property
    def calls(self) -> list[CompactCall]:
        """
        Return the calls made, in order.
        """
        return [hop.call for hop in self.hops if hop.call is not None]

    @property
    def latency_us(self) -> int:
        """
        Return the duration of the walk.
        """
        return self.hops[-1].at_us if self.hops else 0

    @property
    def engine_us(self) -> int:
        """
        Return the part of the latency that was not spent in calls.
        """
        return self.latency_us - sum([call.latency_us for call in self.calls])

    @property
    def budget_wait_us(self) -> int:
        """
        Return 0: a walk that waited is recorded in full.
        """
        return 0

    @property
    def slack_nano_usd(self) -> int:
        """
        Return the cost of the calls made while the vault was away.
        """
        return sum([call.cost_nano_usd for call in self.calls if any(view.away for view in call.shared_views)])

    @property
    def all_stopped(self) -> bool:
        """
        Tell whether every reply ended with "stop", and its outputs say so.
        """
        for hop in self.hops:
            call = hop.call
            if (call is not None and call.finish_reason != _STOP) or hop.outputs.get("finish_reason", _STOP) != _STOP:
                return False

        return True

    @property
    def template_key(self) -> TemplateKey | None:
        """
        Return a key equal for walks whose traces differ only in ids, times, counts and texts.

        None if a part of the walk was decided while the vault of shared budgets was away.
        """
        facts, _, hops, answer_hop, refused_by, *_ = self
        key: list[object] = [answer_hop, refused_by, *map(bool, facts.scopes), facts.sampling.max_tokens]
        key += [value for name, value in facts.attributes if name in _BUILT_IN]
        stopped = True
        for node, _, _, _, outputs, edge, _, verdicts, call in hops:
            stopped = stopped and outputs.get("finish_reason", _STOP) == _STOP
            key += node, edge, verdicts, *outputs, *map(type, outputs.values())
            if call is not None:
                _, _, _, cost, _, output, timing, usage, _, basis, model, reason, simulated, age_us, _, views, endpoint = call
                if views and any(view.away for view in views):
                    return None
                _, _, cached, reasoned, stored = usage
                stopped = stopped and reason == _STOP
                key += cost is None, output is None, any(timing), not cached, not reasoned, not stored, basis
                key += not model, not reason, simulated, age_us is None, endpoint

        # As `all_stopped` tells it, without another pass.
        return *key, stopped

    @property
    def began(self) -> Began:
        """
        Return the entry that started the walk.
        """
        limits = self.limits
        caps = Caps(limits.cost_nano_usd, limits.input_tokens, limits.output_tokens, limits.calls)

        return Began(0, self.facts, limits, (ScopeView(_REQUEST, caps), *self.shared_views))

    @property
    def finish(self) -> Finish:
        """
        Return the wish that ended the walk.
        """
        if self.answer_hop is None:
            return Finish(Outcome.REFUSED, message=self.reason, node=self.refused_by)

        return Finish(Outcome.ANSWERED, self.answer_hop)

    @property
    def decisions(self) -> list[Decision]:
        """
        Return the decision that ended each hop.
        """
        return [Decision(index, "next", hop.edge, hop.to, hop.verdicts) for index, hop in enumerate(self.hops)]

    @property
    def steps(self) -> list[Step]:
        """
        Return each entry with the wishes it was answered with.
        """
        steps: list[Step] = []
        entries = self.entries()
        settle: tuple[Wish, ...] = ()
        for index, hop in enumerate(self.hops):
            work = Call(index, hop.node, hop.deadline_at_us)
            if hop.call is not None:
                bounds = hop.call.cost_bound, hop.call.input_bound, hop.call.output_bound
                reserve = Reserve(index, hop.node, *bounds, calls=1, hops=1, deadline_at_us=hop.deadline_at_us)
                steps += [(next(entries), (*settle, reserve)), (next(entries), (work,))]
                settle = (Settle(index),)
            else:
                steps.append((next(entries), (*settle, work)))
                settle = ()
        steps.append((next(entries), (*settle, self.finish)))

        return steps

    def outline(self) -> Outline:
        """
        Return the sums and the end of the walk.
        """
        _, _, hops, answer_hop, refused_by, *_ = self
        path = list(map(_node_of, hops))
        calls = list(filter(None, map(_call_of, hops)))
        cost_nano_usd, calling_us = sum(map(_cost_of, calls)), sum(map(_latency_of, calls))
        if refused_by:
            path.append(refused_by)
        outcome = _REFUSED if answer_hop is None else _ANSWERED
        latency_us = hops[-1].at_us if hops else 0

        return make_outline((path, outcome, "", answer_hop, cost_nano_usd, latency_us, latency_us - calling_us))

    def entries(self) -> Iterator[Entry]:
        """
        Yield the events, in order.
        """
        began = self.began
        caps, spent = began.views[0].caps, Amount()
        yield began
        for index, (hop, call) in enumerate((hop, hop.call) for hop in self.hops):
            if call is None:
                yield Replied(index, hop.at_us, hop.outputs)
                continue
            reserved, paid, shared = call.reserved, call.spent, call.shared_views
            yield Granted(index, call.started_us, (ScopeView(_REQUEST, caps, spent.plus(reserved)), *shared))
            spent, change = spent.plus(paid), paid.less(reserved)
            left = (ScopeView(_REQUEST, caps, spent), *[view.changed(change) for view in shared])
            yield Replied(index, hop.at_us, hop.outputs, (call.attempt,), left)

    def attempts(self) -> Iterator[Attempt]:
        """
        Yield the calls made, in order, as lines of a full trace.
        """
        return (call.attempt for call in self.calls)

    def attempts_at(self, hop: int) -> tuple[Attempt, ...]:
        """
        Return the call of *hop*, if it made one.
        """
        call = self.hops[hop].call

        return () if call is None else (call.attempt,)

    def views_at(self, hop: int) -> tuple[tuple[ScopeView, ...], tuple[ScopeView, ...]]:
        """
        Return the budgets as the reservation of *hop* left them, and as the hop did; nothing if it called nobody.
        """
        granted: tuple[ScopeView, ...] = ()
        left: tuple[ScopeView, ...] = ()
        for entry in self.entries():
            if isinstance(entry, Granted) and entry.hop == hop:
                granted = entry.views
            elif isinstance(entry, Replied) and entry.hop == hop:
                left = entry.views

        return granted, left

    def simulated_at(self, hop: int) -> bool:
        """
        Tell whether no model made the reply of *hop*.
        """
        call = self.hops[hop].call

        return call is not None and call.simulated

    def build(self, builder: HopBuilder) -> None:
        """
        Give *builder* all hops, in order.
        """
        for hop in self.hops:
            builder.add(hop)
        if self.refused_by:
            builder.refuse(self.refused_by, self.latency_us, self.reason)


make_compact_trace = fast_constructor(CompactTrace)
