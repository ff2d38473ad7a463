"""
The main job on real prompts with real recorded answers: in process, over gRPC and replayed, each walk decides alike.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from meshwalk.backends.outcomes import load_outcomes
from meshwalk.loader import load_graph
from meshwalk.mesh import Mesh
from meshwalk.model import Confidence
from meshwalk.model.problems import Span
from meshwalk.plan import Plan, compile_plan
from meshwalk.records.store import TraceReader, TraceWriter
from meshwalk.review.evaluate import evaluate
from meshwalk.review.replay import replay, replay_all
from meshwalk.server import serve
from meshwalk.trace import Call, Message, Request, Traversal, Wish
from meshwalk.wire.client import Client
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

ROWS = 656


class Listing:
    def __init__(self) -> None:
        self.traversals: list[Traversal] = []

    def record(self, traversal: Traversal, plan: Plan) -> None:
        assert plan.plan_digest == traversal.plan_digest
        self.traversals.append(traversal)


@pytest.fixture(scope="module")
def data(shared_data: Path) -> Path:
    return shared_data / "outcomes" / "gsm8k.jsonl.gz"


@pytest.fixture(scope="module")
def plan(graphs: Path) -> Plan:
    return compile_plan(load_graph(graphs / "gsm8k-agreement.yaml"))


def wishes(traversal: Traversal) -> list[Wish]:
    """
    Return what a walk wanted, without the times that differ from run to run.
    """
    wanted = (wish for _, wished in traversal.steps for wish in wished)

    return [wish._replace(deadline_at_us=0) if isinstance(wish, Call) else wish for wish in wanted]


async def in_process(plan: Plan, data: Path) -> list[Traversal]:
    listing = Listing()
    async with Mesh(plan, outcomes=data, sinks=[listing]) as mesh:
        for row in load_outcomes(data).rows:
            await mesh.walk(Request((Message("user", row.prompt),)))

    return listing.traversals


async def test_quality_at_a_share_of_the_cost(plan: Plan, data: Path) -> None:
    """
    The graph reaches 0.88 at no more than 0.60 of what always asking GPT-4 costs, and GPT-4 alone does not.
    """
    found = await evaluate(plan, data)
    best = found.always_best

    assert ROWS == found.n
    assert "gpt4" == best.backend
    assert found.quality >= 0.88 > best.quality
    assert found.cost_usd <= 0.60 * best.cost_usd


async def test_decisions_are_the_same_everywhere(plan: Plan, data: Path, tmp_path: Path) -> None:
    """
    In process, over gRPC, and replayed from the store: the same path and the same decisions, for every prompt.
    """
    here = await in_process(plan, data)
    store = TraceWriter(tmp_path, on_full="block")
    async with (
        Mesh(plan, outcomes=data, sinks=[store]) as mesh,
        serve([mesh]) as server,
        Client(f"127.0.0.1:{server.port}") as client,
    ):
        routed = [await client.route(row.prompt) for row in load_outcomes(data).rows]
    await store.aclose()
    with TraceReader(tmp_path) as reader:
        there = {traversal.traversal_id: traversal for traversal in reader.traversals()}
        report = replay_all(reader)

    assert [ROWS, ROWS] == [len(here), len(there)]
    for mine, done in zip(here, routed, strict=True):
        theirs = there[done.traversal_id]
        assert (tuple(mine.path), mine.decisions, wishes(mine)) == (done.path, theirs.decisions, wishes(theirs))
    assert (ROWS, ROWS, 0, 0) == (report.total, report.unchanged, report.mismatched, report.unidentified)


async def test_a_changed_guard_is_noticed(plan: Plan, data: Path) -> None:
    """
    Replayed on a graph whose guard was turned round, every walk that came to it differs.
    """
    turned = {
        name: replace(node, next=tuple(replace(edge, when=edge.when and f"!({edge.when})") for edge in node.next))
        for name, node in plan.graph.nodes.items()
    }
    other = compile_plan(replace(plan.graph, nodes=turned))
    traversals = await in_process(plan, data)

    assert {None} == {replay(traversal, plan) for traversal in traversals}
    assert all(replay(traversal, other) is not None for traversal in traversals)


DOUBT = """
meshwalk: 1
name: doubt
start: student
backends:
  student: {kind: recorded, model: anytime-student@96}
  mixtral: {kind: recorded, model: mixtral-8x7b-instruct-v0.1}
nodes:
  student:
    role: answer
    backend: student
    confidence: {from: recorded}
    next:
      - {to: done, when: "output.confidence >= 0.5"}
      - {to: sorry, when: "!(output.confidence >= 0.5)"}
      - {to: mixtral}
  mixtral: {role: primary, backend: mixtral, next: done}
  sorry: {role: refusal, reason: the student says that it does not know}
"""


def declared(missing: float | None) -> Plan:
    graph = plan_of(DOUBT).graph
    student = replace(graph.nodes["student"], confidence=Confidence("recorded", Span("doubt.yaml", 1, 1), None, missing))

    return compile_plan(replace(graph, nodes={**graph.nodes, "student": student}))


@pytest.fixture(scope="module")
def confidences(data: Path) -> list[float | None]:
    return [row.outcomes["anytime-student@96"].confidence for row in load_outcomes(data).rows]


@pytest.mark.parametrize("missing", [None, 0.0, 1.0])
async def test_a_null_confidence_takes_no_wrong_edge(
    data: Path, confidences: list[float | None], missing: float | None
) -> None:
    """
    A confidence the student never stated is what `missing:` says, or leaves both a guard and its negation undetermined.
    """
    nulls = confidences.count(None)
    sure = sum(confidence is not None and confidence >= 0.5 for confidence in confidences)
    unsure = ROWS - nulls - sure
    expected = {
        None: Counter(student=sure, sorry=unsure, mixtral=nulls),
        0.0: Counter(student=sure, sorry=unsure + nulls),
        1.0: Counter(student=sure + nulls, sorry=unsure),
    }[missing]
    traversals = await in_process(declared(missing), data)

    assert 145 == nulls
    assert +expected == Counter(traversal.path[-1] for traversal in traversals)
    assert {None: nulls, 0.0: 0, 1.0: 0}[missing] == sum("u" in traversal.decisions[0].verdicts for traversal in traversals)
