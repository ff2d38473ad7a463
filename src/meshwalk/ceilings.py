"""
What a graph may need, held against what it declares: the limits of a walk and the windows of its backends.

A walk that may go past a limit is only warned of: the ledger refuses at run time what does not fit, and most requests are
far smaller than the largest.  A call that is refused however small the request is, and however little was spent before, is an
error.  A window is only held against the input where the author bounds it, and a decision that asks `fits.<backend>` on
every way to a node settles it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from meshwalk import needs
from meshwalk.bounds import Bounds
from meshwalk.budgets import usd
from meshwalk.model import Graph, Node
from meshwalk.problems import Problem, Span


# The signals that a guard names, by the node it leaves and its position in `next`.
Named = Mapping[tuple[str, int], Collection[str]]


def check(graph: Graph, bounds: Bounds, named: Named) -> list[Problem]:
    """
    Find what goes past a limit or a window, in a graph that is free of other errors.
    """
    callers = [node for node in graph.nodes.values() if node.backend is not None]
    never = [problem for node in callers for problem in _never(graph, node)]

    return [*(never or _past_limits(graph, bounds)), *_misfits(graph, callers, named)]


def _never(graph: Graph, node: Node) -> Iterator[Problem]:
    backend, limits = graph.backends[node.backend or ""], graph.limits
    cost, _, tokens = needs.need(node, backend.price, backend.context_tokens, needs.least_facts(graph, node))
    span = node.places.get("backend", node.span)
    if limits.cost_nano_usd is not None and cost is not None and cost > limits.cost_nano_usd:
        most = f"limits.cost_usd is {usd(limits.cost_nano_usd)}"
        message = f"a call of node '{node.name}' reserves at least {usd(cost)} USD, and {most}"
        remedy = "lower its max_tokens, name a cheaper backend, or raise limits.cost_usd"
        yield Problem(span, "never-granted", f"{message}: it is never granted", remedy)
    if limits.output_tokens is not None and tokens is not None and tokens > limits.output_tokens:
        message = (
            f"a call of node '{node.name}' reserves {tokens} output tokens, and limits.output_tokens is {limits.output_tokens}"
        )
        yield Problem(
            span, "never-granted", f"{message}: it is never granted", "lower its max_tokens, or raise limits.output_tokens"
        )


def _past_limits(graph: Graph, bounds: Bounds) -> Iterator[Problem]:
    limits, span = graph.limits, graph.limits_span or graph.span
    cost, tokens, time = bounds.cost_nano_usd, bounds.output_tokens, bounds.stated_us
    if limits.cost_nano_usd is not None and cost.value is not None and cost.value > limits.cost_nano_usd:
        message = f"a walk may cost up to {usd(cost.value)} USD and limits.cost_usd is {usd(limits.cost_nano_usd)}"
        fix = "raise it, or lower limits.input_bytes, max_tokens or retries"
        if limits.input_bytes is None:
            fix = "declare limits.input_bytes (it is 1 MiB), or raise the limit"
        yield _past(span, "over-cost-limit", message, cost.path, f"the ledger will refuse the call that does not fit; {fix}")
    if limits.output_tokens is not None and tokens.value is not None and tokens.value > limits.output_tokens:
        message = f"a walk may write up to {tokens.value} tokens and limits.output_tokens is {limits.output_tokens}"
        fix = "raise it, or lower max_tokens or retries"
        yield _past(span, "over-token-limit", message, tokens.path, f"the ledger will refuse the call that does not fit; {fix}")
    if limits.deadline_us is not None and time.value is not None and time.value > limits.deadline_us:
        message = (
            f"the nodes' own time limits add up to {time.value / 1e6:g} s and limits.deadline is {limits.deadline_us / 1e6:g} s"
        )
        fix = "what comes last may find no time; raise it, or lower the nodes' deadlines"
        yield _past(span, "over-deadline", message, time.path, fix)


def _past(span: Span, code: str, message: str, path: Sequence[str], fix: str) -> Problem:
    return Problem(span, code, f"{message}, on the way {' → '.join(path)}", fix, "warning")


# ---- windows --------------------------------------------------------------------------------------------------------


def _misfits(graph: Graph, callers: Sequence[Node], named: Named) -> Iterator[Problem]:
    if graph.limits.input_bytes is None:
        return
    facts = needs.largest_facts(graph)
    seen_to = _seen_to(graph, named)
    for node in callers:
        backend = graph.backends[node.backend or ""]
        filled = needs.window(node, facts)
        if backend.context_tokens is None or filled <= backend.context_tokens:
            continue
        if f"fits.{backend.name}" not in seen_to.get(node.name, ()):
            message = (
                f"node '{node.name}' may need {filled} tokens (limits.input_bytes is {graph.limits.input_bytes}; its prompt "
                f"and its reply add to it), and context_tokens of backend '{backend.name}' is {backend.context_tokens}"
            )
            remedy = f"lower limits.input_bytes, name a larger backend, or ask fits.{backend.name} in a guard before it"
            yield Problem(node.places.get("backend", node.span), "may-not-fit", message, remedy, "warning")


def _seen_to(graph: Graph, named: Named) -> dict[str, frozenset[str]]:
    """
    Return the windows that are asked about by, or before, the guard of every edge that leads to a node.
    """
    found: dict[str, frozenset[str]] = {graph.start: frozenset()}
    for node in graph.nodes.values():
        asked: frozenset[str] = frozenset()
        for position, edge in enumerate(node.next):
            asked |= {name for name in named.get((node.name, position), ()) if name.startswith("fits.")}
            for to in (edge.to, edge.otherwise):
                if to is not None:
                    found[to] = found.get(to, asked) & asked
        for edge in node.on_error:
            found |= {to: frozenset() for to in (edge.to, edge.otherwise) if to is not None}

    return found
