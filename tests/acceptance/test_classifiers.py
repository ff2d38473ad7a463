"""
Requests walked by what classifiers say of them: each use, its failures, its record, and what is told before anything is called.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from meshwalk.loader import load_graph
from meshwalk.mesh import Mesh
from meshwalk.model.problems import GraphError, HopFailed, SetupError
from meshwalk.plan import Plan, compile_plan, restore
from meshwalk.review.evaluate import evaluate
from meshwalk.review.replay import replay
from meshwalk.trace import Message, Request, Traversal, decode, encode
from tests.support.classifiers import GIVEN, WRITES, service, weights_of, weights_text
from tests.support.plans import plan_of


pytestmark = pytest.mark.anyio

BACKENDS = """\
meshwalk: 1
name: triage
start: intake
backends:
  small: {kind: simulated, usd_per_mtok: {input: 1, output: 1}}
  large: {kind: simulated, usd_per_mtok: {input: 10, output: 10}}
"""
ANSWERS = """\
  prose: {role: answer, backend: small, max_tokens: 4, next: done}
  proof: {role: primary, backend: large, max_tokens: 4, next: done}
"""
LATE = "  late: {role: refusal, reason: nobody could say what it is}\n"
BY_TOPIC = """next: [{to: proof, when: "signals.topic == 'proof' && signals.risk > 0.5"}, {to: prose}]"""
ON_ERROR = "on_error: [{class: timeout, to: late}, {to: prose}]"


def graph(node: str) -> str:
    return f"{BACKENDS}nodes:\n  intake: {{role: classifier, {node}}}\n{ANSWERS}{LATE if 'late' in node else ''}"


PYTHON = plan_of(
    graph(f'use: python, function: "tests.support.classifiers:judge", {WRITES}, deadline: 50ms, {BY_TOPIC}, {ON_ERROR}')
)


class Listing:
    def __init__(self) -> None:
        self.traversals: list[Traversal] = []

    def record(self, traversal: Traversal, plan: Plan) -> None:
        assert plan.plan_digest == traversal.plan_digest
        self.traversals.append(traversal)


async def walked(plan: Plan, *prompts: str) -> list[tuple[str, ...]]:
    """
    Walk *prompts*, and hold each record to its replay over the stored plan.
    """
    listing = Listing()
    async with Mesh(plan, sinks=[listing]) as mesh:
        found = [(await mesh.route(prompt)).path for prompt in prompts]
    stored = restore(plan.canonical)

    assert plan.plan_digest == stored.plan_digest
    assert [None] * len(prompts) == [replay(decode(encode(one)), stored) for one in listing.traversals]

    return found


class TestPython:
    async def test_signals_decide(self) -> None:
        """
        A function's signals are what guards read, and a record of them replays on the stored plan.
        """
        assert [("intake", "prose"), ("intake", "proof")] == await walked(PYTHON, "a poem", "a theorem")

    @pytest.mark.parametrize("prompt", ["busy", "broken", "bug", "exit", "a lie", "nothing"])
    async def test_failures_take_their_edge(self, prompt: str) -> None:
        """
        Whatever goes wrong in a function is a class that `on_error` chooses by.
        """
        assert [("intake", "prose")] == await walked(PYTHON, prompt)

    async def test_time_is_up_at_the_deadline(self) -> None:
        """
        A function that does not come back is cut off at its node's deadline.
        """
        async with Mesh(PYTHON) as mesh:
            done = await mesh.route("never")

        assert (("intake", "late"), "nobody could say what it is") == (done.path, done.reason)
        assert done.traversal.latency_us >= 50_000

    async def test_a_failure_without_an_edge_ends_the_walk(self) -> None:
        """
        Without `on_error` the walk fails, and says at which node and of what.
        """
        plan = plan_of(graph(f'use: python, function: "tests.support.classifiers:judge", {WRITES}, {BY_TOPIC}'))
        async with Mesh(plan) as mesh:
            with pytest.raises(HopFailed, match="node 'intake': try later") as caught:
                await mesh.route("busy")

        assert ("intake", "overloaded") == (caught.value.node, caught.value.error_class)

    async def test_a_default_deadline(self) -> None:
        """
        A node that says nothing of time has a second, which counts in the bounds of the graph.
        """
        plan = plan_of(graph(f'use: python, function: "tests.support.classifiers:judge", {WRITES}, {BY_TOPIC}'))

        assert 1_000_000 == plan.node("intake").node.deadline_us
        assert 1_000_000 == plan.bounds.stated_us.value

    async def test_a_preview_stops_there(self) -> None:
        """
        A preview does not call a function, and says which signals the edges behind it need.
        """
        async with Mesh(PYTHON) as mesh:
            preview = await mesh.preview(Request((Message("user", "a poem"),)))

        assert (("intake",), "intake", None) == (preview.path, preview.next, preview.need)
        assert [("signals.risk", "signals.topic"), ()] == [edge.needs for edge in preview.edges]


class TestHttp:
    async def test_signals_decide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A service's signals are what guards read; its address comes from the environment and is no part of the digest.
        """

        async def handler(request: web.Request) -> web.StreamResponse:
            asked = (await request.json())["messages"][-1]["content"]
            return web.json_response(GIVEN[asked]) if asked in GIVEN else web.Response(status=503)

        node = f'use: http, url: "${{TRIAGE_URL}}", {WRITES}, {BY_TOPIC}, {ON_ERROR}'
        plan = plan_of(graph(node))
        async with service(handler) as url:
            monkeypatch.setenv("TRIAGE_URL", url)
            paths = await walked(plan, "a poem", "a theorem", "a lie", "unheard of")

        assert [("intake", "prose"), ("intake", "proof"), ("intake", "prose"), ("intake", "prose")] == paths
        assert plan.plan_digest == plan_of(graph(node.replace("${TRIAGE_URL}", "http://127.0.0.1/"))).plan_digest

    async def test_a_caller_that_goes_away_leaves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A walk that is cancelled while the service thinks is recorded as cancelled.
        """
        here = anyio.Event()

        async def handler(_: web.Request) -> web.StreamResponse:
            here.set()
            await anyio.sleep_forever()
            raise AssertionError

        plan = plan_of(graph(f'use: http, url: "${{TRIAGE_URL}}", deadline: 60s, {WRITES}, {BY_TOPIC}'))
        listing = Listing()
        async with service(handler) as url:
            monkeypatch.setenv("TRIAGE_URL", url)
            async with Mesh(plan, sinks=[listing]) as mesh, anyio.create_task_group() as tasks:
                tasks.start_soon(mesh.route, "a poem")
                await here.wait()
                tasks.cancel_scope.cancel()

        assert ["cancelled"] == [one.outcome.value for one in listing.traversals]


class TestModel:
    GRAPH = graph(
        "use: model, backend: small, max_tokens: 4, labels: [prose, proof], confidence: {from: recorded, missing: 0.5}, "
        "next: [{to: proof, when: \"signals.label == 'proof' && signals.confidence >= 0.5\"}, {to: prose}], on_error: late"
    )

    async def test_a_reply_that_names_no_label_fails_the_hop(self) -> None:
        """
        A simulated model names no label, so the hop fails as malformed; it is paid for all the same.
        """
        async with Mesh(plan_of(self.GRAPH)) as mesh:
            done = await mesh.route("a poem")

        assert ("intake", "late") == done.path
        assert done.cost_usd > 0

    async def test_the_label_decides(self, tmp_path: Path) -> None:
        """
        The label that a model answers with is a signal, beside how sure it is.
        """
        rows = [("a poem", "Prose.", 0.9), ("a theorem", "proof", 0.9), ("a riddle", "proof", 0.1), ("a rhyme", "proof", None)]
        lines = [
            {"id": prompt, "prompt": prompt, "outcomes": {"sorter": {"score": 1, "response": said, "confidence": sure}}}
            for prompt, said, sure in rows
        ]
        (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        plan = plan_of(self.GRAPH.replace("small: {kind: simulated,", "small: {kind: recorded, model: sorter,"))
        async with Mesh(plan, outcomes=tmp_path / "data.jsonl") as mesh:
            found = [(await mesh.route(prompt)).path[1] for prompt, _, _ in rows]

        assert ["prose", "proof", "prose", "proof"] == found


class TestWeights:
    def written(self, folder: Path, node: str = "weights: weights.json") -> Path:
        by_worth = 'next: [{to: proof, when: "signals.strong - signals.weak >= 0.5"}, {to: prose}]'
        (folder / "weights.json").write_bytes(weights_text())
        path = folder / "router.yaml"
        path.write_text(graph(f"use: weights, {node}, {by_worth}"), encoding="utf-8")

        return path

    async def test_scores_decide(self, tmp_path: Path) -> None:
        """
        A long prompt goes where these weights send it, and the record holds the scores.
        """
        plan = compile_plan(load_graph(self.written(tmp_path)))

        assert [("intake", "prose"), ("intake", "proof")] == await walked(plan, "Is it?", "word " * 400)

    async def test_a_preview_runs_them(self, tmp_path: Path) -> None:
        """
        Weights wait for nobody, so a preview goes on behind them.
        """
        async with Mesh(compile_plan(load_graph(self.written(tmp_path)))) as mesh:
            preview = await mesh.preview(Request((Message("user", "word " * 400),)))

        assert (("intake", "proof"), "proof") == (preview.path, preview.next)
        assert {"weak", "strong"} == preview.hops[0].outputs.keys()

    async def test_other_weights_are_another_plan(self, tmp_path: Path) -> None:
        """
        What was learnt decides, so its hash is part of the plan's digest; where the file lies is not.
        """
        path = self.written(tmp_path)
        plan = compile_plan(load_graph(path))
        (tmp_path / "moved.json").write_bytes(weights_text())
        moved = compile_plan(load_graph(self.written(tmp_path, "weights: moved.json")))
        (tmp_path / "moved.json").write_bytes(weights_text(weights_of(topics=True)))
        other = compile_plan(load_graph(path))

        assert plan.plan_digest == moved.plan_digest
        assert plan.plan_digest != other.plan_digest

    async def test_a_mesh_says_what_it_lacks(self, tmp_path: Path) -> None:
        """
        A file that went away between checking and opening is told when the mesh opens.
        """
        plan = compile_plan(load_graph(self.written(tmp_path)))
        (tmp_path / "weights.json").unlink()

        with pytest.raises(SetupError, match=r"classifier 'intake': the weights 'weights.json' cannot be read"):
            await Mesh(plan).__aenter__()

    async def test_evaluation_runs_them(self, tmp_path: Path) -> None:
        """
        `meshwalk evaluate` walks a labelled file over trained weights as over anything else.
        """
        path = self.written(tmp_path)
        text = path.read_text(encoding="utf-8")
        for backend in ("small", "large"):
            text = text.replace(f"{backend}: {{kind: simulated,", f"{backend}: {{kind: recorded, model: {backend},")
        path.write_text(text, encoding="utf-8")

        def row(number: int, prompt: str) -> dict[str, Any]:
            return {"id": str(number), "prompt": prompt, "outcomes": {"small": outcome(0), "large": outcome(1)}}

        def outcome(score: int) -> dict[str, Any]:
            return {"score": score, "input_tokens": 10, "output_tokens": 2}

        data = tmp_path / "data.jsonl"
        rows = [row(0, "Is it?"), row(1, "word " * 400), row(2, "word " * 500)]
        data.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
        found = await evaluate(compile_plan(load_graph(path)), data)

        assert 3 == found.n
        assert pytest.approx(2 / 3) == found.quality
        assert {("intake", "proof"): 2, ("intake", "prose"): 1} == {each.path: each.n for each in found.paths}


class TestSeveral:
    async def test_a_signal_is_there_once_anyone_that_gives_it_has_run(self) -> None:
        """
        Two classifiers may give one signal; a guard behind both reads it, and one behind only another is told of at check.
        """
        judge = f'{{role: classifier, use: python, function: "tests.support.classifiers:judge", {WRITES}, next: join}}'
        nodes = (
            'intake: {role: classifier, use: features, next: [{to: one, when: "signals.complexity > 0.5"}, {to: two}]}',
            f"one: {judge}",
            f"two: {judge}",
            f"join: {{role: classifier, use: features, {BY_TOPIC}}}",
        )
        text = BACKENDS + "nodes:\n" + "".join(f"  {node}\n" for node in nodes) + ANSWERS

        assert [("intake", "two", "join", "proof")] == await walked(plan_of(text), "a theorem")

        with pytest.raises(GraphError, match=r"no classifier that gives it has run, so 'signals.risk' has no value"):
            plan_of(text.replace("{to: two}", "{to: join}").replace("next: join}", "next: prose}"))
