"""
How the price of a hop grows with the graph: more nodes than the walk visits, more edges than the one it takes.

Both arms walk as many hops over as many guards that hold; only what stands beside the way differs.  No node does anything, and
everything is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import Arm, Compare, Goal, at_most, each_awaited
from meshwalk.loader import read_graph
from meshwalk.plan import Plan, compile_plan
from meshwalk.trace import Request
from three_hops import REQUEST, Silent, recording


HOPS = 8

_CHAIN = """\
meshwalk: 1
name: chain
start: n1
thresholds: {{confident: {{value: 0.8, range: [0, 1]}}}}
limits: {{hops: 40, deadline: 60s, cost_usd: 1.0}}
backends:
  little: {{kind: simulated, context_tokens: 4000, usd_per_mtok: {{input: 0.05, output: 0.15}}}}
  great: {{kind: simulated, context_tokens: 4000, usd_per_mtok: {{input: 10, output: 30}}}}
nodes:
{nodes}  n{last}: {{role: primary, backend: great, max_tokens: 5, next: done}}
"""
_NODE = """\
  n{index}:
    role: answer
    backend: {backend}
    max_tokens: 5
    confidence: {{from: recorded, missing: 0}}
    next: [{{to: done, when: output.confidence >= thresholds.confident}}, {{to: n{next}}}]
"""

_FAN = """\
meshwalk: 1
name: fan
start: intake
request: {{task: {{type: string{members}, default: t0}}}}
backends:
  little: {{kind: simulated, context_tokens: 4000, usd_per_mtok: {{input: 0.05, output: 0.15}}}}
nodes:
  intake:
    role: classifier
    use: python
    function: three_hops:intake
    writes: {{complexity: {{type: number, range: [0, 1]}}}}
    next:
{edges}      - {{to: other}}
  known: {{role: answer, backend: little, max_tokens: 5, next: done}}
  other: {{role: answer, backend: little, max_tokens: 5, next: done}}
"""


def chain(nodes: int) -> Plan:
    """
    Compile *nodes* nodes in a row, each with a guard over its own output; the eighth is sure of itself.
    """
    rows = "".join(
        _NODE.format(index=index, next=index + 1, backend="great" if index == HOPS else "little") for index in range(1, nodes)
    )

    return compile_plan(read_graph(_CHAIN.format(nodes=rows, last=nodes).encode(), file="chain.yaml"))


def fan(edges: int, *, enum: bool) -> Plan:
    """
    Compile a node with *edges* edges, each for one value of one field.
    """
    members = f", enum: [{', '.join(f't{number}' for number in range(edges))}]" if enum else ""
    rows = "".join(f"      - {{to: known, when: request.task == 't{number}'}}\n" for number in range(edges))

    return compile_plan(read_graph(_FAN.format(edges=rows, members=members).encode(), file="fan.yaml"))


@contextmanager
def walking(compare: Compare, folder: Path, plan: Plan, request: Request, path: tuple[str, ...]) -> Iterator[Arm]:
    """
    Make an arm that walks *request* over *plan*, which goes by *path*, and records to *folder*.
    """
    with compare.opened(recording(folder, plan, great=Silent("certainly", 0.9))) as opened:

        async def walk() -> None:
            walked = await opened.mesh.walk(request)

            assert path == walked.path

        yield each_awaited(walk, opened.settle)


@pytest.mark.timeout(300)  # a graph of ten thousand nodes takes a while to check
@pytest.mark.parametrize(("nodes", "goal"), [(1_000, at_most(1.2)), (10_000, None)], ids=["1000-nodes", "10000-nodes"])
def test_hop_in_a_large_graph(compare: Compare, tmp_path: Path, nodes: int, goal: Goal | None) -> None:
    """
    How much longer do eight hops take in a graph of many nodes than in one of ten?
    """
    began = time.perf_counter()
    large = chain(nodes if compare.timed else 100)
    loaded = f"reading and compiling the graph took {time.perf_counter() - began:.1f} s"
    path = tuple(f"n{index}" for index in range(1, HOPS + 1))
    with (
        walking(compare, tmp_path / "large", large, REQUEST, path) as in_large,
        walking(compare, tmp_path / "small", chain(10), REQUEST, path) as in_small,
    ):
        compare(in_large, in_small, goal, seconds=0.1, note=lambda: loaded)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("enum", [False, True], ids=["text", "enum"])
def test_equality_edges(compare: Compare, tmp_path: Path, enum: bool) -> None:
    """
    How much longer do two hops take where the first has 1,000 edges for values of one field, than where it has ten?
    """
    plans = {edges: fan(edges, enum=enum) for edges in (1_000, 10)}
    requests = {edges: Request(REQUEST.messages, attributes={"task": f"t{edges - 1}"}) for edges in plans}
    path = ("intake", "known")
    with (
        walking(compare, tmp_path / "many", plans[1_000], requests[1_000], path) as many,
        walking(compare, tmp_path / "ten", plans[10], requests[10], path) as ten,
    ):
        compare(many, ten, at_most(3), seconds=0.1)
