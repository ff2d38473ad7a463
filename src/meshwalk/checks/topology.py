"""
The checks of a graph's topology: names that lead somewhere, ways that end, answers that are there.

Invariants:

1. Every walk ends: an `on_error` edge lies on no cycle, and a cycle of `next` edges runs through a node with `visits`.
2. Where a walk may go to `done`, every way there has an answer to serve.
3. No cycle is listed: there may be exponentially many.  Strongly connected components say whether there is one, and a
   breadth-first search shows the shortest.

Nothing is reported that a part of the graph which the loader lost might settle.

networkx is used here and nowhere else, and only for graphs with something to find out: a cycle, or a node that no way leads to.
Importing it takes as long as importing gRPC, protobuf and OpenTelemetry together, and for a graph without cycles, which most
are, the standard library's own sorter shows that there is nothing to look for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from meshwalk.model import DONE, CacheSpec, Caps, Edge, Graph, Limits, Node
from meshwalk.model.problems import Problem, Span, in_file_order
from meshwalk.model.signals import Section
from meshwalk.model.spelling import did_you_mean, nearest


_SERVING = ("answer", "primary")
_REPLYING = (*_SERVING, "prescreen")

# Showing a path takes a search each; past this many the author has seen what is going on.
_MAX_PATHS = 10
_MAX_SUGGESTIONS = 50


# Words for the end of a walk in other languages of graphs.
_ENDINGS = ("done", "end", "__end__", "stop", "exit", "finish", "finished", "return", "answer", "serve")


class _Step(NamedTuple):
    """
    One way of leaving a node.

    Args:
        otherwise: Whether it is taken because there is no answer (`else:` in a graph).
    """

    origin: str
    section: Section
    edge: Edge
    to: str
    span: Span
    otherwise: bool = False


def check(graph: Graph) -> list[Problem]:
    """
    Find what is wrong with the shape of *graph*, in file order.
    """
    ways = tuple(_ways(graph))
    order = _order(graph, ways)
    problems = [*_names(graph, ways), *_roles(graph), *_costs(graph)]
    if order is None:
        problems += _with_cycles(graph, ways)
    else:
        problems += [*_unused_backends(graph), *_replies(graph, order, ways)]
        if len(order) < len(graph.nodes):
            problems += _unreachable(graph, _net(graph, ways), ways)

    return list(in_file_order(problems))


def _with_cycles(graph: Graph, ways: tuple[_Step, ...]) -> Iterator[Problem]:
    """
    Find what is wrong where there are cycles, or parts are missing.
    """
    net, nx = _net(graph, ways), _library()
    yield from _error_cycles(net, ways)
    yield from _next_cycles(graph, ways)
    if not graph.broken:
        yield from _unused_backends(graph)
        if graph.start in graph.nodes:
            # Cycles aside, a node comes after all from which a walk may come to it, so that one sweep is nearly enough.
            yield from _replies(graph, list(nx.dfs_postorder_nodes(net, graph.start))[::-1], ways)
    yield from _unreachable(graph, net, ways)


def _replies(graph: Graph, order: list[str], ways: Iterable[_Step]) -> Iterator[Problem]:
    reached = set(order)

    return _Replies(graph, order, [way for way in ways if way.origin in reached]).problems()


def _order(graph: Graph, ways: Iterable[_Step]) -> list[str] | None:
    """
    Return the nodes reachable from the start, each after all that lead to it; None if a cycle or a missing part prevents it.
    """
    if graph.broken or graph.start not in graph.nodes or any(way.to != DONE and way.to not in graph.nodes for way in ways):
        return None
    sorter = TopologicalSorter(dict.fromkeys(graph.nodes, ()))
    leads: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for way in ways:
        if way.to != DONE:
            sorter.add(way.to, way.origin)
            leads[way.origin].append(way.to)
    try:
        order = list(sorter.static_order())
    except CycleError:
        return None
    reached = {graph.start}
    for name in order:
        if name in reached:
            reached.update(leads[name])

    return [name for name in order if name in reached]


def knots(graph: Graph) -> dict[str, int]:
    """
    Number the nodes that lie on cycles: those that a walk can go to and fro between have the same number.
    """
    ways = tuple(_ways(graph))
    if _order(graph, ways) is not None:
        return {}
    net, nx = _net(graph, ways), _library()
    cyclic = (names for names in nx.strongly_connected_components(net) if _is_cyclic(net, names))

    return {name: number for number, names in enumerate(cyclic) for name in names}


def _ways(graph: Graph) -> Iterator[_Step]:
    sections: tuple[Section, Section] = ("next", "on_error")
    for node in graph.nodes.values():
        for section in sections:
            for edge in getattr(node, section):
                yield _Step(node.name, section, edge, edge.to, edge.to_span)
                if edge.otherwise is not None:
                    yield _Step(node.name, section, edge, edge.otherwise, edge.otherwise_span or edge.span, otherwise=True)


# ---- names ----------------------------------------------------------------------------------------------------------


class _NameCheck:
    """
    The names of a graph, with the problems of those that are not there.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.problems: list[Problem] = []

    def node(self, name: str, span: Span) -> None:
        self._look("node", name, span, self.graph.nodes)

    def target(self, name: str, span: Span) -> None:
        if name != DONE:
            self._look("node", name, span, [*self.graph.nodes, DONE])

    def backend(self, name: str, span: Span) -> None:
        self._look("backend", name, span, self.graph.backends)

    def _look(self, what: str, name: str, span: Span, known: Collection[str]) -> None:
        if name in known or name in self.graph.broken:
            return
        known = [*known, *(self.graph.broken_in.get(f"{what}s", frozenset()) - set(known))]
        remedy = did_you_mean(name, known) if len(self.problems) < _MAX_SUGGESTIONS else ""
        if DONE in known and name.lower() in _ENDINGS:
            remedy = f"write {DONE}, which serves an answer"
        if not remedy and len(known) <= _MAX_SUGGESTIONS:
            remedy = f"there are: {', '.join(known)}" if known else f"the graph has no {what}s"
        self.problems.append(Problem(span, f"unknown-{what}", f"there is no {what} '{name}'", remedy))


def _names(graph: Graph, ways: Iterable[_Step]) -> list[Problem]:
    names = _NameCheck(graph)
    if graph.start:
        names.node(graph.start, graph.start_span)
    for way in ways:
        names.target(way.to, way.span)
        if way.edge.answer is not None and not way.otherwise:
            names.node(way.edge.answer, way.edge.answer_span or way.span)
    for node in graph.nodes.values():
        for position, name in enumerate(node.of):
            names.node(name, node.places.get(f"of.{position}", node.span))
        if node.backend is not None:
            names.backend(node.backend, _backend_span(node))

    return names.problems


def _backend_span(node: Node) -> Span:
    return node.places.get("backend", node.span)


def _unused_backends(graph: Graph) -> Iterator[Problem]:
    named = {node.backend for node in graph.nodes.values() if node.backend is not None}
    # A misspelt name is said to be unknown already; here it stands for what it was meant to be.
    used = {name if name in graph.backends else nearest(name, graph.backends) for name in named}
    # A backend that only a cache calls is called.
    used |= {spec.of for spec in graph.backends.values() if isinstance(spec, CacheSpec)}
    for backend in graph.backends.values():
        if backend.name not in used:
            message = f"no node calls backend '{backend.name}'"
            yield Problem(backend.span, "unused-backend", message, "remove it, or name it in a node", "warning")


# ---- answers and costs ----------------------------------------------------------------------------------------------


def _roles(graph: Graph) -> Iterator[Problem]:
    for node in graph.nodes.values():
        for edge in (*node.next, *node.on_error):
            if edge.to != DONE:
                yield from _only_with_done(edge)
            elif edge.answer is not None:
                yield from _not_replying(graph, edge.answer, edge.answer_span or edge.span, "an answer is the reply of")
        for position, name in enumerate(node.of):
            span = node.places.get(f"of.{position}", node.span)
            if name in node.of[:position]:
                yield Problem(span, "repeated-node", f"'{name}' is named twice, and always agrees with itself")
            else:
                yield from _not_replying(graph, name, span, "a verifier compares replies of")


def _only_with_done(edge: Edge) -> Iterator[Problem]:
    for key, value, span in (("answer", edge.answer, edge.answer_span), ("else", edge.otherwise, edge.otherwise_span)):
        if value is not None:
            message = f"'{key}' says what is served, and this edge goes to '{edge.to}', not to done"
            yield Problem(span or edge.span, "answer-without-done", message, "write to: done, or leave it out")


def _not_replying(graph: Graph, name: str, span: Span, why: str) -> Iterator[Problem]:
    node = graph.nodes.get(name)
    if node is not None and node.role not in _REPLYING:
        message = f"node '{name}' is a {node.role}, and {why} an answer, primary or prescreen node"
        yield Problem(span, "no-reply", message)


def _costs(graph: Graph) -> Iterator[Problem]:
    of_cost = [f"{cap}.cost_usd" for cap, caps in _caps(graph) if caps.cost_nano_usd is not None]
    of_tokens = [f"{cap}.output_tokens" for cap, caps in _caps(graph) if caps.output_tokens is not None]
    for node in graph.nodes.values():
        backend = graph.backends.get(node.backend or "")
        if backend is None or backend.name in graph.broken or node.name in graph.broken:
            continue
        span = _backend_span(node)
        if of_cost and backend.price is None:
            message = f"a call of node '{node.name}' has no price, so {' and '.join(of_cost)} cannot hold"
            remedy = f"give backend '{backend.name}' usd_per_mtok ({{input: 0, output: 0}} if it is free)"
            yield Problem(span, "unbounded-cost", message, remedy)
        elif (of_cost or of_tokens) and node.sampling.max_tokens is None and backend.context_tokens is None:
            message = (
                f"a call of node '{node.name}' has no bound on its tokens, so {' and '.join(of_cost or of_tokens)} cannot hold"
            )
            bound = f"give the node max_tokens, or backend '{backend.name}' context_tokens"
            yield Problem(span, "unbounded-cost" if of_cost else "unbounded-tokens", message, bound)


def _caps(graph: Graph) -> Iterator[tuple[str, Limits | Caps]]:
    yield "limits", graph.limits
    for scope, budget in graph.budgets.items():
        yield f"budgets.{scope}", budget.caps


# ---- ways -----------------------------------------------------------------------------------------------------------


def _library() -> Any:
    import networkx as nx  # noqa: PLC0415 (why, the top of this file says)

    return nx


def _net(graph: Graph, ways: Iterable[_Step], section: Section | None = None) -> Any:
    net = _library().DiGraph()
    net.add_nodes_from(graph.nodes)
    net.add_nodes_from(graph.broken)
    net.add_edges_from((way.origin, way.to) for way in ways if section in (None, way.section) and way.to in net)

    return net


def _components(net: Any) -> dict[str, int]:
    """
    Number the strongly connected components, and say which each node is in.
    """
    return {name: number for number, names in enumerate(_library().strongly_connected_components(net)) for name in names}


def _error_cycles(net: Any, ways: Iterable[_Step]) -> Iterator[Problem]:
    component = _components(net)
    count = 0
    for way in ways:
        if way.section == "next" or way.to not in net or component[way.origin] != component[way.to]:
            continue
        count += 1
        path = ""
        if count <= _MAX_PATHS:
            path = ": " + " → ".join([way.origin, *_library().shortest_path(net, way.to, way.origin)])
        message = f"this on_error edge of '{way.origin}' lies on a cycle{path}"
        yield Problem(
            way.span, "error-cycle", message, "lead it to a node from which there is no way back; use 'retries' to try again"
        )


def _next_cycles(graph: Graph, ways: Iterable[_Step]) -> Iterator[Problem]:
    net = _net(graph, ways, "next")
    net.remove_nodes_from([node.name for node in graph.nodes.values() if node.visits > 1])
    order = {name: position for position, name in enumerate(graph.nodes)}
    spans = {(way.origin, way.to): way.span for way in reversed(tuple(ways)) if way.section == "next"}
    cyclic = [names for names in _library().strongly_connected_components(net) if _is_cyclic(net, names)]
    for number, names in enumerate(cyclic):
        first = min(names, key=lambda name: order[name])
        last, path = _cycle(net.subgraph(names), first) if number < _MAX_PATHS else (_any_before(net, names, first), "")
        message = f"'{first}' lies on a cycle without a bound{path}"
        yield Problem(spans[last, first], "unbounded-cycle", message, "give a node on it visits: 2 or more")


def _is_cyclic(net: Any, names: Collection[str]) -> bool:
    return len(names) > 1 or any(net.has_edge(name, name) for name in names)


def _any_before(net: Any, names: Collection[str], first: str) -> str:
    return next(name for name in names if net.has_edge(name, first))


def _cycle(net: Any, first: str) -> tuple[str, str]:
    """
    Return the node that closes the shortest cycle through *first*, and the cycle in words.
    """
    distances = _library().single_source_shortest_path(net, first)
    back = min((distances[name] for name in net.predecessors(first)), key=len)

    return back[-1], ": " + " → ".join([*back, first])


def _unreachable(graph: Graph, net: Any, ways: Iterable[_Step]) -> Iterator[Problem]:
    strays = {way.to for way in ways if way.to != DONE and way.to not in net}
    start = graph.start if graph.start in net else nearest(graph.start, graph.nodes)
    if start is None or len(strays) > _MAX_SUGGESTIONS:
        return
    # A misspelt name is said to be unknown already; here it leads where it was meant to.
    intended = {name: nearest(name, graph.nodes) for name in strays}
    net.add_edges_from((way.origin, intended[way.to]) for way in ways if intended.get(way.to) is not None)
    reached = {start, *_library().descendants(net, start)}
    # A broken node on the way may have lost the edge that leads there.
    if not reached.isdisjoint(graph.broken):
        return
    for node in graph.nodes.values():
        if node.name not in reached and node.name not in graph.broken:
            message = f"node '{node.name}' cannot be reached from start '{start}'"
            yield Problem(node.span, "unreachable-node", message, "lead an edge to it, or remove it")


# ---- what has been answered -----------------------------------------------------------------------------------------


class _Replies:
    """
    The nodes that have certainly replied, and those that may have, for each place of a walk.

    Sets of nodes are bits of whole numbers, so that many nodes meet in one operation.  Only nodes that some text names have
    a bit; the lowest bit stands for "some answer or primary".
    """

    _SERVED = 1

    def __init__(self, graph: Graph, order: list[str], ways: Iterable[_Step]) -> None:
        self.graph = graph
        self.ways = tuple(ways)
        named = {way.edge.answer for way in self.ways} | {name for node in graph.nodes.values() for name in node.of}
        replying = (node.name for node in graph.nodes.values() if node.name in named and node.role in _REPLYING)
        self.bits = {name: 2 << position for position, name in enumerate(replying)}
        self.order = order
        self.shown = 0

    def problems(self) -> Iterator[Problem]:
        certain = self._spread(meet=True)
        for way in self.ways:
            if way.to == DONE:
                yield from self._at_done(way, certain[way.origin])
        if any(node.of for node in self.graph.nodes.values()):
            possible = self._spread(meet=False)
            for name in self.order:
                yield from self._at_verifier(self.graph.nodes[name], possible[name])

    def _after(self, way: _Step, before: int, *, possible: bool = False) -> int:
        node = self.graph.nodes[way.origin]
        role = node.role
        if way.section == "on_error" or role not in _REPLYING:
            return before
        # A streamed reply that sends the walk elsewhere is stopped before its end, and is then nobody's to serve.
        if node.stream and not possible and not (way.to == DONE and way.edge.answer in (None, way.origin)):
            return before

        return before | self.bits.get(way.origin, 0) | (self._SERVED if role in _SERVING else 0)

    def _spread(self, *, meet: bool) -> dict[str, int]:
        leaving: dict[str, list[_Step]] = {name: [] for name in self.order}
        for way in self.ways:
            if way.to in leaving:
                leaving[way.origin].append(way)
        known = {self.graph.start: 0}
        changed = True
        while changed:
            changed = False
            for name in self.order:
                for way in leaving[name]:
                    brought = self._after(way, known[name], possible=not meet)
                    had = known.get(way.to)
                    has = brought if had is None else had & brought if meet else had | brought
                    if has != had:
                        known[way.to] = has
                        changed = True

        return known

    def _at_verifier(self, node: Node, possible: int) -> Iterator[Problem]:
        for position, name in enumerate(node.of):
            if name in self.bits and not possible & self.bits[name]:
                span = node.places.get(f"of.{position}", node.span)
                message = f"no walk has been at '{name}' when it comes to '{node.name}'"
                yield Problem(span, "no-reply", message, "compare nodes that come before")

    def _at_done(self, way: _Step, certain: int) -> Iterator[Problem]:
        if way.edge.otherwise is not None and not way.otherwise:
            return  # where there is no answer, its 'else' is taken
        answer = None if way.otherwise else way.edge.answer
        needed = self._SERVED if answer is None else self.bits.get(answer, 0)
        if not needed or self._after(way, certain) & needed:
            return
        whose = "no answer or primary node has" if answer is None else f"'{answer}' has not"
        self.shown += 1
        path = [*self._witness(way, needed), DONE] if self.shown <= _MAX_PATHS else [way.origin, DONE]
        message = f"on the way {' → '.join(path)}, {whose} replied"
        remedy = "add else: with a node that takes over" if way.section == "on_error" else "lead it to a node that answers"
        yield Problem(way.span, "no-answer", message, remedy)

    def _witness(self, way: _Step, needed: int) -> list[str]:
        net = _library().DiGraph([(other.origin, other.to) for other in self.ways if not self._after(other, 0) & needed])
        net.add_nodes_from([self.graph.start, way.origin])

        return list(_library().shortest_path(net, self.graph.start, way.origin))
