"""
The cases of a graph, walked one by one, and what of the graph they cover.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshwalk.backends.classifiers import opens
from meshwalk.budgets import SpendPath
from meshwalk.budgets.vaults import MemoryVault
from meshwalk.cases.judge import End, edge_name, failures_of
from meshwalk.cases.results import CaseResult, Coverage, Failure, Uncovered
from meshwalk.cases.stage import ScriptedClassifier, Stage, Unscripted
from meshwalk.engine import Engine
from meshwalk.engine.walk_budget import shared_scopes
from meshwalk.loader.casebook import Case, EdgeName
from meshwalk.model.problems import RequestError
from meshwalk.plan import Plan
from meshwalk.records.hops import condition
from meshwalk.records.results import RouteResult
from meshwalk.trace import Request


async def run_cases(plan: Plan, cases: Sequence[Case]) -> tuple[CaseResult, ...]:
    """
    Walk every one of *cases* over *plan*, and judge what came of it.
    """
    return tuple([await _run(plan, case) for case in cases])


def coverage(plan: Plan, results: Sequence[CaseResult]) -> Coverage:
    """
    Count the edges of *plan* that the passed cases have taken, `next` and `on_error` alike.
    """
    taken = frozenset[EdgeName]().union(*(result.taken for result in results if result.ok))
    edges = tuple(_edges(plan))

    return Coverage(edges=len(edges), missing=tuple(edge for edge in edges if edge.name not in taken))


def _edges(plan: Plan) -> Iterator[Uncovered]:
    for node in plan.nodes:
        for position, edge in enumerate(node.next):
            yield Uncovered(EdgeName(node.name, "next", position), edge.edge.to, condition(edge))
        for position, edge in enumerate(node.on_error):
            yield Uncovered(EdgeName(node.name, "on_error", position), edge.edge.to, condition(edge))


async def _run(plan: Plan, case: Case) -> CaseResult:
    stage = Stage(plan, case)
    backends = dict.fromkeys(plan.graph.backends, stage)
    vault = await _vault(plan, case)
    classifiers = {name: ScriptedClassifier(node, case) for name, node in plan.graph.nodes.items() if opens(node)}
    engine = Engine(
        plan,
        backends,
        lambda _: None,
        vault=vault,
        classifiers=classifiers,
        features=stage.features,
        clock_ns=stage.clock_ns,
        sleep=stage.sleep,
        # Nothing is left to chance, and no pause is longer than what a backend asks for.
        chance=lambda: 0.0,
    )
    request = Request(case.messages, attributes=case.attributes, limits=case.limits, scopes=case.scopes)
    try:
        end = _ended(await engine.walk(request, stage.watch))
    except RequestError as error:
        end = End("rejected", reason=str(error))
    except Unscripted as missing:
        end = End("unscripted", tuple(stage.path), tuple(stage.decisions))
        return _result(case, end, (Failure("replies", f"{missing} (the walk so far: {end})", case.span),))

    return _result(case, end, tuple(failures_of(plan, case, end)))


async def _vault(plan: Plan, case: Case) -> MemoryVault:
    """
    Return a vault of which is spent what *case* says.
    """
    vault = MemoryVault(lambda: 0)
    for scope in shared_scopes(tuple(plan.graph.budgets.values()), case.scopes):
        if spent := case.spent.get(scope.kind):
            # An id is charged once, and each scope is spent from on its own.
            await vault.charge(f"before in {scope.kind}", (scope,), spent, SpendPath())

    return vault


def _ended(walked: RouteResult) -> End:
    traversal = walked.traversal

    return End(
        traversal.outcome.value,
        walked.path,
        tuple(traversal.decisions),
        walked.reason,
        traversal.finish.cause,
        traversal.answer_node,
        walked.answer or "",
        traversal.cost_nano_usd,
        traversal,
    )


def _result(case: Case, end: End, failures: tuple[Failure, ...]) -> CaseResult:
    return CaseResult(
        name=case.name,
        path=end.path,
        outcome=end.outcome,
        cost_nano_usd=end.cost_nano_usd,
        taken=frozenset(edge_name(end, decision) for decision in end.decisions if decision.edge >= 0),
        failures=failures,
    )
