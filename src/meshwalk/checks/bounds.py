"""
The worst that a walk can do: hops, time, output tokens and money, each with a path that does it, before anything runs.

No walk that the engine makes exceeds these bounds, whatever its caller sends and whatever happens to its calls: the input is
as long as the graph admits, every attempt is made and charged at its worst (a call that failed may be billed), and every edge
may be taken, those of `on_error` too.  Only a provider that charges more than its call's bound goes past them, which
the ledger counts as an overrun.  What the ledger would refuse is counted as well, so that a bound above a limit can be said.
Time is what is spent waiting for backends; what the engine itself needs is not in it.

Invariants:

1. Paths are never enumerated: the worst remainder is known for each (place, hops left), and the costliest paths are
   found best-first with that as the exact rest.
2. A place is a node with the visits that the walk has made to the nodes of its cycle, so that `visits` bound exactly.  Where
   cycles are so entangled that there are more than `_MAX_PLACES` of them, visits are forgotten and only the hops left bound:
   the bounds stay sound and may be too high, and a path may visit a node more often than a walk could.
3. Where nothing declared bounds a call, the bound is None and says why.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple

from meshwalk.checks import topology, worst_case
from meshwalk.model import DEFAULT_HOPS, DONE, URGENCY_DEADLINES_US, Graph, Node
from meshwalk.trace import Facts


COSTLIEST = 20

_MAX_PLACES = 20_000
# Steps of the dynamic programme: places' ways times hops; a graph of 1,000 nodes and 5,000 edges takes 80,000 for 16 hops.
_MAX_STEPS = 1_200_000
# More than any sum of what is bounded.
_UNBOUNDED = 1 << 200


class Worst(NamedTuple):
    """
    One bound, and the nodes of a walk that reaches it; a value of None is unbounded, for *reason*.
    """

    value: int | None
    path: tuple[str, ...] = ()
    reason: str = ""


class Costly(NamedTuple):
    """
    A path to a declared end (or to the node where its hops or visits are used up), and its worst case.
    """

    path: tuple[str, ...]
    cost_nano_usd: int | None
    output_tokens: int | None
    latency_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """
    The bounds of one walk.

    Args:
        stated_us: The time that the nodes' own limits add up to, with no regard to the walk's deadline.
        paths: The costliest, the worst first.
    """

    hops: Worst
    latency_us: Worst
    output_tokens: Worst
    cost_nano_usd: Worst
    stated_us: Worst
    paths: tuple[Costly, ...]


class _Visit(NamedTuple):
    """
    The worst case of one visit of a node; `_UNBOUNDED` where nothing bounds it.
    """

    latency_us: int = 0
    stated_us: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    tokens_reason: str = ""
    cost_reason: str = ""


def bound(graph: Graph) -> Bounds:
    """
    Bound the walks of *graph*, which must be free of errors.
    """
    visits = _visits(graph)
    hops = graph.limits.hops or DEFAULT_HOPS
    net = _Net(graph, hops)
    deadline_us = _deadline_us(graph)
    if not net.can_count:
        return _given_up(graph, hops, deadline_us)

    def programme(figure: Callable[[_Visit], int]) -> _Programme:
        return _Programme(net, [figure(visits[name]) for name in net.names])

    costs = programme(lambda one: one.cost_nano_usd)
    latency = programme(lambda one: one.latency_us).worst()
    tokens = programme(lambda one: one.output_tokens).worst()

    return Bounds(
        hops=programme(lambda _: 1).worst(),
        latency_us=latency._replace(value=min(latency.value or 0, deadline_us)),
        output_tokens=_explained(tokens, {name: one.tokens_reason for name, one in visits.items()}),
        cost_nano_usd=_explained(costs.worst(), {name: one.cost_reason for name, one in visits.items()}),
        stated_us=programme(lambda one: one.stated_us).worst(),
        paths=tuple(_costly([visits[name] for name in path], path, deadline_us) for path in costs.highest(COSTLIEST)),
    )


def _deadline_us(graph: Graph) -> int:
    deadline_us = graph.limits.deadline_us

    return max(URGENCY_DEADLINES_US.values()) if deadline_us is None else deadline_us


def _explained(worst: Worst, reasons: Mapping[str, str]) -> Worst:
    if worst.value is None or worst.value < _UNBOUNDED:
        return worst

    return worst._replace(value=None, reason=next(reasons[name] for name in worst.path if reasons[name]))


def _costly(visited: Sequence[_Visit], path: tuple[str, ...], deadline_us: int) -> Costly:
    cost = sum(one.cost_nano_usd for one in visited)
    tokens = sum(one.output_tokens for one in visited)
    latency_us = min(sum(one.latency_us for one in visited), deadline_us)

    return Costly(path, cost if cost < _UNBOUNDED else None, tokens if tokens < _UNBOUNDED else None, latency_us)


def _given_up(graph: Graph, hops: int, deadline_us: int) -> Bounds:
    unknown = Worst(None, (), f"cycles allow more ways of {hops} hops than can be counted; lower limits.hops or visits")
    visits = sum(node.visits for node in graph.nodes.values())

    return Bounds(
        hops=Worst(min(hops, visits)),
        latency_us=Worst(deadline_us),
        output_tokens=unknown,
        cost_nano_usd=unknown,
        stated_us=unknown,
        paths=(),
    )


# ---- one visit ------------------------------------------------------------------------------------------------------


def _visits(graph: Graph) -> dict[str, _Visit]:
    facts = worst_case.largest_facts(graph)

    return {name: _free(node) if node.backend is None else _visit(graph, node, facts) for name, node in graph.nodes.items()}


def _free(node: Node) -> _Visit:
    # A service or a function that classifies takes time and costs nothing that we know of.
    return _Visit(latency_us=node.deadline_us or 0, stated_us=node.deadline_us or 0)


def _visit(graph: Graph, node: Node, facts: Facts) -> _Visit:
    backend = graph.backends[node.backend or ""]
    attempts = node.retries + 1 + (node.hedge_us is not None)
    words = worst_case.unbounded_words(graph, node)
    if words and backend.context_tokens is not None:
        # They may fill the window, as plain messages of that many bytes would.
        facts = facts._replace(input_bytes=backend.context_tokens)
        cost, _, outputs = worst_case.need(
            replace(node, prompt=None), backend.price, backend.context_tokens, facts, backend.input_bound
        )
    else:
        cost, _, outputs = worst_case.need(node, backend.price, backend.context_tokens, facts, backend.input_bound)
    stated_us = _stated_us(node)
    tokens_reason = cost_reason = ""
    if outputs is None:
        tokens_reason = f"node '{node.name}' has no max_tokens, and backend '{backend.name}' no context_tokens"
        cost_reason = tokens_reason
    if words and backend.context_tokens is None:
        cost_reason = f"the prompt of node '{node.name}' quotes {words[0]}, whose length nothing bounds"
    if backend.price is None:
        cost_reason = f"backend '{backend.name}' of node '{node.name}' has no usd_per_mtok"
    elif not any(backend.price):
        cost, cost_reason = 0, ""

    return _Visit(
        latency_us=_longest_us(graph, node, stated_us),
        stated_us=0 if stated_us is None else stated_us,
        output_tokens=_UNBOUNDED if outputs is None else outputs * attempts,
        cost_nano_usd=_UNBOUNDED if cost_reason or cost is None else cost * attempts,
        tokens_reason=tokens_reason,
        cost_reason=cost_reason,
    )


def _stated_us(node: Node) -> int | None:
    """
    Add up what a node's own limits give its calls, and the pauses between them; None where it has none.
    """
    attempt_us = node.attempt_timeout_us
    if attempt_us is None:
        return node.deadline_us
    # A hedge begins while the first call is under way, and has its own time.
    beside = 0 if node.hedge_us is None else min(node.hedge_us, attempt_us)
    pauses = sum(min(node.backoff.max_us, node.backoff.first_us << retry) for retry in range(node.retries))
    together = attempt_us * (node.retries + 1) + beside + pauses

    return together if node.deadline_us is None else min(node.deadline_us, together)


def _longest_us(graph: Graph, node: Node, stated_us: int | None) -> int:
    # Only a deadline bounds the wait before a retry that a backend may ask for.
    known = node.deadline_us if node.retries else stated_us

    return _deadline_us(graph) if known is None else known


# ---- where a walk can be --------------------------------------------------------------------------------------------

# A node, and how often the walk has been at each node of its cycle.
_Place = tuple[str, tuple[tuple[str, int], ...]]


class _TooMany(Exception):
    """
    The signal that there are more than `_MAX_PLACES` places.
    """


class _Net:
    """
    Every place a walk can reach within its hops, the start first, and their successors.

    Args:
        order: The places, each before those that can follow it; empty where visits were forgotten and cycles are left.
    """

    def __init__(self, graph: Graph, hops: int) -> None:
        self.hops = hops
        self.names: list[str] = []
        self.following: list[tuple[int, ...]] = []
        targets = {name: _targets(node) for name, node in graph.nodes.items()}
        knots = topology.knots(graph)
        try:
            self._spread(graph, targets, knots)
        except _TooMany:
            self._spread(graph, targets, None)
        self.ends = [
            not following or DONE in targets[name] or graph.nodes[name].role == "refusal"
            for name, following in zip(self.names, self.following, strict=True)
        ]
        self.ways = len(self.names) + sum(map(len, self.following))
        self.order = self._sorted()
        # A graph whose longest walk is shorter than its hops needs no count of them.
        self.counted = not self.order or self._longest() > hops
        if self.order and self.ways * hops > _MAX_STEPS:
            self.counted = False
        self.can_count = not self.counted or self.ways * hops <= _MAX_STEPS

    def _spread(self, graph: Graph, targets: Mapping[str, tuple[str, ...]], knots: Mapping[str, int] | None) -> None:
        start: _Place = (graph.start, _visited((), graph.start, graph.start, knots))
        index = {start: 0}
        self.names, self.following = [], []
        level = [start]
        for left in range(self.hops - 1, -1, -1):
            reached: list[_Place] = []
            for place in level:
                name, visits = place
                follow = []
                for to in targets[name] if left else ():
                    if to == DONE or _used_up(graph, visits, name, to, knots):
                        continue
                    after = (to, _visited(visits, name, to, knots))
                    if after not in index:
                        index[after] = len(index)
                        reached.append(after)
                    follow.append(index[after])
                self.names.append(name)
                self.following.append(tuple(follow))
                if knots is not None and len(index) > _MAX_PLACES:
                    raise _TooMany
            level = reached

    def _sorted(self) -> list[int]:
        waiting = [0] * len(self.names)
        for following in self.following:
            for place in following:
                waiting[place] += 1
        order = [place for place, before in enumerate(waiting) if not before]
        for place in order:
            for after in self.following[place]:
                waiting[after] -= 1
                if not waiting[after]:
                    order.append(after)

        return order if len(order) == len(self.names) else []

    def _longest(self) -> int:
        return _Programme.uncounted(self, [1] * len(self.names))[0]


def _targets(node: Node) -> tuple[str, ...]:
    edges = (*node.next, *node.on_error)

    return tuple(dict.fromkeys(to for edge in edges for to in (edge.to, edge.otherwise) if to is not None))


def _used_up(graph: Graph, visits: tuple[tuple[str, int], ...], name: str, to: str, knots: Mapping[str, int] | None) -> bool:
    same = knots is not None and to in knots and knots[to] == knots.get(name)

    return same and dict(visits).get(to, 0) >= graph.nodes[to].visits


def _visited(
    visits: tuple[tuple[str, int], ...], name: str, to: str, knots: Mapping[str, int] | None
) -> tuple[tuple[str, int], ...]:
    if knots is None or to not in knots:
        return ()
    # A walk that has left a cycle never comes back to it, so its visits need not be known any more.
    known = dict(visits) if knots[to] == knots.get(name) else {}
    known[to] = known.get(to, 0) + 1

    return tuple(sorted(known.items()))


# ---- the dynamic programme ------------------------------------------------------------------------------------------


class _Programme:
    """
    A dynamic programme for one figure: the most that is still to come, per place and hops left.
    """

    def __init__(self, net: _Net, figures: Sequence[int]) -> None:
        self._net = net
        self._figures = figures
        self._layers = self._by_hops() if net.counted else [self.uncounted(net, figures)]
        self._hops = net.hops if net.counted else len(figures)

    @staticmethod
    def uncounted(net: _Net, figures: Sequence[int]) -> list[int]:
        """
        Return the most that is left from each place, however many hops that takes.
        """
        worst = [0] * len(figures)
        for place in reversed(net.order):
            worst[place] = figures[place] + max(map(worst.__getitem__, net.following[place]), default=0)

        return worst

    def _by_hops(self) -> list[list[int]]:
        layers = [[0] * len(self._figures)]
        pairs = list(zip(self._figures, self._net.following, strict=True))
        for _ in range(self._net.hops):
            before = layers[-1].__getitem__
            layers.append([figure + max(map(before, following), default=0) for figure, following in pairs])
            if layers[-1] == layers[-2]:
                break

        return layers

    def _left(self, hops: int) -> list[int]:
        return self._layers[min(hops, len(self._layers) - 1)]

    def worst(self) -> Worst:
        """
        Return the most that a walk can come to, and how.
        """
        net, place, left = self._net, 0, self._hops - 1
        path = [net.names[place]]
        while left and net.following[place]:
            rest = self._left(left)
            best = max(net.following[place], key=rest.__getitem__)
            if net.ends[place] and not rest[best]:
                break
            place, left = best, left - 1
            path.append(net.names[place])

        return Worst(self._left(self._hops)[0], tuple(path))

    def highest(self, max_paths: int) -> list[tuple[str, ...]]:
        """
        Return the paths to an end with the highest figures, best first; what is left is known, so none is tried in vain.
        """
        net, ticks = self._net, count()
        paths: list[tuple[str, ...]] = []
        # By figure, then the longer path first, so that of many equal ones the first is soon at its end.
        heap: list[tuple[int, int, int, int, int, _Trail | None]] = [(-self._left(self._hops)[0], 0, next(ticks), 0, 0, None)]
        while heap and len(paths) < max_paths:
            _, length, _, spent, place, before = heapq.heappop(heap)
            if place < 0:
                paths.append(_steps(before))
                continue
            trail, spent = _Trail(net.names[place], before), spent + self._figures[place]
            length -= 1
            left = self._hops + length
            if net.ends[place] or not left:
                heapq.heappush(heap, (-spent, length - 1, next(ticks), spent, -1, trail))
            if left:
                rest = self._left(left)
                for after in net.following[place]:
                    heapq.heappush(heap, (-spent - rest[after], length, next(ticks), spent, after, trail))

        return paths


class _Trail(NamedTuple):
    """
    A path, linked from its end, so that paths with one beginning share it.
    """

    name: str
    before: _Trail | None


def _steps(trail: _Trail | None) -> tuple[str, ...]:
    names: list[str] = []
    while trail is not None:
        names.append(trail.name)
        trail = trail.before

    return tuple(reversed(names))
