"""
How the price of a hop grows with the graph: more nodes than the walk visits, more edges than the one it takes.

Both arms walk as many hops over as many guards that hold; only what stands beside the way differs.  No node does anything.
Figures are of CPU time, so that they hold on a machine that has other things to do.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness import Act, Compare, Goal, at_most, each_in_cpu_time
from meshwalk.loader import read_graph
from meshwalk.mesh import Mesh
from meshwalk.plan import Plan, compile_plan
from meshwalk.trace import Request
from three_hops import LITTLE, REQUEST, Silent, recording


HOPS = 8
SURE = Silent("certainly", 0.9)
FAN_PATH = ("intake", "known")

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


def walking(mesh: Mesh, request: Request, path: tuple[str, ...]) -> Act:
    """
    Walk *request*, which goes by *path*.
    """

    async def walk() -> None:
        walked = await mesh.walk(request)

        assert path == walked.path

    return walk


@pytest.mark.timeout(300)  # a graph of ten thousand nodes takes a while to check
@pytest.mark.parametrize(("nodes", "goal"), [(1_000, at_most(1.2)), (10_000, None)], ids=["1000-nodes", "10000-nodes"])
def test_hop_in_a_large_graph(compare: Compare, tmp_path: Path, nodes: int, goal: Goal | None) -> None:
    """
    How much more CPU time do eight hops take, recording included, in a graph of many nodes than in one of ten?
    """
    began = time.perf_counter()
    large = chain(nodes if compare.timed else 100)
    loaded = f"reading and compiling the graph took {time.perf_counter() - began:.1f} s"
    path = tuple(f"n{index}" for index in range(1, HOPS + 1))
    with (
        compare.opened(recording(tmp_path / "large", large, great=SURE)) as in_large,
        compare.opened(recording(tmp_path / "small", chain(10), great=SURE)) as in_small,
    ):
        arms = [each_in_cpu_time(walking(opened.mesh, REQUEST, path), opened.settle) for opened in (in_large, in_small)]
        compare(arms[0], arms[1], goal, seconds=0.2, note=lambda: loaded)


def fans(*, enum: bool = False) -> tuple[tuple[Plan, Request], tuple[Plan, Request]]:
    """
    Compile a node with 1,000 edges and one with ten, each with a request that takes the last of them.
    """
    many, ten = (
        (fan(edges, enum=enum), Request(REQUEST.messages, attributes={"task": f"t{edges - 1}"})) for edges in (1_000, 10)
    )

    return many, ten


@pytest.mark.timeout(120)
@pytest.mark.parametrize("enum", [False, True], ids=["text", "enum"])
def test_equality_edges(compare: Compare, enum: bool) -> None:
    """
    How much more CPU time do two hops take where the first has 1,000 edges for values of one field, than where it has ten?
    """
    (many, last), (ten, tenth) = fans(enum=enum)
    with (
        compare.opened(Mesh(many, backends={"little": LITTLE})) as over_many,
        compare.opened(Mesh(ten, backends={"little": LITTLE})) as over_ten,
    ):
        arms = [each_in_cpu_time(walking(over_many, last, FAN_PATH)), each_in_cpu_time(walking(over_ten, tenth, FAN_PATH))]
        compare(arms[0], arms[1], at_most(3), seconds=0.2)


@pytest.mark.timeout(120)
def test_equality_edges_recorded(compare: Compare, tmp_path: Path) -> None:
    """
    How much more do they take where store and telemetry are told of each of the edges, too?
    """
    (many, last), (ten, tenth) = fans()
    with (
        compare.opened(recording(tmp_path / "many", many)) as over_many,
        compare.opened(recording(tmp_path / "ten", ten)) as over_ten,
    ):
        arms = [
            each_in_cpu_time(walking(opened.mesh, request, FAN_PATH), opened.settle)
            for opened, request in ((over_many, last), (over_ten, tenth))
        ]
        compare(arms[0], arms[1], None, seconds=0.2)
