"""
`meshwalk test`: whether graphs decide as the cases beside them say_fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from meshwalk.cli.options import Json, TrustFlags, graph_files
from meshwalk.cli.output import NO, OK, Misuse, emit, say_fitted


if TYPE_CHECKING:
    from meshwalk.cases import CaseResult, Coverage
    from meshwalk.loader.casebook import Case
    from meshwalk.model.trust import Trust
    from meshwalk.plan import Plan


class _Tested(NamedTuple):
    """
    The results of one graph's cases.
    """

    file: str
    plan: Plan
    results: tuple[CaseResult, ...]
    coverage: Coverage
    least: float

    @property
    def ok(self) -> bool:
        return all(result.ok for result in self.results) and self.coverage.share >= self.least


def test(
    graphs: Annotated[list[str], Parameter(name="GRAPH", negative="")],
    /,
    *,
    min_coverage: Annotated[float, Parameter(name="--min-coverage")] = 0.0,
    trust: TrustFlags = TrustFlags(),
    json: Json = False,
) -> int:
    """
    Walk the cases beside graphs, and say which do not end as expected.

    The cases of GRAPH.yaml stand in GRAPH.cases.yaml; to name those is to name the graph.  The models are scripted,
    everything else is real.  Exits with 1 if a case fails, or fewer edges are taken than --min-coverage asks for.

    Parameters
    ----------
    graphs
        The graphs' YAML files.
    min_coverage
        The least share of each graph's edges that passing cases must take, from 0 to 1.
    """
    import anyio

    if not 0 <= min_coverage <= 1:
        raise Misuse(f"--min-coverage takes a share from 0 to 1, and {min_coverage:g} is none")
    files = graph_files(graphs)
    loaded = _loaded(list(files), trust.trust)
    tested = anyio.run(_tested, loaded, min_coverage)
    ok = all(graph.ok for graph in tested)
    if json:
        emit({"ok": ok, "graphs": [_document(graph) for graph in tested]})
    else:
        say_fitted("\n".join(line for graph in tested for line in _lines(graph)))

    return OK if ok else NO


def _loaded(files: Sequence[str], trust: Trust) -> list[tuple[str, Plan, tuple[Case, ...]]]:
    """
    Load every graph with its cases, so that all their faults are said at once.
    """
    from meshwalk.loader import load_cases, load_graph
    from meshwalk.model.problems import GraphError, Problem
    from meshwalk.plan import compile_plan

    problems: list[Problem] = []
    loaded = []
    for file in files:
        try:
            plan = compile_plan(load_graph(file, trust=trust))
            loaded.append((file, plan, load_cases(plan.graph)))
        except GraphError as error:
            problems += error.problems
    if problems:
        raise GraphError(problems)

    return loaded


async def _tested(loaded: Sequence[tuple[str, Plan, tuple[Case, ...]]], least: float) -> list[_Tested]:
    from meshwalk.cases import coverage, run_cases

    tested = []
    for file, plan, cases in loaded:
        results = await run_cases(plan, cases)
        tested.append(_Tested(file, plan, results, coverage(plan, results), least))

    return tested


def _document(tested: _Tested) -> dict[str, Any]:
    coverage = tested.coverage

    return {
        "graph": tested.plan.name,
        "file": tested.file,
        "ok": tested.ok,
        "cases": [_case_document(result) for result in tested.results],
        "coverage": {
            "edges": coverage.edges,
            "covered": coverage.covered,
            "share": coverage.share,
            "missing": [
                {"node": name.node, "section": name.section, "edge": name.position, "to": to, "guard": guard}
                for name, to, guard in coverage.missing
            ],
        },
    }


def _case_document(result: CaseResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "ok": result.ok,
        "path": list(result.path),
        "outcome": result.outcome,
        "cost_usd": result.cost_nano_usd / 1e9,
        "failures": [
            {
                "expectation": failure.expectation,
                "message": failure.message,
                "file": failure.span.file,
                "line": failure.span.line,
                "column": failure.span.column,
                "why": list(failure.why),
            }
            for failure in result.failures
        ],
    }


def _lines(tested: _Tested) -> Iterator[str]:
    failed = [result for result in tested.results if not result.ok]
    for result in failed:
        yield f"FAILED {result.name}"
        told: set[str] = set()
        for failure in result.failures:
            yield f"  {failure.span}: {failure.message}"
            # One decision often explains several failures.
            yield from (f"      {line}" for line in failure.why if line not in told)
            told |= set(failure.why)
    coverage = tested.coverage
    passed = len(tested.results) - len(failed)
    yield (
        f"{tested.file}: {'ok' if tested.ok else 'failed'}, {passed} of {len(tested.results)} cases passed, "
        f"{coverage.covered} of {coverage.edges} edges taken ({coverage.share:.1%})"
    )
    if coverage.share < tested.least:
        yield f"  that is less than --min-coverage {tested.least:g}"
    for name, to, guard in coverage.missing:
        yield f"  not taken: {name}, to {to} ({guard})"
