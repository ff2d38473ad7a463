"""
Serve a graph, route prompts to it over gRPC, and show where each went and what that saved.

The small model is real and runs in this process; the primary is simulated and says so.  The comparison with always asking the
primary comes from walking the same prompts over a graph that has nothing else, so that both figures come out of the
engine.  At the end one session spends its budget, until smaller models have to do.

The two graphs are packaged, so that the demo runs in any folder; they are the ones of the same name in `graphs/`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from meshwalk.budgets import usd
from meshwalk.cli.show import table, trace_table
from meshwalk.demo.prompts import PROMPTS
from meshwalk.loader import load_graph
from meshwalk.mesh import Mesh
from meshwalk.model import DONE, Caps, Edge, Graph
from meshwalk.plan import Plan, compile_plan
from meshwalk.records.hops import hops_of
from meshwalk.records.store import TraceReader, TraceWriter
from meshwalk.server import serve
from meshwalk.trace import Message, Request
from meshwalk.wire.client import Client, RouteResult


GRAPHS = files("meshwalk.demo") / "graphs"

# One session, its cap, and how often it asks: enough to come near the cap and to go on from there.
SESSION, SESSION_NANO_USD, CALLS = "demo", 160_000_000, 30


async def show(graph_path: Path, console: Console) -> None:
    """
    Serve the graph in *graph_path*, route every prompt, and print paths, bills and one decision.
    """
    plan = compile_plan(load_graph(graph_path))
    with tempfile.TemporaryDirectory(prefix="meshwalk-demo-") as folder:
        store = TraceWriter(folder)
        async with Mesh(plan, sinks=[store]) as mesh, serve([mesh], listen="127.0.0.1:0") as server:
            address = f"127.0.0.1:{server.port}"
            console.print(f"Serving graph [bold]{plan.name}[/] on {address}; routing {len(PROMPTS)} prompts over gRPC.\n")
            async with Client(address) as client:
                routed = [await client.route(prompt, detail="HOPS") for prompt in PROMPTS]
        await store.aclose()
        console.print(paths_table(routed))
        await compare(plan, routed, console)
        with TraceReader(folder) as traces:
            explain(traces, routed, console)


def paths_table(routed: Sequence[RouteResult]) -> Table:
    """
    Show a row a prompt: its path, what each hop took, what it cost.
    """
    return table(
        "Where each prompt went",
        ("prompt", "path", "milliseconds a hop", "USD", "answer"),
        (
            (
                prompt[:34],
                " > ".join(done.path),
                " ".join(f"{hop.latency_us / 1000:.1f}" for hop in done.hops),
                f"{done.cost_usd:.6f}",
                " ".join(done.answer.split())[:48],
            )
            for prompt, done in zip(PROMPTS, routed, strict=True)
        ),
        right=[3],
    )


async def compare(plan: Plan, routed: Sequence[RouteResult], console: Console) -> None:
    """
    Walk the same prompts over the primary alone, and print both bills.
    """
    async with Mesh(compile_plan(primary_alone(plan.graph))) as mesh:
        walked = [await mesh.walk(Request((Message("user", prompt),))) for prompt in PROMPTS]
    always, spent = sum(walk.cost_usd for walk in walked), sum(done.cost_usd for done in routed)
    to_primary = sum("primary" in done.path for done in routed)
    console.print(
        f"\nThe primary was asked for {to_primary} of {len(PROMPTS)} prompts. "
        f"Routed: {spent:.6f} USD. Always the primary: {always:.6f} USD. Share: {spent / always:.2f}.\n"
    )


def primary_alone(graph: Graph) -> Graph:
    """
    Return a graph that asks the primary of *graph* and nothing else.
    """
    primary = next(node for node in graph.nodes.values() if node.role == "primary")
    done = Edge(DONE, primary.span, primary.span)
    alone = replace(primary, next=(done,), on_error=())
    assert primary.backend is not None

    return replace(
        graph,
        name="always-primary",
        start=primary.name,
        nodes={primary.name: alone},
        backends={primary.backend: graph.backends[primary.backend]},
    )


def explain(traces: TraceReader, routed: Sequence[RouteResult], console: Console) -> None:
    """
    Print the longest walk's trace, with what decided at each hop.
    """
    longest = max(routed, key=lambda done: len(done.path))
    traversal = traces.get(longest.traversal_id)
    assert traversal is not None
    plan = traces.plan(traversal.plan_digest)
    assert plan is not None
    console.print(trace_table(traversal, hops_of(traversal, plan), plan))


async def spend(graph_path: Path, console: Console) -> None:
    """
    Ask one hard question over and over in one session of the graph in *graph_path*, and print where it went.
    """
    async with Mesh(compile_plan(load_graph(graph_path))) as mesh:
        await mesh.vault.set_caps(mesh.tenant, "session", SESSION, Caps(cost_nano_usd=SESSION_NANO_USD))
        walks = [await mesh.route(PROMPTS[-1], session=SESSION, task="reasoning") for _ in range(CALLS)]
        (account,) = await mesh.vault.reports(mesh.tenant, "session", SESSION)
    rows, first = [], 1
    for path, group in groupby(walks, key=lambda walk: walk.path):
        alike = list(group)
        rows.append((f"{first} to {first + len(alike) - 1}", " > ".join(path), f"{sum(walk.cost_usd for walk in alike):.6f}"))
        first += len(alike)
    console.print(f"\nOne hard question, {CALLS} times in a session that may spend {usd(SESSION_NANO_USD)} USD:\n")
    console.print(table("Where a session's calls went", ("times", "path", "USD in all"), rows, right=[2]))
    console.print(f"\nThe session's account: {usd(account.spent.cost_nano_usd)} of {usd(SESSION_NANO_USD)} USD are spent.")


async def demonstrate(console: Console) -> None:
    """
    Show the quickstart at work, then a budget.
    """
    with as_file(GRAPHS / "quickstart.yaml") as quickstart, as_file(GRAPHS / "support-desk.yaml") as support_desk:
        await show(quickstart, console)
        await spend(support_desk, console)
