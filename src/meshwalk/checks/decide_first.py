"""
The one rule: a decision after inference is accounting, not control.

The cost of a request is decided before the expensive call, or not at all.  So two shapes of a graph are warned of:

- A walk can come to a primary, and nothing was decided before: no guard on the way, no prescreen, no model that judged an
  answer, no cheaper answer.  A node
  whose `next` has any guard decides for whoever leaves it that way; a cheaper answer that was tried and failed was tried.
- After a primary has replied, an edge chooses an answerer that is cheaper than it, or as dear: the money is spent, and
  the choice can only record that.  Nodes that do not answer (verifiers, classifiers, prescreens) are looked through.

Prices are compared by what one token in and one token out cost together; two nodes of one backend cost the same.  Where a price
is not declared nothing is known, and nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshwalk.model import DONE, Edge, Graph, Node
from meshwalk.model.problems import Problem


_ANSWERERS = ("answer", "primary")

_BEFORE = "decide before the expensive call: put a guard, a prescreen or a cheaper answer on the way to it"
_AFTER = "the expensive call is paid by then; try the cheaper one first, and lead on to the primary where it does not do"


def check(graph: Graph) -> list[Problem]:
    """
    Find where *graph*, which must be free of errors, decides too late.
    """
    return [*_unguarded(graph), *_too_late(graph)]


def _price(graph: Graph, node: Node) -> int | None:
    price = graph.backends[node.backend].price if node.backend is not None else None

    return None if price is None else price.pair_rate


# ---- before the primary ---------------------------------------------------------------------------------------------


def _unguarded(graph: Graph) -> Iterator[Problem]:
    came_from: dict[tuple[str | None, int | None], dict[str, str | None]] = {}
    for node in graph.nodes.values():
        if node.role != "primary":
            continue
        price = _price(graph, node)
        # Primaries of one price have the same nodes before them; without a price only the backend tells who is as dear.
        key = (node.backend if price is None else None, price)
        if key not in came_from:
            came_from[key] = _undecided(graph, node)
        if node.name in came_from[key]:
            path = " → ".join(_path(came_from[key], node.name))
            message = f"a walk may come to primary '{node.name}' with nothing decided before ({path})"
            yield Problem(node.span, "unguarded-primary", message, _BEFORE, "warning")


def _undecided(graph: Graph, primary: Node) -> dict[str, str | None]:
    """
    Return the nodes to which a walk may come with nothing decided, each with the one before it.
    """
    came_from: dict[str, str | None] = {graph.start: None}
    queue = [graph.nodes[graph.start]]
    for node in queue:
        for to in _undecided_ways(graph, node, primary):
            if to not in came_from:
                came_from[to] = node.name
                queue.append(graph.nodes[to])

    return came_from


def _undecided_ways(graph: Graph, node: Node, primary: Node) -> Iterator[str]:
    # Nodes after an unguarded primary are reported with that primary.
    if node.role in ("primary", "prescreen") or (node.role == "verifier" and node.backend is not None):
        return
    if node.role == "answer" and _may_be_cheaper(graph, node, primary):
        return
    edges = list(node.on_error)
    if all(edge.when is None for edge in node.next):
        edges += node.next
    for edge in edges:
        yield from (to for to in (edge.to, edge.otherwise) if to is not None and to != DONE)


def _may_be_cheaper(graph: Graph, node: Node, primary: Node) -> bool:
    if node.backend == primary.backend:
        return False
    price, primary_price = _price(graph, node), _price(graph, primary)

    return price is None or primary_price is None or price < primary_price


def _path(came_from: Mapping[str, str | None], name: str) -> list[str]:
    path: list[str] = []
    step: str | None = name
    while step is not None:
        path.append(step)
        step = came_from[step]

    return path[::-1]


# ---- after the primary ----------------------------------------------------------------------------------------------


def _too_late(graph: Graph) -> Iterator[Problem]:
    for node in graph.nodes.values():
        if node.role == "primary":
            yield from _after(graph, node)


def _after(graph: Graph, primary: Node) -> Iterator[Problem]:
    seen = {primary.name}
    queue: list[tuple[Node, Edge, str]] = [(primary, edge, primary.name) for edge in primary.next]
    for node, edge, path in queue:
        chosen = graph.nodes[edge.answer] if edge.to == DONE and edge.answer is not None else None
        for to in (edge.to, edge.otherwise):
            if to is None or to == DONE:
                continue
            target = graph.nodes[to]
            if target.role in _ANSWERERS:
                chosen = target
            elif to not in seen:
                seen.add(to)
                queue += [(target, further, f"{path} → {to}") for further in (*target.next, *target.on_error)]
        if chosen is not None and _is_no_dearer(graph, chosen, primary, edge):
            yield _accounting(primary, node, chosen, edge, path)


def _is_no_dearer(graph: Graph, chosen: Node, primary: Node, edge: Edge) -> bool:
    if chosen.name == primary.name and edge.to == DONE:
        return False  # it serves what the primary said
    if chosen.backend == primary.backend:
        return True
    price, primary_price = _price(graph, chosen), _price(graph, primary)

    return price is not None and primary_price is not None and price <= primary_price


def _accounting(primary: Node, node: Node, chosen: Node, edge: Edge, path: str) -> Problem:
    what = f"serves '{chosen.name}'" if edge.to == DONE else f"goes to '{chosen.name}'"
    message = (
        f"after primary '{primary.name}' has replied, this edge of '{node.name}' {what}, which costs no more "
        f"({path} → {chosen.name if edge.to != DONE else DONE}): a decision after inference is accounting, not control"
    )

    return Problem(edge.to_span, "accounting-not-control", message, _AFTER, "warning")
