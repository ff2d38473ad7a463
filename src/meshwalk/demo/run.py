"""
Serve a graph, route questions to it over gRPC, and show where each went and what that was worth.

The small model is real and runs in this process; the primary is an exact solver at the price of a large model.  Each answer is
checked, and the closing table compares the routed walks with the small model alone, the primary alone, and mixes that send
questions to the primary at random.  At the end one session spends its budget, until smaller models have to do.

The graphs are packaged, so that the demo runs in any folder; they are the ones of the same name in `graphs/`.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from meshwalk.budgets import usd
from meshwalk.cli.show import table, trace_table
from meshwalk.cli.tables import FittedTable
from meshwalk.demo.questions import QUESTIONS, Question
from meshwalk.loader import load_graph
from meshwalk.mesh import Mesh
from meshwalk.model import DONE, Caps, Edge, Graph
from meshwalk.plan import compile_plan
from meshwalk.records.hops import hops_of
from meshwalk.records.store import TraceReader, TraceWriter
from meshwalk.server import serve
from meshwalk.wire.client import Client, RouteResult


GRAPHS = files("meshwalk.demo") / "graphs"

# One session, its cap, and how often it asks: enough to come near the cap and to go on from there.
SESSION, SESSION_NANO_USD, CALLS = "demo", 160_000_000, 30
HARD = "If 3 machines make 3 parts in 3 minutes, how many minutes do 100 machines need for 100 parts? Explain each step."

# Random mixes that are drawn to see how many do as well as the routed walks.
DRAWS, SEED = 10_000, 7

# A row of the list of questions: whether the answer is right, and the shares of the rest of a line.
_MARK_WIDTH = 5
_SHARES = (("question", 0.42), ("path", 0.28), ("answer", 0.30))
_GAP = "  "


class Arm(NamedTuple):
    """
    The answers of one way of choosing a model: which are right, and the cost of each in USD.
    """

    right: tuple[bool, ...]
    cost_usd: tuple[float, ...]

    @classmethod
    def of(cls, questions: Sequence[Question], routed: Sequence[RouteResult]) -> Arm:
        """
        Return the arm of *routed* answers to *questions*.
        """
        right = (question.is_right(done.answer) for question, done in zip(questions, routed, strict=True))

        return cls(tuple(right), tuple(done.cost_usd for done in routed))


async def show(graph_path: Path, console: Console, questions: Sequence[Question] = QUESTIONS) -> None:
    """
    Serve the graph in *graph_path*, route every question, and print paths, the comparison and one decision.
    """
    plan = compile_plan(load_graph(graph_path))
    with tempfile.TemporaryDirectory(prefix="meshwalk-demo-") as folder:
        store = TraceWriter(folder)
        routed: list[RouteResult] = []
        async with Mesh(plan, sinks=[store]) as mesh, serve([mesh], listen="127.0.0.1:0") as server:
            address = f"127.0.0.1:{server.port}"
            console.print(f"Serving graph [bold]{plan.name}[/] on {address}; routing {len(questions)} questions over gRPC.\n")
            _print_row(console, mark="", question="question", path="path", answer="answer")
            async with Client(address) as client:
                for question in questions:
                    done = await client.route(question.text, detail="HOPS")
                    routed.append(done)
                    mark = "right" if question.is_right(done.answer) else "wrong"
                    answer = " ".join(done.answer.split()).removeprefix("The answer is ")
                    _print_row(console, mark=mark, question=question.text, path=" > ".join(done.path), answer=answer)
        await store.aclose()
        console.print("\nNow every question to each model alone, to compare with.\n")
        screen = Arm.of(questions, await _asked_alone(plan.graph, "screen", questions))
        primary = Arm.of(questions, await _asked_alone(plan.graph, "primary", questions))
        to_primary = sum("primary" in done.path for done in routed)
        console.print(comparison(Arm.of(questions, routed), screen, primary, to_primary))
        console.print(by_chance(Arm.of(questions, routed), screen, primary, to_primary))
        with TraceReader(folder) as traces:
            explain(traces, routed, console)


def _print_row(console: Console, *, mark: str, **cells: str) -> None:
    room = console.width - _MARK_WIDTH - len(_GAP) * len(_SHARES)
    shown = (clipped(cells[name], max(4, int(room * share)), end=name == "answer") for name, share in _SHARES)
    console.print(_GAP.join([f"{mark:{_MARK_WIDTH}}", *shown]).rstrip(), markup=False, highlight=False, soft_wrap=True)


def clipped(text: str, width: int, *, end: bool = False) -> str:
    """
    Return *text* in exactly *width* characters: filled up with blanks, or cut at a word and marked with an ellipsis.

    Args:
        end: Whether its end is what matters, and its beginning is cut.
    """
    if len(text) <= width:
        return text.ljust(width)
    words = text.split(" ")
    while len(words) > 1 and len(" ".join(words)) >= width:
        del words[0 if end else -1]
    part = " ".join(words)
    part = part[-width + 1 :] if end else part[: width - 1]

    return (f"…{part}" if end else f"{part}…").ljust(width)


async def _asked_alone(graph: Graph, node: str, questions: Sequence[Question]) -> list[RouteResult]:
    async with Mesh(compile_plan(alone(graph, node))) as mesh:
        return [await mesh.route(question.text) for question in questions]


def alone(graph: Graph, node: str) -> Graph:
    """
    Return a graph that asks *node* of *graph* and nothing else.
    """
    own = graph.nodes[node]
    done = Edge(DONE, own.span, own.span)
    assert own.backend is not None

    return replace(
        graph,
        name=f"always-{node}",
        start=node,
        nodes={node: replace(own, next=(done,), on_error=())},
        backends={own.backend: graph.backends[own.backend]},
    )


def comparison(routed: Arm, screen: Arm, primary: Arm, to_primary: int) -> FittedTable:
    """
    Compare the *routed* walks, of which *to_primary* asked the primary, with each model alone and with random mixes.
    """
    count = len(routed.right)
    share = to_primary / count
    spent, least, most = (sum(arm.cost_usd) for arm in (routed, screen, primary))
    of_cost = min(1.0, (spent - least) / (most - least)) if most > least else 0.0
    rows = [
        ("routed", sum(routed.right), spent, to_primary),
        ("always the small model", sum(screen.right), least, 0),
        ("always the primary", sum(primary.right), most, count),
        ("random, as many calls of the primary", *_mixed(screen, primary, share), to_primary),
        ("random, of the same cost", *_mixed(screen, primary, of_cost), of_cost * count),
    ]
    shown = [
        (name, f"{right:g} of {count}" if right == int(right) else f"{right:.1f} of {count}", f"{cost:.6f}", f"{calls:.3g}")
        for name, right, cost, calls in rows
    ]

    return table("Right answers and their cost", ("way", "right", "USD", "calls of the primary"), shown, right=(1, 2, 3))


def by_chance(routed: Arm, screen: Arm, primary: Arm, to_primary: int) -> str:
    """
    Say how many random choices of questions for the primary do as well as the routed walks.
    """
    as_good = as_good_by_chance(routed, screen, primary, to_primary)

    return f"\nOf {DRAWS:,} random choices of {to_primary} questions for the primary, {as_good:,} had as many right answers.\n"


def _mixed(screen: Arm, primary: Arm, share: float) -> tuple[float, float]:
    """
    Return the right answers and the cost to be expected if *share* of the questions go to the primary at random.
    """
    right = share * sum(primary.right) + (1 - share) * sum(screen.right)

    return right, share * sum(primary.cost_usd) + (1 - share) * sum(screen.cost_usd)


def as_good_by_chance(routed: Arm, screen: Arm, primary: Arm, to_primary: int) -> int:
    """
    Count the random choices, of `DRAWS`, that have at least as many right answers as *routed* has.
    """
    dice = random.Random(SEED)  # noqa: S311 (it draws a sample, not a secret)
    places = range(len(routed.right))
    counted = 0
    for _ in range(DRAWS):
        chosen = set(dice.sample(places, to_primary))
        counted += sum((primary if place in chosen else screen).right[place] for place in places) >= sum(routed.right)

    return counted


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
        walks = [await mesh.route(HARD, session=SESSION, task="reasoning") for _ in range(CALLS)]
        (account,) = await mesh.vault.reports(mesh.tenant, "session", SESSION)
    rows, first = [], 1
    for path, group in groupby(walks, key=lambda walk: walk.path):
        alike = list(group)
        rows.append((f"{first} to {first + len(alike) - 1}", " > ".join(path), f"{sum(walk.cost_usd for walk in alike):.6f}"))
        first += len(alike)
    cap = usd(SESSION_NANO_USD)
    console.print(f"\nOne hard question, {CALLS} times in a session that may spend {cap} USD (simulated models):\n")
    console.print(table("Where a session's calls went", ("times", "path", "USD in all"), rows, right=[2]))
    console.print(f"\nThe session's account: {usd(account.spent.cost_nano_usd)} of {cap} USD are spent.")


async def demonstrate(console: Console) -> None:
    """
    Show the demo's graph at work, then a budget.
    """
    with as_file(GRAPHS / "demo.yaml") as demo, as_file(GRAPHS / "support-desk.yaml") as support_desk:
        await show(demo, console)
        await spend(support_desk, console)
