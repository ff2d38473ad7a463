"""
A graph's worst case held against its declarations: the limits of a walk, shared budgets, and the windows of its backends.

A walk that may go past a limit is only warned of: the ledger refuses at run time what does not fit, and most requests are
far smaller than the largest.  A call that is refused however small the request is, and however little was spent before, is an
error.  A window is only held against the input where the author bounds it, and a decision that asks `fits.<backend>` on
every way to a node settles it.

Of a shared budget it is said besides what may be spent while its vault is away, and that nobody makes room when it runs low.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from meshwalk.budgets import usd
from meshwalk.checks import worst_case
from meshwalk.checks.bounds import Bounds
from meshwalk.model import Budget, Caps, Graph, Limits, Node
from meshwalk.model.problems import Problem, Span


# The signals that a guard names, by the node it leaves and its position in `next`.
Named = Mapping[tuple[str, int], Collection[str]]


def check(graph: Graph, bounds: Bounds, named: Named) -> list[Problem]:
    """
    Find what goes past a limit or a window, in a graph that is free of other errors.
    """
    callers = [node for node in graph.nodes.values() if node.backend is not None]
    never = [problem for node in callers for problem in _never(graph, node)]

    past = [*_past_limits(graph, bounds), *_budgets(graph, bounds, named)]

    return [*(never or past), *_misfits(graph, callers, named)]


def _never(graph: Graph, node: Node) -> Iterator[Problem]:
    backend = graph.backends[node.backend or ""]
    cost, inputs, outputs = worst_case.need(
        node, backend.price, backend.context_tokens, worst_case.min_facts(graph, node), backend.input_bound
    )
    span = node.places.get("backend", node.span)
    for name, caps in _caps(graph):
        if caps.cost_nano_usd is not None and cost is not None and cost > caps.cost_nano_usd:
            remedy = f"lower its max_tokens, name a cheaper backend, or raise {name}.cost_usd"
            cap = f"{name}.cost_usd is {usd(caps.cost_nano_usd)}"
            yield _never_granted(span, node, f"at least {usd(cost)} USD", cap, remedy)
        if caps.output_tokens is not None and outputs is not None and outputs > caps.output_tokens:
            remedy = f"lower its max_tokens, or raise {name}.output_tokens"
            cap = f"{name}.output_tokens is {caps.output_tokens}"
            yield _never_granted(span, node, f"{outputs} output tokens", cap, remedy)
        if caps.input_tokens is not None and inputs > caps.input_tokens:
            remedy = f"shorten its prompt, or raise {name}.input_tokens"
            cap = f"{name}.input_tokens is {caps.input_tokens}"
            yield _never_granted(span, node, f"at least {inputs} input tokens", cap, remedy)


def _never_granted(span: Span, node: Node, required: str, cap: str, remedy: str) -> Problem:
    message = f"a call of node '{node.name}' reserves {required}, and {cap}: it is never granted"

    return Problem(span, "never-granted", message, remedy)


def _caps(graph: Graph) -> Iterator[tuple[str, Limits | Caps]]:
    yield "limits", graph.limits
    for scope, budget in graph.budgets.items():
        yield f"budgets.{scope}", budget.caps


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
    way = f", on the way {' → '.join(path)}" if path else ""

    return Problem(span, code, message + way, fix, "warning")


# ---- budgets --------------------------------------------------------------------------------------------------------


def _budgets(graph: Graph, bounds: Bounds, named: Named) -> Iterator[Problem]:
    for budget in graph.budgets.values():
        yield from _past_budget(graph, budget, bounds)
        yield from _while_away(budget)
    if graph.budgets and not any(_eases(name, graph) for names in named.values() for name in names):
        yield from _no_pressure_edge(graph)


def _past_budget(graph: Graph, budget: Budget, bounds: Bounds) -> Iterator[Problem]:
    caps, limits, place = budget.caps, graph.limits, f"budgets.{budget.scope}"
    first = "declare limits.input_bytes (it is 1 MiB), " if limits.input_bytes is None else ""
    fix = f"the ledger will refuse the call that does not fit; {first}lower limits, or raise {place}"
    # A walk is held to its own limit first.
    cost = _least(bounds.cost_nano_usd.value, limits.cost_nano_usd)
    if caps.cost_nano_usd is not None and cost is not None and cost > caps.cost_nano_usd:
        span = budget.places.get("cost_usd", budget.span)
        message = f"one walk may cost up to {usd(cost)} USD and {place}.cost_usd is {usd(caps.cost_nano_usd)}"
        yield _past(span, "over-budget", message, bounds.cost_nano_usd.path, f"{fix}.cost_usd")
    tokens = _least(bounds.output_tokens.value, limits.output_tokens)
    if caps.output_tokens is not None and tokens is not None and tokens > caps.output_tokens:
        span = budget.places.get("output_tokens", budget.span)
        message = f"one walk may write up to {tokens} tokens and {place}.output_tokens is {caps.output_tokens}"
        yield _past(span, "over-budget", message, bounds.output_tokens.path, f"{fix}.output_tokens")


def _least(worst: int | None, limit: int | None) -> int | None:
    return min((one for one in (worst, limit) if one is not None), default=None)


def _while_away(budget: Budget) -> Iterator[Problem]:
    span = budget.places.get("away", budget.span)
    if budget.away == "open":
        message = f"while the vault does not answer, the calls of a {budget.scope} are granted uncounted"
        yield Problem(span, "slack-while-away", message, "nothing bounds them then; away: closed grants none", "warning")
    if budget.away == "local":
        left = f"what was left as it last saw it, at most {_worded(budget)}"
        message = f"while the vault does not answer, each server may spend of a {budget.scope} {left}"
        remedy = "N servers may spend N times that; away: closed grants nothing"
        yield Problem(span, "slack-while-away", message, remedy, "warning")


def _worded(budget: Budget) -> str:
    amounts = [
        f"{usd(cap)} USD" if part == "cost_nano_usd" else f"{cap} {part.replace('_', ' ')}"
        for part, cap in budget.caps._asdict().items()
        if cap is not None
    ]

    return ", ".join(amounts) + ("" if budget.window_us is None else " a window")


def _eases(name: str, graph: Graph) -> bool:
    return any(name.startswith(f"budget.{scope}.") for scope in graph.budgets)


def _no_pressure_edge(graph: Graph) -> Iterator[Problem]:
    prices = {node.name: _price(graph, node) for node in graph.nodes.values() if node.backend is not None}
    if len(set(prices.values())) < 2:
        return  # there is nothing cheaper to go to
    cheapest = min(prices, key=prices.__getitem__)
    budget = next(iter(graph.budgets.values()))
    message = f"no guard asks how full a budget is: a {budget.scope} near its ceiling goes on at full price until it is refused"
    edge = f'{{to: {cheapest}, when: "budget.{budget.scope}.pressure > 0"}}'

    yield Problem(budget.span, "no-pressure-edge", message, f"put {edge} above the edges to dearer nodes", "warning")


def _price(graph: Graph, node: Node) -> tuple[int, int]:
    backend = graph.backends[node.backend or ""]

    # A backend without a price may be the dearest.
    return (1, 0) if backend.price is None else (0, backend.price.pair_rate)


# ---- windows --------------------------------------------------------------------------------------------------------


def _misfits(graph: Graph, callers: Sequence[Node], named: Named) -> Iterator[Problem]:
    if graph.limits.input_bytes is None:
        return
    facts = worst_case.largest_facts(graph)
    seen_to = _seen_to(graph, named)
    for node in callers:
        backend = graph.backends[node.backend or ""]
        filled = worst_case.window(node, facts, backend.input_bound)
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
    seen: dict[str, frozenset[str]] = {graph.start: frozenset()}
    for node in graph.nodes.values():
        tested: frozenset[str] = frozenset()
        for position, edge in enumerate(node.next):
            tested |= {name for name in named.get((node.name, position), ()) if name.startswith("fits.")}
            for to in (edge.to, edge.otherwise):
                if to is not None:
                    seen[to] = seen.get(to, tested) & tested
        for edge in node.on_error:
            seen |= {to: frozenset() for to in (edge.to, edge.otherwise) if to is not None}

    return seen
