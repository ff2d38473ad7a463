"""
The graphs that ship, under pressure: near the end of a budget the dearest model is not asked, however hard the question.

Each is walked with scripted models over the whole grid of what callers may send; the same walks with full budgets do come to
the dearest model, so these tests would see a graph that never asks it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product, takewhile

import pytest

from meshwalk.cases import CaseResult, run_cases
from meshwalk.loader import load_graph
from meshwalk.loader.casebook import Case, Expectation, Script, Scripted
from meshwalk.model import Amount, Budget, Graph, Node, ScopeKind, Value, signals
from meshwalk.plan import NodePlan, Plan, compile_plan
from meshwalk.trace import Message, Scopes
from tests.support.files import ROOT, shipped


pytestmark = pytest.mark.anyio

GRAPHS = {path.stem: load_graph(path) for path in shipped(ROOT / "graphs")}
BUDGETED = sorted(name for name, graph in GRAPHS.items() if graph.budgets)

# Between where a graph's pressure begins and the end: nearly all is used up, and a call still fits.
NEARLY_ALL = 0.99
HARD = {name: bounds[1] if bounds[1] < float("inf") else 100_000.0 for name, bounds in signals.FEATURES.items()}
DOUBTFUL = Script((Scripted(text="Perhaps.", confidence=0.0),), endless=True)


def requests(graph: Graph) -> Iterator[dict[str, Value]]:
    """
    List every combination of what callers may send, as far as it can be listed.
    """
    listed = {name: attribute.enum for name, attribute in signals.attributes(graph).items() if attribute.enum}
    for values in product(*listed.values()):
        yield dict(zip(listed, values, strict=True))


def hard_cases(graph: Graph, spent: Mapping[ScopeKind, Amount]) -> tuple[Case, ...]:
    """
    Make the hardest request there is of every combination, where *spent* is gone and every model is in doubt.
    """
    return tuple(
        Case(
            name=str(attributes),
            span=graph.span,
            messages=(Message("user", "Prove it."),),
            expect=Expectation(),
            attributes=attributes,
            scopes=Scopes("a session", "a workflow"),
            spent=spent,
            signals=HARD,
            scripts={node.name: DOUBTFUL for node in graph.nodes.values() if node.backend is not None},
        )
        for attributes in requests(graph)
    )


def nearly_used_up(budget: Budget) -> Iterator[Amount]:
    """
    List amounts that bring *budget* near its end, by one of its caps each.
    """
    for part, cap in zip(Amount._fields, budget.caps, strict=True):
        if cap is not None:
            yield Amount()._replace(**{part: int(cap * NEARLY_ALL)})


def is_dearest(graph: Graph, node: Node) -> bool:
    """
    Tell whether no backend costs more than that of *node*.
    """
    prices = {name: backend.price.pair_rate for name, backend in graph.backends.items() if backend.price is not None}

    return node.backend is not None and prices.get(node.backend, 0) == max(prices.values())


def asked_the_dearest(graph: Graph, result: CaseResult) -> bool:
    return any(is_dearest(graph, graph.nodes[name]) for name in result.path)


def guards_of(node: NodePlan) -> list[str]:
    return [edge.edge.when or "" for edge in node.next]


def above_signals(node: NodePlan) -> Iterator[str]:
    """
    List the guards of *node* that are asked before any that reads a signal.
    """
    return takewhile(lambda guard: "signals." not in guard, guards_of(node))


@pytest.fixture(params=BUDGETED)
def plan(request: pytest.FixtureRequest) -> Plan:
    """
    Give each graph that ships with budgets.
    """
    return compile_plan(GRAPHS[request.param])


def test_one_ships_with_budgets() -> None:
    """
    There is a graph to show what budgets do, of a session and of a workflow.
    """
    assert {"session", "workflow"} <= {scope for name in BUDGETED for scope in GRAPHS[name].budgets}


async def test_full_budgets_ask_the_dearest(plan: Plan) -> None:
    """
    While nothing is spent, the hardest questions of whoever can wait go to the dearest model.
    """
    patient = [case for case in hard_cases(plan.graph, {}) if case.attributes["urgency"] != "realtime"]
    results = await run_cases(plan, patient)

    assert all(result.ok and asked_the_dearest(plan.graph, result) for result in results)


async def test_pressure_goes_before_complexity(plan: Plan) -> None:
    """
    Near the end of any cap of any shared budget, no question however hard, urgent or strict, goes to the dearest model.
    """
    for budget in plan.graph.budgets.values():
        for spent in nearly_used_up(budget):
            results = await run_cases(plan, hard_cases(plan.graph, {budget.scope: spent}))

            assert all(result.ok and "answered" == result.outcome for result in results), (budget.scope, spent)
            assert not any(asked_the_dearest(plan.graph, result) for result in results), (budget.scope, spent)


def test_pressure_stands_above_complexity(plan: Plan) -> None:
    """
    Where a classifier's signals decide, an edge that asks for each budget's pressure stands above all that ask for them.
    """
    deciding = [node.name for node in plan.nodes if any("signals." in guard for guard in guards_of(node))]
    missing = [
        (node.name, scope)
        for node, scope in product(plan.nodes, plan.graph.budgets)
        if node.name in deciding and not any(f"budget.{scope}.pressure" in guard for guard in above_signals(node))
    ]

    assert ([], True) == (missing, bool(deciding))
