"""
Proofs beyond the topology: edges never taken, guards that always hold, nodes never reached.

Proved by z3 (the extra `lint`) from what is declared: ranges, members, thresholds at their present values, `missing:`, what
has certainly been written, and that the edges before did not take the request.  All findings are warnings: a threshold may
well be calibrated to a value at which an edge sleeps.

A proof is given up after a second at one node, or five seconds in all.  What was not proved for want of time,
or of z3, is said to be unknown in one warning; that it was not found never means that it is not there.
An edge before counts only if it cannot be passed over, that is unless the visits of its target may be used up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, get_args

from meshwalk import guards
from meshwalk.checks import assignment
from meshwalk.model import Edge, Graph, Node, signals
from meshwalk.model.problems import ErrorClass, Problem, Span


if TYPE_CHECKING:
    from meshwalk.checks.reachability.encoding import Formulas


Trees = Mapping[tuple[str, int], guards.Checked]

NODE_SECONDS = 1.0
ALL_SECONDS = 5.0

_MAX_NAMES = 5


def check(graph: Graph, trees: Trees, *, node_seconds: float = NODE_SECONDS, all_seconds: float = ALL_SECONDS) -> list[Problem]:
    """
    Find what never happens in a graph that has no errors.

    Args:
        trees: The checked guards by node and position in `next`.
    """
    search = _Search(graph, trees, node_seconds, all_seconds)

    return [*search.on_errors(), *search.guards(), *search.unreached()]


class _Search:
    """
    A search through a graph, with the edges that are never taken.
    """

    def __init__(self, graph: Graph, trees: Trees, node_seconds: float, all_seconds: float) -> None:
        self.graph = graph
        self.trees = trees
        self.node_seconds = node_seconds
        self.until = time.monotonic() + all_seconds
        self.rings = assignment.rings(graph)
        self.dead: set[tuple[str, str, int]] = set()
        self.unknown: list[str] = []
        written = (output for node in graph.nodes.values() for output in signals.outputs(node))
        self.maybe = {output.slot for output in written if output.optional}

    def on_errors(self) -> Iterator[Problem]:
        """
        Go through `on_error` edges whose classes are all taken before; this needs no proof.
        """
        for node in self.graph.nodes.values():
            covered: set[str] = set()
            for position, edge in enumerate(node.on_error):
                classes = set(edge.classes or get_args(ErrorClass))
                if classes <= covered:
                    self.dead.add((node.name, "on_error", position))
                    message = f"edge {node.name} → {edge.to} is never taken: the edges before it take every class it takes"
                    yield _warning(edge.to_span, "never-taken", message, "remove it, or put it before them")
                covered |= classes

    def guards(self) -> Iterator[Problem]:
        """
        Go through what guards never allow, then say what is unknown.
        """
        named = {name for name, _ in self.trees}
        guarded = [node for node in self.graph.nodes.values() if node.name in named]
        if not guarded:
            return
        try:
            from meshwalk.checks.reachability.encoding import Formulas  # noqa: PLC0415 - an extra, and a third of a second to load
        except ModuleNotFoundError:
            message = "whether an edge is never taken or a guard always holds is unknown, because z3 is not installed"
            yield _warning(self.graph.span, "not-proved", message, "install the extra: pip install 'meshwalk[lint]'")
            return
        written = assignment.replied(self.graph, self.trees)
        visits = {name: node.visits for name, node in self.graph.nodes.items()}
        for node in guarded:
            if time.monotonic() >= self.until:
                self.unknown.append(node.name)
                continue
            yield from self._at(node, Formulas(node, self._certain(node, written.get(node.name, frozenset())), visits))
        yield from self._not_proved()

    def unreached(self) -> Iterator[Problem]:
        """
        Go through the nodes that only edges never taken lead to.
        """
        reached, waiting = {self.graph.start}, [self.graph.start]
        while waiting:
            for to in self._alive(self.graph.nodes[waiting.pop()]):
                if to in self.graph.nodes and to not in reached:
                    reached.add(to)
                    waiting.append(to)
        led: dict[str, set[str]] = {name: set() for name in self.graph.nodes}
        for name in reached:
            for edge in (*self.graph.nodes[name].next, *self.graph.nodes[name].on_error):
                for target in (edge.to, edge.otherwise):
                    led.setdefault(target or "", set()).add(name)
        for node in self.graph.nodes.values():
            if node.name not in reached:
                leading = sorted(led[node.name])
                ways = ", ".join(f"{name} → {node.name}" for name in leading)
                reason = f"{ways} is never taken" if leading else "only nodes lead to it that no request reaches themselves"
                message = f"no request reaches node '{node.name}': {reason}"
                yield _warning(node.span, "never-reached", message, "mend the guards on the way to it, or remove it")

    # ---- one node -----------------------------------------------------------------------------------------------

    def _at(self, node: Node, formulas: Formulas) -> Iterator[Problem]:
        until = min(self.until, time.monotonic() + self.node_seconds)
        guarded = [(edge, self.trees.get((node.name, position))) for position, edge in enumerate(node.next)]
        conditions = [formulas.condition(checked.tree) if checked else None for _, checked in guarded]
        formulas.seal()
        for position, ((edge, checked), condition) in enumerate(zip(guarded, conditions, strict=True)):
            if checked is None or condition is None:
                return
            try:
                why = formulas.reasons(condition.true, _milliseconds(until))
                if why is not None:
                    self.dead.add((node.name, "next", position))
                    yield _never(node, edge, why)
                    continue
                if self._may_be_spent(node, edge):
                    continue
                why = formulas.reasons(condition.not_held, _milliseconds(until))
            except TimeoutError:
                self.unknown.append(node.name)
                return
            if why is not None:
                self.dead.update((node.name, "next", after) for after in range(position + 1, len(node.next)))
                yield _always(node, edge, why)
                return
            formulas.suppose(condition.not_held, f"edge {node.name} → {edge.to} comes first and takes {checked.canonical}")

    def _certain(self, node: Node, written: frozenset[str]) -> set[str]:
        """
        Name the slots that surely have a value where *node* is left by `next`.
        """
        slots = set(written) | {output.slot for output in signals.outputs(node)}
        slots |= {f"signals.{attribute.name}" for attribute in signals.written(node)}

        return slots - self.maybe

    def _may_be_spent(self, node: Node, edge: Edge) -> bool:
        return edge.to in self.rings and self.rings[edge.to] == self.rings[node.name]

    def _not_proved(self) -> Iterator[Problem]:
        if self.unknown:
            shown = ", ".join(f"'{name}'" for name in self.unknown[:_MAX_NAMES])
            more = f" and {len(self.unknown) - _MAX_NAMES} more" if len(self.unknown) > _MAX_NAMES else ""
            message = f"whether an edge of {shown}{more} is never taken is unknown, because the proof took too long"
            yield _warning(self.graph.span, "not-proved", message, "simplify the guards there, or split the graph")

    # ---- ways ---------------------------------------------------------------------------------------------------

    def _alive(self, node: Node) -> Iterator[str]:
        for section, edges in (("next", node.next), ("on_error", node.on_error)):
            for position, edge in enumerate(edges):
                if (node.name, section, position) not in self.dead:
                    yield edge.to
                    if edge.otherwise is not None:
                        yield edge.otherwise


def _milliseconds(until: float) -> int:
    left = int((until - time.monotonic()) * 1000)
    if left <= 0:
        raise TimeoutError

    return left


def _never(node: Node, edge: Edge, why: list[str]) -> Problem:
    reason = "; ".join(why) if why else "its guard contradicts itself"
    message = f"edge {node.name} → {edge.to} is never taken: {reason}"
    help = "remove it, mend its guard, or put it before the edges that take all of it"

    return _warning(_guard_span(edge), "never-taken", message, help)


def _always(node: Node, edge: Edge, why: list[str]) -> Problem:
    reason = "; ".join(why) if why else "it is true whatever the signals are"
    what = f"the guard on edge {node.name} → {edge.to} always holds when it is asked"
    message = f"{what}, so the edges after it are never taken: {reason}"
    help = "leave out its `when` and the edges after it, or mend the guard"

    return _warning(_guard_span(edge), "always-holds", message, help)


def _guard_span(edge: Edge) -> Span:
    return edge.place(0, len(edge.when or ""))


def _warning(span: Span, code: str, message: str, help: str) -> Problem:
    return Problem(span, code, message, help, "warning")
