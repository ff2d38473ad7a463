"""
Walks as people read them: tables of hops, and a whole trace with what decided at each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console, Group
from rich.text import Text

from meshwalk.cli.output import visible
from meshwalk.cli.shapes import wall_time
from meshwalk.cli.tables import Column, FittedTable, PipedConsole
from meshwalk.guards.explain import rounded
from meshwalk.model import Value
from meshwalk.model.problems import TraceError
from meshwalk.plan import Plan
from meshwalk.records.hops import Hop
from meshwalk.review.replay import Explained, explain_decision
from meshwalk.trace import Attempt, Basis, Traversal, Usage


def console() -> Console:
    """
    Return a console on stdout; outside a terminal, tables are printed for programs.
    """
    out = Console(highlight=False)

    return out if out.is_terminal else PipedConsole(highlight=False)


def table(
    title: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    below: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> FittedTable:
    """
    Make a table of plain texts; nothing in a cell is read as markup, or by the terminal.

    Args:
        right: The columns of numbers.
        below: The headings of columns that go below their row where there is no room.
        drop: The headings of columns that go where there is no room, the first named as the last.
    """
    columns = [
        Column(heading, position in right, heading in below, drop.index(heading) + 1 if heading in drop else 0)
        for position, heading in enumerate(headings)
    ]

    return FittedTable(visible(title), columns, [[visible(cell) for cell in row] for row in rows])


def hops_table(hops: Iterable[Hop]) -> FittedTable:
    """
    Show a row a hop: what it took, what it cost, what it gave, and where the walk went.

    A column tells how long hops waited for a budget that others held, if any did, and one tells errors, if there are any.
    """
    rows = list(hops)
    failed = ("error",) if any(hop.message for hop in rows) else ()
    waited = ("budget",) if any(hop.budget_wait_us for hop in rows) else ()
    times = ("start ms", "ms", *waited, "queue", "connect", "first byte", "engine")

    return table(
        "Hops",
        ("node", "role", "status", *times, "tokens", "USD", "outputs", *failed, "next"),
        (_hop_row(hop, waited=bool(waited), failed=bool(failed)) for hop in rows),
        right=range(3, 5 + len(times)),
        below=("outputs", "error"),
        drop=("start ms", "role", "engine", "budget", "queue", "first byte", "connect"),
    )


def _hop_row(hop: Hop, *, waited: bool, failed: bool) -> tuple[str, ...]:
    wait = (hop.budget_wait_us,) if waited else ()
    times = (hop.started_us, hop.latency_us, *wait, *hop.timing, hop.engine_us)
    # A call refused by a budget names the scope of that budget.
    why = f"budget: {hop.scope}" if hop.scope else hop.error_class
    ages = (attempt.cache_age_us for attempt in hop.attempts)
    aside = [*([why] if why else []), *(_kept(age) for age in ages if age is not None)]
    status = f"{hop.status} ({', '.join(aside)})" if aside else hop.status

    return (
        hop.node if hop.visit == 1 else f"{hop.node} #{hop.visit}",
        hop.role,
        status,
        *(f"{us / 1000:.2f}" for us in times),
        # Not by its attempts: a server keeps those to itself unless it is asked for everything.
        _tokens(hop.usage) if any(hop.usage) else "",
        _cost(hop.cost_nano_usd, hop.basis),
        values_text(hop.outputs),
        *((hop.message,) if failed else ()),
        hop.edge,
    )


def _cost(nano_usd: int, basis: Basis) -> str:
    """
    Show a cost in dollars; what has no price is no zero.
    """
    if basis == "unpriced" and not nano_usd:
        return basis

    return "" if basis == "none" else f"{nano_usd / 1e9:.6f}"


def _tokens(usage: Usage) -> str:
    cached = f" ({usage.cached_input_tokens} cached)" if usage.cached_input_tokens else ""
    reasoning = f" ({usage.reasoning_tokens} reasoning)" if usage.reasoning_tokens else ""

    return f"{usage.input_tokens}{cached} > {usage.output_tokens}{reasoning}"


def _kept(age_us: int) -> str:
    return f"from cache, {age_us / 1e6:.3g} s old" if age_us < 100_000_000 else f"from cache, {age_us // 1_000_000:,} s old"


def trace_table(traversal: Traversal, hops: Sequence[Hop], plan: Plan) -> Group:
    """
    Show a whole walk: what came of it, its hops, and for each decision why every edge was taken or not.
    """
    finish = traversal.finish
    ending = (
        f"{finish.outcome.value}{f' ({finish.cause})' if finish.cause else ''}{f': {finish.message}' if finish.message else ''}"
    )
    head = (
        f"Walk {traversal.traversal_id} over graph {traversal.graph}, plan {traversal.plan_digest[:12]}\n"
        f"{wall_time(traversal.began_unix_us)}, {ending}\n"
        f"{' > '.join(traversal.path)}\n"
        f"{traversal.latency_us / 1000:.2f} ms, of which {traversal.engine_us / 1000:.2f} in the engine; "
        f"{traversal.cost_usd:.6f} USD ({traversal.basis}{f', prices {traversal.prices}' if traversal.prices else ''})\n"
    )

    return Group(Text(visible(head)), hops_table(hops), *_attempts(hops), _decisions(traversal, hops, plan))


def _attempts(hops: Sequence[Hop]) -> Iterator[FittedTable]:
    """
    Show the calls of each hop where they say more than the hop does: several, put off, cut short, or at one of several places.
    """
    rows = [
        (hop.node if number == 0 else "", *_attempt_row(attempt))
        for hop in hops
        if len(hop.attempts) > 1 or any(one.endpoint or one.mended or one.status != "ok" for one in hop.attempts)
        for number, attempt in enumerate(hop.attempts)
    ]
    if rows:
        headings = (
            "at",
            "call",
            "status",
            "start ms",
            "ms",
            "put off",
            "queue",
            "first byte",
            "tokens",
            "USD",
            "what happened",
        )
        yield table(
            "Calls",
            headings,
            rows,
            right=range(3, 10),
            below=("what happened",),
            drop=("tokens", "start ms", "put off", "first byte", "queue"),
        )


def _attempt_row(attempt: Attempt) -> tuple[str, ...]:
    usage, timing = attempt.usage, attempt.timing
    where = f"{attempt.backend} at {attempt.endpoint}" if attempt.endpoint else attempt.backend
    cost = _cost(attempt.cost_nano_usd, attempt.basis)
    times = (attempt.started_us, attempt.latency_us, attempt.backoff_us, timing.queue_us, timing.first_byte_us)

    return (
        f"{where} (hedge)" if attempt.hedge else where,
        f"{attempt.status} ({attempt.error_class})" if attempt.error_class else attempt.status,
        *(f"{us / 1000:.2f}" for us in times),
        _tokens(usage) if any(usage) else "",
        f"{cost} {attempt.basis}" if cost and cost != attempt.basis else cost,
        attempt.message or (f"mended: {', '.join(attempt.mended)}" if attempt.mended else ""),
    )


def _decisions(traversal: Traversal, hops: Sequence[Hop], plan: Plan) -> FittedTable | Text:
    try:
        explained = [(hop, explain_decision(traversal, plan, hop.index)) for hop in hops]
    except TraceError as error:
        return Text(visible(f"Its decisions cannot be explained: {error}"))
    rows = (_why_row(hop.node if edge is edges[0] else "", edge) for hop, edges in explained for edge in edges)

    headings = ("at", "edge to", "verdict", "distance", "guard", "what decided", "values")

    return table("Why", headings, rows, right=(3,), below=("guard", "what decided", "values"))


def _why_row(node: str, edge: Explained) -> tuple[str, ...]:
    verdict = edge.verdict.replace("_", " ")
    if edge.why is None:
        return node, edge.to, verdict, "", edge.guard, "", ""
    values = values_text(edge.why.values)
    distance = "" if edge.why.distance is None else f"{edge.why.distance:.4g}"

    return node, edge.to, verdict, distance, edge.guard, edge.why.text, values


def values_text(values: Mapping[str, Value | None]) -> str:
    """
    Print named values in one line; numbers that differ look different.
    """
    numbers = [value for value in values.values() if isinstance(value, float)]
    texts = dict(zip(numbers, rounded(numbers), strict=True))

    return ", ".join(
        f"{name} {texts[value] if isinstance(value, float) else value_text(value)}" for name, value in values.items()
    )


def value_text(value: Value | None) -> str:
    """
    Print a signal's value.
    """
    if value is None:
        return "undetermined"
    if isinstance(value, bool):
        return "true" if value else "false"

    return f"{value:.4g}" if isinstance(value, float) else str(value)
