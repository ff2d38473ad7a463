"""
Does a graph decide as its author meant?  Cases are walked by the real engine, with scripted models and a pretended clock.

Cases stand beside a graph, as `<name>.cases.yaml`:

    cases:
      - name: a confident screen answers
        given:
          messages: What is the capital of France?     # or a list of {role, content, name}
          attributes: {correctness: lenient}           # what the caller sends
          limits: {cost_usd: 0.01}                     # the caller's own, as in a graph
          session: s-17                                # and `workflow`: whose budgets it draws on
          spent: {session: {cost_usd: 0.85, calls: 3}} # what was spent of them before: session, workflow, tenant
          signals: {complexity: 0.1}                   # what classifiers say; what is left out is computed
          replies:
            screen: {text: Paris., confidence: 0.9, usage: {input: 30, output: 8}}
            primary: {error: overloaded}               # or a list: one for each call in turn
        expect:
          path: [intake, screen, done]                 # `done` at the end: an answer is served
          takes: screen -> done                        # or `edge 1 of screen`, `error edge 1 of screen`, an edge's id
          outcome: answered                            # refused, failed, or rejected (no walk was begun)
          served: screen
          cost_usd_at_most: 0.001                      # and `reason`, `cause` for walks without an answer
          scope: session                               # what refused a call: request, session, workflow or tenant

A reply takes `text`, `confidence`, `finish_reason`, `usage`, `cost_usd` and `latency`, a failure takes `error` (rate_limited,
overloaded, unreachable, malformed, refused_by_model or timeout) and `latency`.  A confidence reaches the node however it
reads one; only a stated one has to stand in the text.  What is not in `expect` is not looked at.

A case is alone with its budgets: what stands under `spent` was spent by nobody it meets, and it needs no name for a session
or a workflow of which it says what was spent.  A scope that it neither names nor says this of does not cap it.

Laws of this room:

1. Only the models and the clock are pretended.  Admission, budgets, retries, deadlines and roles are the engine's own.
2. Shared budgets are kept in a vault of the case's own, whose time stands still, so no window ends and no lease.
3. Time passes only in calls: each takes its `latency`, cut off where the hop's or the attempt's time ends, which is a timeout
   like any other and charged at its worst.  `error: timeout` takes all the time there is.
4. A call that a case says nothing of ends the walk there, and the case fails: what would follow is nobody's intention.
5. An edge is covered if a case that passes takes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshwalk.budgets import Place
from meshwalk.casebook import Case, EdgeName
from meshwalk.cases.judge import End, edge_name, failures_of
from meshwalk.cases.results import CaseResult, Coverage, Failure, Uncovered
from meshwalk.cases.stage import SaidBy, Stage, Unscripted
from meshwalk.classifiers import opens
from meshwalk.engine import Engine, Walked
from meshwalk.engine.purse import shared_scopes
from meshwalk.hops import condition
from meshwalk.plan import Plan
from meshwalk.problems import RequestError
from meshwalk.trace import Request
from meshwalk.vaults import MemoryVault


__all__ = ["CaseResult", "Coverage", "Failure", "Uncovered", "coverage", "run_cases"]


async def run_cases(plan: Plan, cases: Sequence[Case]) -> tuple[CaseResult, ...]:
    """
    Walk every one of *cases* over *plan*, and judge what came of it.
    """
    return tuple([await _run(plan, case) for case in cases])


def coverage(plan: Plan, results: Sequence[CaseResult]) -> Coverage:
    """
    Count which edges of *plan* the cases that passed have taken, `next` and `on_error` alike.
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
    classifiers = {name: SaidBy(node, case) for name, node in plan.graph.nodes.items() if opens(node)}
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
            await vault.charge(f"before in {scope.kind}", (scope,), spent, Place())

    return vault


def _ended(walked: Walked) -> End:
    traversal = walked.traversal

    return End(
        traversal.outcome.value,
        walked.path,
        tuple(traversal.decisions),
        walked.reason,
        traversal.finish.cause,
        traversal.answer_node,
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
