"""
`meshwalk check`: every fault of every graph, each with its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from meshwalk.cli.options import Json, TrustFlags, graph_files
from meshwalk.cli.output import (
    NO,
    OK,
    WRONG_USE,
    complain,
    counted,
    emit,
    error_document,
    problem_document,
    rendered,
    say_fitted,
)


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshwalk.model import BackendSpec, Graph
    from meshwalk.model.problems import Problem
    from meshwalk.model.trust import Trust


def check(
    graphs: Annotated[list[str], Parameter(name="GRAPH", negative="")],
    /,
    *,
    trust: TrustFlags = TrustFlags(),
    json: Json = False,
) -> int:
    """
    Find everything that is wrong with graphs, or with a server's settings and the graphs that they name.

    To name a graph's cases is to name the graph.  Exits with 1 if there is an error, and with 2 if a file cannot be read;
    warnings alone leave it at 0.

    Parameters
    ----------
    graphs
        The graphs' YAML files, or files of a server's settings.
    """
    found: list[Problem] = []
    cards: list[dict[str, Any]] = []
    waiting = graph_files(graphs)
    # A file of settings adds the graphs that it names.
    for path in waiting:
        card, problems = _examined(path, trust.trust)
        found += problems
        cards.append(card)
        waiting += [graph for graph in card.get("serves", ()) if graph not in waiting]
    ok = all(card["ok"] for card in cards)
    unread = [card for card in cards if "error" in card]
    if json:
        # Of one graph, the bounds stand where whoever reads a single answer looks for them.
        alone = {"bounds": cards[0].get("bounds")} if len(cards) == 1 else {}
        emit({"ok": ok, "problems": [problem_document(problem) for problem in found], **alone, "graphs": cards})
    elif text := "\n".join(filter(None, (rendered(found), _summary(found, cards)))):
        say_fitted(text)
    for card in unread:
        complain(f"error: {card['error']['message']}")

    return WRONG_USE if unread else OK if ok else NO


def _examined(path: str, trust: Trust) -> tuple[dict[str, Any], Sequence[Problem]]:
    from meshwalk.cli.shapes import bounds_document
    from meshwalk.loader import holds_settings, load_graph
    from meshwalk.model.problems import GraphError, SetupError
    from meshwalk.plan import examine

    if holds_settings(path):
        return _examined_settings(path)
    try:
        plan, problems = examine(load_graph(path, trust=trust), prove=True)
    except GraphError as error:
        plan, problems = None, error.problems
    except SetupError as error:
        # The other files can still be looked at.
        return {"file": path, "ok": False, "error": error_document(error)}, ()
    card: dict[str, Any] = {"file": path, "ok": plan is not None}
    if plan is not None:
        edges = sum(len(node.next) + len(node.on_error) for node in plan.nodes)
        card |= {"graph": plan.name, "nodes": len(plan.nodes), "edges": edges}
        card |= {"plan_digest": plan.plan_digest, "shape_digest": plan.shape_digest}
        card["bounds"] = bounds_document(plan.bounds)
        card["input_bounds"] = {name: _input_bound(spec) for name, spec in sorted(plan.graph.backends.items())}
        card["environment"] = _environment(plan.graph)
        card["lines"] = {name: _line(spec) for name, spec in sorted(plan.graph.backends.items()) if spec.networked}

    return card, problems


def _examined_settings(path: str) -> tuple[dict[str, Any], Sequence[Problem]]:
    from meshwalk.loader import load_graph, load_settings
    from meshwalk.loader.parts.server_access import unknown_graphs
    from meshwalk.model.problems import GraphError, SetupError

    try:
        settings = load_settings(path)
    except GraphError as error:
        return {"file": path, "ok": False, "serves": []}, error.problems
    serves = list(settings.graphs)
    try:
        problems = unknown_graphs(settings.tenants, {load_graph(graph).name: graph for graph in serves})
    except (GraphError, SetupError):
        # A graph that cannot be read is examined after this, and its name is not known.
        problems = []

    return {"file": path, "ok": not problems, "serves": serves}, problems


def _line(spec: BackendSpec) -> dict[str, Any]:
    """
    Return the bound on the calls of a backend over a network, and whether the author declares it.
    """
    traffic = spec.effective_traffic
    wait_us = traffic.queue_wait_us

    return {
        "declared": spec.traffic is not None,
        "concurrency": traffic.concurrency,
        "queue_length": traffic.queue,
        "queue_wait_ms": None if wait_us is None else wait_us / 1000,
    }


def _environment(graph: Graph) -> list[str]:
    """
    List the environment variables that *graph* reads where it is opened.
    """
    from meshwalk.model import OpenAISpec
    from meshwalk.model.environment import names_in

    names: list[str] = []
    for spec in graph.backends.values():
        if not isinstance(spec, OpenAISpec):
            continue
        addresses = [spec.base_url, *(endpoint.base_url for endpoint in spec.endpoints)]
        if not any(addresses):
            names.append("OPENAI_BASE_URL")
        texts = [*filter(None, addresses), *(value for _, value in spec.headers)]
        names += [name for text in texts for name in names_in(text)]
        names += [key for key in (spec.key_env, *(endpoint.key_env for endpoint in spec.endpoints)) if key]
    for node in graph.nodes.values():
        names += [*names_in(node.url or ""), *([node.key_env] if node.key_env else [])]

    return sorted(set(names))


def _input_bound(spec: BackendSpec) -> dict[str, Any]:
    """
    Return the bound on the input of a backend's calls.
    """
    bound = spec.input_bound

    return {
        "tokenizer": spec.tokenizer is not None,
        "tokens_per_byte": bound.thousandths_per_byte / 1000,
        "per_request": bound.per_request,
        "per_message": bound.per_message,
        "image_tokens": bound.image_tokens,
    }


def _relied_on(card: Mapping[str, Any]) -> str:
    """
    Name the bounds of input that the figures rely on, for backends whose chat template is read by a model.
    """
    named: dict[str, list[str]] = {}
    for name, bound in card["input_bounds"].items():
        if bound["per_request"]:
            text = (
                "its tokenizer's count"
                if bound["tokenizer"]
                else "a token a byte"
                if bound["tokens_per_byte"] == 1
                else f"{bound['tokens_per_byte']:g} tokens a byte"
            )
            images = f", {bound['image_tokens']} an image" if bound["image_tokens"] else ""
            words = f"{text}, {bound['per_request']} a call, {bound['per_message']} a message{images}"
            named.setdefault(words, []).append(name)

    return "".join(f"\n  input of {', '.join(names)}: at most {words}" for words, names in named.items())


def _undeclared(card: Mapping[str, Any]) -> str:
    """
    Return the limits on calls of backends whose author declares none.
    """
    named: dict[str, list[str]] = {}
    for name, line in card["lines"].items():
        if not line["declared"]:
            wait = f"for at most {line['queue_wait_ms'] / 1000:g} s"
            words = f"at most {line['concurrency']} at once, and {line['queue_length']} waiting {wait}"
            named.setdefault(words, []).append(name)

    return "".join(f"\n  calls to {', '.join(names)}: {words} (nothing is declared)" for words, names in named.items())


def _read_there(card: Mapping[str, Any]) -> str:
    names = ", ".join(card["environment"])

    return f"\n  read from the environment: {names}" if names else ""


def _summary(problems: list[Any], cards: list[dict[str, Any]]) -> str:
    rows = [f"{card['file']}: ok, serves {counted(len(card['serves']), 'graph')}" for card in cards if card.get("serves")]
    rows += [
        f"{card['file']}: ok, graph '{card['graph']}' with {counted(card['nodes'], 'node')} and "
        f"{counted(card['edges'], 'edge')}, plan {card['plan_digest'][:12]}\n  {_bounded(card['bounds'])}{_relied_on(card)}"
        f"{_undeclared(card)}{_read_there(card)}"
        for card in cards
        if "graph" in card
    ]
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    read = sum("error" not in card for card in cards)
    if problems:
        kind = "file" if any("serves" in card for card in cards) else "graph"
        rows.append(f"{counted(errors, 'error')} and {counted(warnings, 'warning')} in {counted(read, kind)}")

    return "\n".join(rows)


def _bounded(bounds: dict[str, Any]) -> str:
    tokens, cost = bounds["output_tokens"], bounds["cost_usd"]
    figures = [
        f"at most {counted(bounds['hops'], 'hop')}",
        f"{bounds['latency_ms'] / 1000:g} s",
        "any number of output tokens" if tokens is None else f"{tokens} output tokens",
        "any cost" if cost is None else f"{cost:.9f}".rstrip("0").rstrip(".") + " USD",
    ]
    why = "; ".join(dict.fromkeys(bounds["unbounded"].values()))
    way = " → ".join(bounds["witness"]["cost_usd"])

    return ", ".join(figures) + (f" ({why})" if why else f" (costliest: {way})")
