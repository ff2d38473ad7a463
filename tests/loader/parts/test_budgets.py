"""
What may be used up, as the loader reads it: limits of a walk, and budgets that walks share.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwalk.loader import load_graph, read_graph
from meshwalk.loader.schema.budgets import BudgetShape
from meshwalk.model import Budget, Caps, Graph, Limits
from meshwalk.plan import compile_plan, restore
from tests.loader.reading import BACKENDS, HEAD, NODES, places, read, read_sound
from tests.support.files import ROOT
from tests.support.tokenizer import trained


SHARED = ROOT / "tests" / "graphs" / "good" / "shared-budgets.yaml"
FREE = "backends:\n  s: {kind: simulated, usd_per_mtok: {input: 0, output: 0}}\n"


def with_budgets(text: str) -> Graph:
    return read(HEAD + f"budgets: {text}\n" + BACKENDS + NODES)


class TestBudgets:
    def test_a_whole_graph(self) -> None:
        """
        A graph of three scopes compiles without a word said of it.
        """
        plan = compile_plan(load_graph(SHARED))
        session = plan.graph.budgets["session"]

        assert () == plan.warnings
        assert ["session", "workflow", "tenant"] == list(plan.graph.budgets)
        assert (Caps(cost_nano_usd=1_000_000_000), 3_600_000_000) == (session.caps, session.window_us)
        assert (0.8, False, "closed") == (session.pressure_from, session.required, session.away)
        assert 0.5 == plan.graph.pressure_from == plan.pressure_from("request")

    def test_every_key(self) -> None:
        """
        Each key comes into the model, with its place.
        """
        caps = "cost_usd: 1.5, input_tokens: 1e6, output_tokens: 2, calls: 3, hops: 4"
        graph = with_budgets(f"{{workflow: {{{caps}, window: 1.5s, pressure_from: 0, required: true, away: local}}}}")
        budget = graph.budgets["workflow"]

        assert () == graph.problems
        assert ("workflow", Caps(1_500_000_000, 1_000_000, 2, 3, 4)) == (budget.scope, budget.caps)
        assert (1_500_000, 0, True, "local") == (budget.window_us, budget.pressure_from, budget.required, budget.away)
        assert (4, 32) == budget.places["cost_usd"][1:3]
        assert set(BudgetShape.known_keys()) == budget.places.keys()

    def test_order_is_one(self) -> None:
        """
        Budgets are taken in one order, whatever order they were written in, as a stored plan writes them in its own.
        """
        graph = with_budgets("{tenant: {calls: 1}, workflow: {calls: 1}, session: {calls: 1}}")

        assert ["session", "workflow", "tenant"] == list(graph.budgets)

    @pytest.mark.parametrize(
        ("key", "sound", "faulty"),
        [
            ("cost_usd", ["0", "0.000000001", "9000000"], ["-1", "9000000.1", "1e30", ".nan"]),
            ("input_tokens", ["1", "1e15"], ["0", "1e16", "1.5"]),
            ("output_tokens", ["1", "1e15"], ["0", "1e16"]),
            ("calls", ["1", "1e15"], ["0", "-1"]),
            ("hops", ["1", "1e15"], ["0", "many"]),
        ],
    )
    def test_caps(self, key: str, sound: list[str], faulty: list[str]) -> None:
        """
        A cap is taken up to its bounds and refused past them, at its place.
        """
        column = len(f"budgets: {{session: {{{key}: ") + 1

        assert [()] * len(sound) == [with_budgets(f"{{session: {{{key}: {value}}}}}").problems for value in sound]
        assert [[(4, column)]] * len(faulty) == [
            [problem.span[1:3] for problem in with_budgets(f"{{session: {{{key}: {value}}}}}").problems] for value in faulty
        ]

    @pytest.mark.parametrize(
        ("key", "sound", "faulty"),
        [
            ("window", ["1s", "720h", "8784h"], ["999ms", "8785h", "1", "day"]),
            ("pressure_from", ["0", "0.999"], ["1", "-0.1", ".nan"]),
            ("required", ["true", "false"], ["yes", "1"]),
            ("away", ["closed", "open", "local"], ["ajar", "true"]),
        ],
    )
    def test_terms(self, key: str, sound: list[str], faulty: list[str]) -> None:
        """
        What a budget says besides its caps is taken up to its bounds and refused past them, at its place.
        """
        column = len(f"budgets: {{session: {{calls: 1, {key}: ") + 1

        assert [()] * len(sound) == [with_budgets(f"{{session: {{calls: 1, {key}: {value}}}}}").problems for value in sound]
        assert [[(4, column)]] * len(faulty) == [
            [problem.span[1:3] for problem in with_budgets(f"{{session: {{calls: 1, {key}: {value}}}}}").problems]
            for value in faulty
        ]

    def test_all_faults_at_once(self) -> None:
        """
        A fault in one budget hides none in another, and none elsewhere.
        """
        text = (
            "{sesion: {window: 1h}, workflow: {calls: 0, away: shut}, request: {calls: 1}, tenant: {required: false, hops: 1}}"
        )

        assert [
            ("no-cap", 4, 11),
            ("out-of-range", 4, 51),
            ("unknown-key", 4, 11),
            ("unknown-key", 4, 67),
            ("unknown-key", 4, 97),
            ("unknown-policy", 4, 60),
        ] == sorted(places(with_budgets(text).problems))

    def test_guards_of_a_budget_that_is_not_read(self) -> None:
        """
        A budget with faults is still one that guards may ask about.
        """
        nodes = 'nodes:\n  a: {role: answer, backend: s, next: [{to: b, when: "budget.user.pressure > 0"}, {to: done}]}\n'
        text = HEAD + "budgets: {user: {calls: 1}}\n" + BACKENDS + nodes + "  b: {role: refusal, reason: none}\n"

        assert [("unknown-key", 4, 11)] == places(read(text).problems)
        assert "user" in read(text).broken

    def test_a_cap_with_a_fault_is_a_cap(self) -> None:
        """
        Of a budget whose only cap is at fault, it is not also said that it caps nothing.
        """
        assert ["wrong-type"] == [problem.code for problem in with_budgets("{session: {calls: many}}").problems]


class TestLimits:
    def test_every_key(self) -> None:
        """
        Each limit comes into the model.
        """
        of_words = "input_bytes: 4, output_tokens: 5, input_tokens: 6"
        text = f"{{hops: 1, deadline: 2s, cost_usd: 3, {of_words}, calls: 7, pressure_from: 0.9}}"
        graph = read_sound(HEAD + f"limits: {text}\n" + FREE + NODES)

        assert Limits(1, 2_000_000, 3_000_000_000, 4, 5, 6, 7) == graph.limits
        assert 0.9 == graph.pressure_from


class TestStoredPlans:
    @pytest.mark.parametrize(
        "budget",
        [
            "{cost_usd: 1234.000000001}",
            "{cost_usd: 0}",
            "{cost_usd: 9000000, window: 1.000001s}",
            "{input_tokens: 1e15, output_tokens: 5}",
            "{calls: 1, hops: 2, required: true, pressure_from: 0}",
            "{calls: 1, away: open}",
        ],
    )
    def test_all_of_a_budget_comes_back(self, budget: str) -> None:
        """
        A budget read from a stored plan is the one that was stored.
        """
        graph = read_sound(HEAD + f"budgets: {{session: {budget}}}\n" + FREE + NODES.replace("s,", "s, max_tokens: 5,"))

        plan = compile_plan(graph)
        again = restore(plan.canonical)

        assert _plain(plan.graph.budgets["session"]) == _plain(again.graph.budgets["session"])
        assert (plan.plan_digest, plan.shape_digest) == (again.plan_digest, again.shape_digest)

    def test_a_tokenizer_counts_by_its_content(self, tmp_path: Path) -> None:
        """
        Another tokenizer makes another plan; where its file lies makes none, and a stored plan comes back without it.
        """
        path = trained(tmp_path)
        (tmp_path / "same.json").write_bytes(path.read_bytes())
        (tmp_path / "other.json").write_bytes(path.read_bytes() + b" ")

        def plan_with(name: str) -> str:
            text = HEAD + f"backends: {{s: {{kind: simulated, tokenizer: {name}}}}}\n" + NODES
            plan = compile_plan(read_graph(text.encode(), file="g.yaml", folder=str(tmp_path)))
            assert plan.plan_digest == restore(plan.canonical).plan_digest
            assert ["backends.s.tokenizer"] == list(plan.graph.hashes)
            return plan.plan_digest

        assert plan_with("tokenizer.json") == plan_with("same.json")
        assert plan_with("tokenizer.json") != plan_with("other.json")

    def test_a_long_prompt_that_a_tokenizer_shortens(self, tmp_path: Path) -> None:
        """
        A prompt whose bytes alone are past a cap may fit it by its tokens, in the stored plan as in the graph.
        """
        trained(tmp_path)
        backends = "backends: {s: {kind: simulated, tokenizer: tokenizer.json}}\n"
        nodes = f'nodes:\n  a: {{role: answer, backend: s, max_tokens: 5, prompt: "{"the next hop " * 20}", next: done}}\n'
        text = HEAD + "budgets: {session: {input_tokens: 200}}\n" + backends + nodes
        plan = compile_plan(read_graph(text.encode(), file="g.yaml", folder=str(tmp_path)))

        assert plan.plan_digest == restore(plan.canonical).plan_digest


def _plain(budget: Budget) -> tuple[object, ...]:
    return budget.scope, budget.caps, budget.window_us, budget.pressure_from, budget.required, budget.away
