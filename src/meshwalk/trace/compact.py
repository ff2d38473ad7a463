"""
Hops that took the usual way, each kept as one line: granted at once, called once, answered, and left by an edge of `next`.

The entries and wishes of a hop follow from its line (`CompactTrace`), and are made only where they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meshwalk.model import Amount, Value
from meshwalk.model.constructors import fast_constructor
from meshwalk.trace.entries import Attempt, Basis, ScopeView
from meshwalk.trace.exchange import Timing, Usage


class CompactCall(NamedTuple):
    """
    The one call of a compact hop.

    Args:
        started_us: When its reservation was granted and it began.
        cost_bound: With the two below: the amounts reserved for it; None cannot be bounded.
        shared_views: The budgets shared with other walks, as its reservation left them.  Its cost is taken from there, and
            the walk's own limits follow from the other hops.
        endpoint: The endpoint of the backend that took it, where the backend has several.
    """

    backend: str
    started_us: int
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
    shared_views: tuple[ScopeView, ...] = ()
    endpoint: str = ""

    @property
    def reserved(self) -> Amount:
        """
        Return the amount reserved for it; an amount that cannot be bounded counts as nothing.
        """
        return Amount(self.cost_bound or 0, self.input_bound, self.output_bound or 0, 1, 1)

    @property
    def spent(self) -> Amount:
        """
        Return the amount it was settled at.
        """
        return Amount(self.cost_nano_usd, self.usage[0], self.usage[1], 1, 1)

    @property
    def attempt(self) -> Attempt:
        """
        Return this call as an attempt of a full trace.
        """
        return Attempt(
            started_us=self.started_us,
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
            endpoint=self.endpoint,
            cache_age_us=self.cache_age_us,
        )


class CompactHop(NamedTuple):
    """
    One hop that was granted at once and called once, or that calls nothing.

    Args:
        started_us: When the walk decided to come here.
        at_us: When the hop was over.
        edge: The index of the edge of `next` that took the walk on, *to* where, with a verdict for each edge as in `Decision`.
    """

    node: str
    started_us: int
    deadline_at_us: int
    at_us: int
    outputs: Mapping[str, Value]
    edge: int
    to: str
    verdicts: str
    call: CompactCall | None = None


make_compact_call = fast_constructor(CompactCall)
make_compact_hop = fast_constructor(CompactHop)
