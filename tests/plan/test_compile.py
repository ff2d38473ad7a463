"""
From graph to plan: all faults at once, digests that see what decides, and a canonical form that is enough.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.loader import load_graph, read_graph
from meshwalk.model.problems import GraphError
from meshwalk.plan import compile_plan, examine, restore, with_thresholds
from meshwalk.trace import Facts, Reserve
from meshwalk.walk import Walk
from tests.support.plans import plan_of
from tests.support.walks import began


TEXT = """
meshwalk: 1
name: desk
start: small
thresholds:
  confident: {value: 0.8, range: [0, 1]}
limits: {hops: 4, deadline: 1500ms, cost_usd: 0.5}
backends:
  little:
    {kind: openai, model: m, base_url: "http://127.0.0.1:1/v1", context_tokens: 500, usd_per_mtok: {input: 0.05, output: 0.15}}
nodes:
  small:
    role: answer
    backend: little
    max_tokens: 100
    confidence: {from: mean_token_probability, missing: 0}
    next:
      - {to: done, when: "output.confidence >= thresholds.confident"}
      - {to: sorry}
  sorry: {role: refusal, reason: too hard}
"""

PLAN = plan_of(TEXT)


class TestDigests:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("name: desk", "name: desk # a comment\ndescription: words"),
            ('base_url: "http://127.0.0.1:1/v1"', 'base_url: "${LITTLE_URL}", key_env: LITTLE_KEY'),
            ("role: answer\n    backend: little", "backend: little\n    role: answer"),
            ("deadline: 1500ms", "deadline: 1.5s"),
            ("cost_usd: 0.5", "cost_usd: 5e-1"),
            ('"output.confidence >= thresholds.confident"', "output.confidence>=thresholds.confident"),
            ("    max_tokens: 100\n", "    max_tokens: 100\n    visits: 1\n    retries: 0\n"),
            ("name: desk", "name: desk\nversion: 4"),
        ],
    )
    def test_what_does_not_decide_changes_neither(self, old: str, new: str) -> None:
        """
        Comments, key order, addresses, spacing and defaults that are written out leave both digests alone.
        """
        assert old in TEXT
        other = plan_of(TEXT.replace(old, new))

        assert (PLAN.plan_digest, PLAN.shape_digest) == (other.plan_digest, other.shape_digest)

    def test_a_threshold_changes_the_plan_and_not_the_shape(self) -> None:
        """
        Two calibrations of one graph share its shape.
        """
        other = compile_plan(with_thresholds(PLAN.graph, {"confident": 0.7}))

        assert PLAN.plan_digest != other.plan_digest
        assert PLAN.shape_digest == other.shape_digest

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (">= thresholds", "> thresholds"),
            ("input: 0.05", "input: 0.06"),
            ("model: m", "model: n"),
            ("max_tokens: 100", "max_tokens: 101"),
            ("missing: 0", "missing: 0.5"),
            ("hops: 4", "hops: 5"),
            ("reason: too hard", "reason: too dear"),
        ],
    )
    def test_what_decides_changes_both(self, old: str, new: str) -> None:
        """
        Guards, prices, models, bounds and limits are what a plan is.
        """
        assert old in TEXT
        other = plan_of(TEXT.replace(old, new))

        assert PLAN.plan_digest != other.plan_digest
        assert PLAN.shape_digest != other.shape_digest

    def test_data_counts_by_its_content(self, tmp_path: Path) -> None:
        """
        A file that the graph names decides by what is in it, not by what it is called.
        """

        def digest(name: str, content: str) -> str:
            (tmp_path / name).write_text(content, encoding="utf-8")
            text = f"""
                meshwalk: 1
                name: d
                start: a
                backends: {{r: {{kind: recorded, model: m, data: {name}}}}}
                nodes:
                  a: {{role: answer, backend: r, next: done}}
            """
            return compile_plan(read_graph(dedent(text).encode(), file="d.yaml", folder=str(tmp_path))).plan_digest

        assert digest("a.jsonl", "{}") == digest("b.jsonl", "{}")
        assert digest("a.jsonl", "{}") != digest("a.jsonl", "{ }")


class TestCanonical:
    @pytest.mark.parametrize("name", ["quickstart", "quickstart-openai", "gsm8k-agreement"])
    def test_is_enough_to_compile_again(self, graphs: Path, name: str) -> None:
        """
        A plan restored from its canonical form is the same plan.
        """
        plan = compile_plan(load_graph(graphs / f"{name}.yaml"))
        again = restore(plan.canonical)

        assert (plan.plan_digest, plan.shape_digest) == (again.plan_digest, again.shape_digest)
        assert plan.canonical == again.canonical

    def test_callers_who_may_set_nothing(self) -> None:
        """
        An empty list of sampling parameters stays empty, and is not the list of all.
        """
        plan = plan_of(TEXT.replace("name: desk", "name: desk\nsampling: []"))

        assert PLAN.plan_digest != plan.plan_digest
        assert () == restore(plan.canonical).graph.allowed_sampling

    @given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text.strip() and not set("{}") & set(text)))
    def test_holds_any_text(self, words: str) -> None:
        """
        A prompt of any characters comes back as it was.
        """
        graph = PLAN.graph
        small = replace(graph.nodes["small"], prompt=words)
        plan = compile_plan(replace(graph, nodes={**graph.nodes, "small": small}))
        again = restore(plan.canonical)

        assert words == again.graph.nodes["small"].prompt
        assert plan.plan_digest == again.plan_digest

    def test_is_not_anything_else(self) -> None:
        """
        What is not a canonical form is refused.
        """
        with pytest.raises(ValueError, match="canonical form"):
            restore(b"{}")


class TestExamine:
    def test_finds_faults_of_every_room_at_once(self) -> None:
        """
        Faults of shape, of guards and of topology are told together, in file order.
        """
        text = (
            TEXT.replace("max_tokens: 100", "max_tokns: 100")
            .replace("output.confidence >=", "output.confidense >=")
            .replace("to: sorry", "to: sory")
        )
        plan, problems = examine(read_graph(text.encode(), file="desk.yaml"))

        assert plan is None
        assert {"unknown-key"} <= {problem.code for problem in problems}
        assert sorted(problem.span for problem in problems) == [problem.span for problem in problems]

    def test_a_guard_fault_points_into_the_guard(self) -> None:
        """
        The place of a guard's fault is that of the word at fault, in the file.
        """
        text = TEXT.replace("output.confidence >=", "output.confidense >=")
        _, problems = examine(read_graph(text.encode(), file="desk.yaml"))
        fault = next(problem for problem in problems if problem.code == "unknown-signal")
        line = text.splitlines()[fault.span.line - 1]

        assert line[fault.span.column - 1 :].startswith("output.confidense")
        assert len("output.confidense") == fault.span.length

    @pytest.mark.parametrize(
        ("guard", "message"),
        [
            ("output.confidence >", "the guard on edge small → done ends where more is expected"),
            ("output.confidence", "the guard on edge small → done is a number, and a guard must be true or false"),
            ("output.confidence == null", "the guard on edge small → done cannot use null"),
            ("output.confidence > 'a", "this text is never closed in the guard on edge small → done"),
        ],
    )
    def test_a_guard_fault_names_its_guard_once(self, guard: str, message: str) -> None:
        """
        A fault of the guard as a whole has the guard for its subject, and others say which guard they are in.
        """
        text = TEXT.replace("output.confidence >= thresholds.confident", guard)
        _, problems = examine(read_graph(text.encode(), file="desk.yaml"))

        assert message in [problem.message for problem in problems]

    def test_errors_stop_compilation(self) -> None:
        """
        A graph with errors does not become a plan.
        """
        with pytest.raises(GraphError, match="unknown-signal"):
            plan_of(TEXT.replace("output.confidence >=", "output.confidense >="))


class TestNeed:
    @pytest.mark.parametrize(
        ("input_bytes", "asked", "need"),
        [
            (84, None, (40_000, 500, 100)),
            (84, 10, (26_500, 500, 10)),
            (10_000, None, (40_000, 500, 100)),
        ],
    )
    def test_bytes_bound_tokens(self, input_bytes: int, asked: int | None, need: tuple[int, int, int]) -> None:
        """
        A call is bounded by the messages' bytes, the context window and the output limit, at the declared price.
        """
        start = began(input_bytes=input_bytes)
        facts: Facts = start.facts._replace(sampling=start.facts.sampling._replace(max_tokens=asked))
        wish = Walk(PLAN).feed(start._replace(facts=facts))[-1]

        assert isinstance(wish, Reserve)
        assert need == (wish.cost_nano_usd, wish.input_tokens, wish.output_tokens)
