"""
A walk in short: what is left of hops that went straight, and how it is told at length.

Most hops go as they should: their reservation is granted at once, they are called once, and they reply.  What is to be known
of such a hop fits one `CompactHop`, made in a fraction of the time that its entries and wishes take; those follow from it, and
`CompactTrace` tells them whenever somebody asks.  A walk with anything else in it is recorded at length from the start.

Laws of this room:

1. What `CompactTrace` tells is what an ordinary walk, fed the same, would have recorded, down to the last entry and wish.
2. Nothing here asks a plan: a record says all by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from meshwalk.model import Amount, Caps, Limits, Value
from meshwalk.trace.entries import Attempt, Basis, Began, Entry, Facts, Granted, Replied, View
from meshwalk.trace.exchange import Timing, Usage
from meshwalk.trace.wishes import Call, Decision, Finish, Outcome, Reserve, Settle, Wish


TemplateKey = tuple[object, ...]
Step = tuple[Entry, tuple[Wish, ...]]

# Of the attributes of a request, those that every graph has.
_ASKED = frozenset({"urgency", "correctness"})

# Why most replies end, so that walks all of whose replies do are of a kind.
_STOP = "stop"

# The scope every walk has for itself.
_REQUEST = "request"


class CompactCall(NamedTuple):
    """
    Keep the one call of a hop that went straight.

    Args:
        at: When its reservation was granted and it began.
        latency_us: How long it took.
        cost_bound: With the two below: what was reserved; None cannot be bounded.
        shared: The budgets that it shares with other walks, as the reservation left them.  What it spent went from there, and
            how the walk's own limits stood follows from the other legs.
    """

    backend: str
    at: int
    latency_us: int
    cost_bound: int | None
    input_bound: int
    output_bound: int | None
    timing: Timing
    usage: Usage
    cost_nano_usd: int
    basis: Basis
    model: str = ""
    finish_reason: str = ""
    simulated: bool = False
    cache_age_us: int | None = None
    span_id: str = ""
    shared: tuple[View, ...] = ()

    @property
    def held(self) -> Amount:
        """
        Return what was reserved for it; what cannot be bounded holds nothing.
        """
        return Amount(self.cost_bound or 0, self.input_bound, self.output_bound or 0, 1, 1)

    @property
    def spent(self) -> Amount:
        """
        Return what it was settled at.
        """
        return Amount(self.cost_nano_usd, self.usage[0], self.usage[1], 1, 1)

    @property
    def attempt(self) -> Attempt:
        """
        Return it as a line of the record.
        """
        return Attempt(
            started_at=self.at,
            latency_us=self.latency_us,
            status="ok",
            timing=self.timing,
            usage=self.usage,
            reserved_nano_usd=self.cost_bound or 0,
            cost_nano_usd=self.cost_nano_usd,
            basis=self.basis,
            backend=self.backend,
            model=self.model,
            finish_reason=self.finish_reason,
            simulated=self.simulated,
            span_id=self.span_id,
            cache_age_us=self.cache_age_us,
        )


class CompactHop(NamedTuple):
    """
    Keep one hop that went straight: granted at once and called once, or one that calls nothing; and left by an edge of `next`.

    Args:
        started_us: When the walk decided to come here.
        at: When the hop was over.
        edge: Which edge of the node took the walk on, *to* where, with a verdict for each edge as in `Decision`.
    """

    node: str
    started_us: int
    deadline_at: int
    at: int
    outputs: Mapping[str, Value]
    edge: int
    to: str
    verdicts: str
    call: CompactCall | None = None


# One walk makes several of each; the constructors that take the fields one by one need twice the time.
make_compact_call: Callable[[tuple[object, ...]], CompactCall] = partial(tuple.__new__, CompactCall)
make_compact_hop: Callable[[tuple[object, ...]], CompactHop] = partial(tuple.__new__, CompactHop)


class CompactTrace(NamedTuple):
    """
    Keep a walk all of whose hops went straight.

    Args:
        answer_hop: Whose reply was served; None if the walk was refused, and then by which node, and why.
        shared: The budgets that it shares with other walks, where guards asked for them before anything was reserved.
    """

    facts: Facts
    limits: Limits
    legs: tuple[CompactHop, ...]
    answer_hop: int | None = None
    refused_by: str = ""
    reason: str = ""
    shared: tuple[View, ...] = ()

    @property
    def path(self) -> list[str]:
        """
        Name the node of each hop.
        """
        path = [leg.node for leg in self.legs]

        return [*path, self.refused_by] if self.refused_by else path

    @property
    def calls(self) -> list[CompactCall]:
        """
        List the calls made, in order.
        """
        return [leg.call for leg in self.legs if leg.call is not None]

    @property
    def latency_us(self) -> int:
        """
        Return how long the walk took.
        """
        return self.legs[-1].at if self.legs else 0

    @property
    def stopped(self) -> bool:
        """
        Tell whether every reply ended with "stop", and is taken for that.
        """
        for leg in self.legs:
            call = leg.call
            if (call is not None and call.finish_reason != _STOP) or leg.outputs.get("finish_reason", _STOP) != _STOP:
                return False

        return True

    @property
    def kind(self) -> TemplateKey | None:
        """
        Return what it has in common with all walks of which the same is told but for ids, times, counts and texts.

        None is one of a kind: some of it was decided while the vault of shared budgets was away.
        """
        facts, _, legs, *ended, _ = self
        kind: list[object] = [ended[0], ended[1], *map(bool, facts.scopes), facts.sampling.max_tokens, self.stopped]
        kind += [value for name, value in facts.attributes if name in _ASKED]
        for node, _, _, _, outputs, edge, _, verdicts, call in legs:
            kind += node, edge, verdicts, *outputs, *map(type, outputs.values())
            if call is not None:
                _, _, _, cost, _, output, timing, usage, _, basis, model, reason, simulated, age_us, _, shared = call
                if shared and any(view.away for view in shared):
                    return None
                _, _, cached, reasoned = usage
                kind += cost is None, output is None, any(timing), not cached, not reasoned, basis
                kind += not model, not reason, simulated, age_us is None

        return tuple(kind)

    @property
    def finish(self) -> Finish:
        """
        Return the wish that ended the walk.
        """
        if self.answer_hop is None:
            return Finish(Outcome.REFUSED, message=self.reason, node=self.refused_by)

        return Finish(Outcome.ANSWERED, self.answer_hop)

    def decisions(self) -> list[Decision]:
        """
        Tell how each hop was left.
        """
        return [Decision(hop, "next", leg.edge, leg.to, leg.verdicts) for hop, leg in enumerate(self.legs)]

    def steps(self) -> list[Step]:
        """
        Tell each entry with the wishes it was answered with.
        """
        told: list[Step] = []
        entries = self.entries()
        settle: tuple[Wish, ...] = ()
        for hop, leg in enumerate(self.legs):
            call = Call(hop, leg.node, leg.deadline_at)
            if leg.call is not None:
                bounds = leg.call.cost_bound, leg.call.input_bound, leg.call.output_bound
                reserve = Reserve(hop, leg.node, *bounds, calls=1, hops=1, deadline_at=leg.deadline_at)
                told += [(next(entries), (*settle, reserve)), (next(entries), (call,))]
                settle = (Settle(hop),)
            else:
                told.append((next(entries), (*settle, call)))
                settle = ()
        told.append((next(entries), (*settle, self.finish)))

        return told

    def views_at(self, hop: int) -> tuple[tuple[View, ...], tuple[View, ...]]:
        """
        Return the budgets as the reservation of *hop* left them, and as the hop did; nothing where it called nobody.
        """
        granted: tuple[View, ...] = ()
        left: tuple[View, ...] = ()
        for entry in self.entries():
            if isinstance(entry, Granted) and entry.hop == hop:
                granted = entry.views
            elif isinstance(entry, Replied) and entry.hop == hop:
                left = entry.views

        return granted, left

    def entries(self) -> Iterator[Entry]:
        """
        Tell what happened, in order.
        """
        limits = self.limits
        caps = Caps(limits.cost_nano_usd, limits.input_tokens, limits.output_tokens, limits.calls)
        spent = Amount()
        yield Began(0, self.facts, limits, (View(_REQUEST, caps, spent), *self.shared))
        for hop, (leg, call) in enumerate((leg, leg.call) for leg in self.legs):
            if call is None:
                yield Replied(hop, leg.at, leg.outputs)
                continue
            held, paid, shared = call.held, call.spent, call.shared
            yield Granted(hop, call.at, (View(_REQUEST, caps, spent.plus(held)), *shared))
            spent, change = spent.plus(paid), paid.less(held)
            left = (View(_REQUEST, caps, spent), *[view.changed(change) for view in shared])
            yield Replied(hop, leg.at, leg.outputs, (call.attempt,), left)


# As for legs: the constructor that takes the fields one by one is for those who are in no hurry.
make_compact_trace: Callable[[tuple[object, ...]], CompactTrace] = partial(tuple.__new__, CompactTrace)
