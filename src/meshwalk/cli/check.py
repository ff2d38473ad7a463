"""
`meshwalk check`: every fault of every graph, each with its place.
"""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from meshwalk.cli.options import Json
from meshwalk.cli.output import NO, OK, emit, problem_document, rendered, say


def check(graphs: Annotated[list[str], Parameter(name="GRAPH", negative="")], /, *, json: Json = False) -> int:
    """
    Find everything that is wrong with graphs.

    Exits with 1 if there is an error; warnings alone leave it at 0.

    Parameters
    ----------
    graphs
        The graphs' YAML files.
    """
    from meshwalk.cli.shapes import bounds_document
    from meshwalk.loader import load_graph
    from meshwalk.plan import examine
    from meshwalk.problems import GraphError, Problem

    found: list[Problem] = []
    cards: list[dict[str, Any]] = []
    for path in graphs:
        try:
            plan, problems = examine(load_graph(path), prove=True)
        except GraphError as error:
            plan, problems = None, error.problems
        found += problems
        card: dict[str, Any] = {"file": path, "ok": plan is not None}
        if plan is not None:
            edges = sum(len(node.next) + len(node.on_error) for node in plan.nodes)
            card |= {"graph": plan.name, "nodes": len(plan.nodes), "edges": edges}
            card |= {"plan_digest": plan.plan_digest, "shape_digest": plan.shape_digest}
            card["bounds"] = bounds_document(plan.bounds)
        cards.append(card)
    ok = all(card["ok"] for card in cards)
    if json:
        # Of one graph, the bounds stand where whoever reads a single answer looks for them.
        alone = {"bounds": cards[0].get("bounds")} if len(cards) == 1 else {}
        emit({"ok": ok, "problems": [problem_document(problem) for problem in found], **alone, "graphs": cards})
    else:
        if found:
            say(rendered(found))
        say(_summary(found, cards))

    return OK if ok else NO


def _summary(problems: list[Any], cards: list[dict[str, Any]]) -> str:
    rows = [
        f"{card['file']}: ok, graph '{card['graph']}' with {_counted(card['nodes'], 'node')} and "
        f"{_counted(card['edges'], 'edge')}, plan {card['plan_digest'][:12]}\n  {_bounded(card['bounds'])}"
        for card in cards
        if card["ok"]
    ]
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if problems:
        rows.append(f"{_counted(errors, 'error')} and {_counted(warnings, 'warning')} in {_counted(len(cards), 'graph')}")

    return "\n".join(rows)


def _bounded(bounds: dict[str, Any]) -> str:
    tokens, cost = bounds["output_tokens"], bounds["cost_usd"]
    figures = [
        f"at most {_counted(bounds['hops'], 'hop')}",
        f"{bounds['latency_ms'] / 1000:g} s",
        "any number of output tokens" if tokens is None else f"{tokens} output tokens",
        "any cost" if cost is None else f"{cost:.9f}".rstrip("0").rstrip(".") + " USD",
    ]
    why = "; ".join(dict.fromkeys(bounds["unbounded"].values()))
    way = " → ".join(bounds["witness"]["cost_usd"])

    return ", ".join(figures) + (f" ({why})" if why else f" ({way})")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
