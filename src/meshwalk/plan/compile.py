"""
A checked, compiled, immutable graph, and how a graph becomes one.

Names become indices, guards become code objects over a list of signal values, prices and bounds stand on the node that is
called; nothing is looked up or parsed while requests walk.  Only signals that some guard reads have a slot in that list.

Two digests name a plan.  `plan_digest` covers everything that decides; `shape_digest` leaves out the threshold values, so
that two calibrations of one graph share it.  Comments, key order, descriptions and addresses change neither.  Both
are taken over the canonical form (`canonical`), which the loader reads back: a stored plan is enough to replay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from meshwalk import guards, loader
from meshwalk.checks import assignment, bounds, decide_first, limits, reachability, topology, worst_case
from meshwalk.model import DONE, AnyBackendSpec, Edge, Graph, Limits, Node, Price, Role, Value, signals
from meshwalk.model.arguments import checked_setup, fault_of
from meshwalk.model.problems import GraphError, Problem, in_file_order
from meshwalk.plan import canonical
from meshwalk.trace import Facts


DONE_INDEX = -1

Bound = worst_case.Bound  # of a call


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """
    One compiled edge.

    Args:
        to: A node's index, or `DONE_INDEX`.
        test: The guard over a walk's values: True, False, or None for undetermined; None in its place always holds.
        answer: With `DONE_INDEX`: the index of the node whose reply is served.
        otherwise: The index of the target if there is no such reply.
        checked: The guard's tree, for explanations.
    """

    to: int
    edge: Edge
    test: guards.Test | None = None
    checked: guards.Checked | None = None
    classes: frozenset[str] = frozenset()
    answer: int | None = None
    otherwise: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """
    One compiled node.

    Args:
        calls: Whether a backend is called, so that time and money are at stake.
        reserves: Whether a visit is reserved: where it calls, and everywhere if the hops of a shared scope are capped.
        serves: Whether `to: done` may serve its reply without being told so.
        runs: Where the guards of *next* can be looked up (`choose`); nothing if they are all tried in order.
        writes: (output, slot) for each output that some guard reads.
        visits_slot: -1 where no guard reads it, as for *status_slot*.
        need: Bounds a call: cost in nano-dollars, input tokens, output tokens; None where nothing declared bounds it.
    """

    index: int
    name: str
    role: Role
    node: Node
    next: tuple[EdgePlan, ...]
    on_error: tuple[EdgePlan, ...]
    runs: tuple[guards.Run, ...]
    calls: bool
    reserves: bool
    serves: bool
    writes: tuple[tuple[str, int], ...]
    visits_slot: int
    status_slot: int
    price: Price | None
    context_tokens: int | None
    need: worst_case.Bounder

    def choose(self, values: Sequence[Value | None], spent: Callable[[int], bool]) -> tuple[int, str]:
        """
        Find the first edge of `next` that holds and can be taken: its position, and a verdict for each edge up to it.

        A verdict is "y" for the edge found, "n" for a guard that does not hold, "u" for an undetermined one and "s" for an
        edge that holds and leads to a spent node.  If there is no other the position is -1.

        Args:
            spent: Returns whether the visits of an edge's target are used up.
        """
        edges, verdicts = self.next, ""
        for start, stop, slot, at in self.runs or (guards.Run(0, len(edges)),):
            if at is None:
                for position in range(start, stop):
                    edge = edges[position]
                    verdict = True if edge.test is None else edge.test(values)
                    if verdict and not spent(edge.to):
                        return position, verdicts + "y"
                    verdicts += "s" if verdict else "n" if verdict is False else "u"
                continue
            value = values[slot]
            for position in () if value is None else at.get(value, ()):
                verdicts += "n" * (position - len(verdicts))
                if not spent(edges[position].to):
                    return position, verdicts + "y"
                verdicts += "s"
            verdicts += ("u" if value is None else "n") * (stop - len(verdicts))

        return -1, verdicts

    def max_tokens(self, requested: int | None) -> int | None:
        """
        Return the most tokens that a reply may have; a caller's limit may only tighten the node's.
        """
        return worst_case.max_tokens(self.node, requested)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    A whole compiled graph, shared by many walks.

    Args:
        slots: The position in a walk's values of each signal that a guard reads.
        reads_budget: Whether any guard reads what is left of a budget.
        reads_budget_first: Whether a guard may read a shared budget before anything is reserved in it.
        template: The values a walk starts from.
        canonical: The canonical form, as JSON text.
        bounds: The worst that a walk can come to.
        fits: For each backend whose `fits.<backend>` some guard reads: the slot, its window, and the nodes that call it.
        watched: Each backend whose `backend.<name>.healthy` some guard reads, with the slot.
        warnings: The findings of `check` besides errors.
    """

    graph: Graph
    nodes: tuple[NodePlan, ...]
    index: Mapping[str, int]
    start: int
    slots: Mapping[str, int]
    reads_budget: bool
    reads_budget_first: bool
    template: tuple[Value | None, ...]
    canonical: bytes
    plan_digest: str
    shape_digest: str
    bounds: bounds.Bounds
    fits: tuple[tuple[int, int, tuple[Node, ...]], ...] = ()
    watched: tuple[tuple[int, str], ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def name(self) -> str:
        """
        Name the graph.
        """
        return self.graph.name

    @property
    def limits(self) -> Limits:
        """
        Return the limits that the graph sets on one walk.
        """
        return self.graph.limits

    def pressure_from(self, scope: str) -> float:
        """
        Return the used share from which *scope* is under pressure.
        """
        budget = self.graph.budgets.get(scope)

        return self.graph.pressure_from if budget is None else budget.pressure_from

    def node(self, name: str) -> NodePlan:
        """
        Return the node called *name*.

        Raises:
            KeyError: If there is none.
        """
        return self.nodes[self.index[name]]

    def fitting(self, facts: Facts) -> Iterator[tuple[int, bool]]:
        """
        Yield for each context window that some guard reads: its slot, and whether a request surely fits.
        """
        for slot, context_tokens, callers in self.fits:
            yield slot, all(self._window(node, facts) <= context_tokens for node in callers)

    def _window(self, node: Node, facts: Facts) -> int:
        return worst_case.window(node, facts, self.graph.backends[node.backend or ""].input_bound)

    def __repr__(self) -> str:
        return f"<Plan {self.name}: {len(self.nodes)} nodes, {self.plan_digest[:12]}>"


def compile_plan(graph: Graph) -> Plan:
    """
    Turn *graph* into an immutable plan that walks can share.

    Raises:
        GraphError: With every fault found, in file order.
    """
    checked_setup(graph=fault_of(graph, (Graph,), "a meshwalk.Graph: meshwalk.load_graph(path) reads one"))
    plan, problems = examine(graph)
    if plan is not None:
        return plan
    raise GraphError(problem for problem in problems if problem.severity == "error")


def restore(text: bytes) -> Plan:
    """
    Compile a plan again from its canonical form, as a trace store keeps it.

    Raises:
        ValueError: If *text* is not a canonical form.
        GraphError: If this version of meshwalk does not take the graph any more.
    """
    graph, hashes = canonical.parts(text)

    return compile_plan(loader.read_graph(graph, file="stored plan", hashes=hashes))


def examine(graph: Graph, *, prove: bool = False) -> tuple[Plan | None, tuple[Problem, ...]]:
    """
    Find everything wrong with *graph*, and compile it if that is nothing worse than warnings.

    Args:
        prove: Also look for what never happens (`reachability`), which takes up to five seconds and an extra.
    """
    guard_sheet = _GuardSheet(graph)
    unassigned = assignment.check(graph, guard_sheet.checked)
    problems = in_file_order([*graph.problems, *topology.check(graph), *guard_sheet.problems, *unassigned])
    if _has_errors(problems):
        return None, problems
    # Bounds need a graph in which every name leads somewhere.
    worst = bounds.bound(graph)
    named = {place: checked.names for place, checked in guard_sheet.checked.items()}
    problems = in_file_order([*problems, *limits.check(graph, worst, named), *decide_first.check(graph)])
    if _has_errors(problems):
        return None, problems
    if prove:
        problems = in_file_order([*problems, *reachability.check(graph, guard_sheet.checked)])

    return _assemble(graph, guard_sheet, worst, problems), problems


def _has_errors(problems: Iterable[Problem]) -> bool:
    return any(problem.severity == "error" for problem in problems)


def with_thresholds(graph: Graph, values: Mapping[str, float]) -> Graph:
    """
    Return *graph* with other threshold values.

    Raises:
        KeyError: If a name is not a threshold of the graph.
    """
    changed = {name: replace(graph.thresholds[name], value=value) for name, value in values.items()}

    return replace(graph, thresholds={**graph.thresholds, **changed})


class _GuardSheet:
    """
    Every guard of a graph, checked once, with the trees by edge.
    """

    def __init__(self, graph: Graph) -> None:
        self.checked: dict[tuple[str, int], guards.Checked] = {}
        self.problems: list[Problem] = []
        common = signals.everywhere(graph)
        for node in graph.nodes.values():
            if any(edge.when is not None for edge in node.next):
                visible = signals.visible(graph, node, common)
                for position, edge in enumerate(node.next):
                    self._check(graph, node, position, edge, visible)

    def _check(self, graph: Graph, node: Node, position: int, edge: Edge, visible: Mapping[str, signals.Signal]) -> None:
        if edge.when is None:
            return
        try:
            self.checked[node.name, position] = guards.check(edge.when, visible)
        except guards.GuardFaults as faults:
            for fault in faults.faults:
                # A name that stands in a broken part of the graph is not also unknown here.
                name = edge.when[fault.offset : fault.offset + fault.length]
                if fault.code != "unknown-signal" or not _in_broken_part(graph, node, name):
                    self.problems.append(_placed(fault, node, edge))

    def reads(self) -> set[str]:
        """
        Return every slot that some guard reads.
        """
        return {slot for checked in self.checked.values() for slot in checked.reads}


# The section of a graph that declares the names after a first part.
_SECTIONS = {"request": "request", "thresholds": "thresholds", "fits": "backends", "backend": "backends", "hop": "nodes"}


def _in_broken_part(graph: Graph, node: Node, name: str) -> bool:
    head, _, rest = name.partition(".")
    if head == "signals":
        # A faulty classifier's signals may not be known; one with `use: features` always writes the same.
        classifiers = [other for other in graph.nodes.values() if other.role == "classifier"]
        any_broken = any(other.name in graph.broken and other.use != "features" for other in classifiers)
        any_intact = any(other.name not in graph.broken for other in classifiers)
        return any_broken or (bool(graph.broken) and not any_intact)
    if head == "output":
        return node.name in graph.broken

    section = _SECTIONS.get(head)
    broken = graph.broken if section is None else graph.broken_in.get(section, frozenset())

    return rest.partition(".")[0] in broken


def _placed(fault: guards.GuardFault, node: Node, edge: Edge) -> Problem:
    message = _sentence(fault.message, f"the guard on edge {node.name} → {edge.to}")

    return Problem(edge.place(fault.offset, fault.length), fault.code, message, fault.help)


def _sentence(message: str, guard: str) -> str:
    """
    Name the guard in *message*: as the subject if that is a guard, else as the place.
    """
    for subject in ("this guard ", "a guard "):
        if message.startswith(subject):
            return f"{guard} {message.removeprefix(subject)}"

    return f"{message} in {guard}"


def _assemble(graph: Graph, guard_sheet: _GuardSheet, worst: bounds.Bounds, problems: Sequence[Problem]) -> Plan:
    slots = {name: position for position, name in enumerate(sorted(guard_sheet.reads()))}
    index = {name: position for position, name in enumerate(graph.nodes)}
    form = canonical.form(graph, {place: checked.canonical for place, checked in guard_sheet.checked.items()})
    text = canonical.text(form)

    nodes = tuple(_node(graph, node, index, slots, guard_sheet) for node in graph.nodes.values())
    start = index[graph.start]
    reads = [slot for slot in slots if slot.startswith("budget.")]
    reads_shared = any(not slot.startswith(f"budget.{signals.REQUEST}.") for slot in reads)

    return Plan(
        graph=graph,
        nodes=nodes,
        index=index,
        start=start,
        slots=slots,
        reads_budget=bool(reads),
        reads_budget_first=reads_shared and not nodes[start].reserves,
        template=_template(graph, slots),
        canonical=text,
        plan_digest=hashlib.sha256(text).hexdigest(),
        shape_digest=hashlib.sha256(canonical.text(canonical.shape(form))).hexdigest(),
        bounds=worst,
        fits=tuple(_fits(graph, slots)),
        watched=tuple((slots[slot], name) for name in graph.backends if (slot := signals.healthy(name)) in slots),
        warnings=tuple(problems),
    )


def _fits(graph: Graph, slots: Mapping[str, int]) -> Iterator[tuple[int, int, tuple[Node, ...]]]:
    for backend in graph.backends.values():
        slot = slots.get(f"fits.{backend.name}")
        if slot is not None and backend.context_tokens is not None:
            yield slot, backend.context_tokens, tuple(node for node in graph.nodes.values() if node.backend == backend.name)


def _template(graph: Graph, slots: Mapping[str, int]) -> tuple[Value | None, ...]:
    values: list[Value | None] = [None] * len(slots)
    for node in graph.nodes:
        for name, value in ((f"hop.{node}.visits", 0.0), (f"hop.{node}.status", "none")):
            if name in slots:
                values[slots[name]] = value
    for scope in graph.budgets:
        # Until it is seen, and where the request does not name it, a scope has no pressure.
        if (pressure := f"budget.{scope}.pressure") in slots:
            values[slots[pressure]] = 0.0

    return tuple(values)


def _node(graph: Graph, node: Node, index: Mapping[str, int], slots: Mapping[str, int], guard_sheet: _GuardSheet) -> NodePlan:
    backend = graph.backends[node.backend] if node.backend is not None else None
    checked = [guard_sheet.checked.get((node.name, position)) for position in range(len(node.next))]

    return NodePlan(
        index=index[node.name],
        name=node.name,
        role=node.role,
        node=node,
        next=tuple(_edge(edge, index, slots, guard) for edge, guard in zip(node.next, checked, strict=True)),
        on_error=tuple(_edge(edge, index, slots, None) for edge in node.on_error),
        runs=guards.runs([None if guard is None else guard.tree for guard in checked], slots),
        calls=backend is not None,
        reserves=backend is not None or any(budget.caps.hops is not None for budget in graph.budgets.values()),
        serves=node.role in ("answer", "primary"),
        writes=tuple(_writes(node, slots)),
        visits_slot=slots.get(f"hop.{node.name}.visits", -1),
        status_slot=slots.get(f"hop.{node.name}.status", -1),
        price=backend.price if backend else None,
        context_tokens=backend.context_tokens if backend else None,
        need=_bounder(node, backend),
    )


def _bounder(node: Node, backend: AnyBackendSpec | None) -> worst_case.Bounder:
    if backend is None:
        return worst_case.Bounder(node, None, None)

    return worst_case.Bounder(node, backend.price, backend.context_tokens, backend.input_bound)


def _writes(node: Node, slots: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    if node.role == "classifier":
        names = [(attribute.name, f"signals.{attribute.name}") for attribute in signals.written(node)]
    else:
        names = [(output.name.rpartition(".")[2], output.slot) for output in signals.outputs(node)]
    for output, slot in names:
        if slot in slots:
            yield output, slots[slot]


def _edge(edge: Edge, index: Mapping[str, int], slots: Mapping[str, int], checked: guards.Checked | None) -> EdgePlan:
    def resolved(name: str | None) -> int | None:
        return None if name is None else DONE_INDEX if name == DONE else index[name]

    to = resolved(edge.to)
    assert to is not None
    test: guards.Test | None = None
    if checked is not None:
        test = guards.compile_test(checked.tree, slots)

    return EdgePlan(
        to=to,
        edge=edge,
        test=test,
        checked=checked,
        classes=frozenset(edge.classes),
        answer=resolved(edge.answer),
        otherwise=resolved(edge.otherwise),
    )
