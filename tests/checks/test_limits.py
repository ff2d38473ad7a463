"""
What goes past a limit or a window, and where that is said.
"""

from __future__ import annotations

from textwrap import dedent

import pytest

from meshwalk.loader import read_graph
from meshwalk.model.problems import Problem
from meshwalk.plan import examine
from tests.support.plans import plan_of


TEXT = """\
meshwalk: 1
name: g
start: intake
limits: {deadline: 10s, cost_usd: 1, input_bytes: 1000, output_tokens: 500}
backends:
  little: {kind: simulated, context_tokens: 2000, usd_per_mtok: {input: 1, output: 1}}
  great: {kind: simulated, context_tokens: 8000, usd_per_mtok: {input: 100, output: 200}}
nodes:
  intake: {role: classifier, use: features, next: [{to: large, when: signals.complexity > 0.5}, {to: small}]}
  small:
    role: answer
    backend: little
    max_tokens: 100
    deadline: 4s
    next: [{to: done, when: "output.finish_reason == 'stop'"}, {to: large}]
    on_error: large
  large:
    role: primary
    backend: great
    max_tokens: 200
    deadline: 4s
    next: done
    on_error: sorry
  sorry: {role: refusal, reason: "no"}
"""


def found(*changes: tuple[str, str]) -> list[Problem]:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)

    return list(examine(read_graph(dedent(text).encode(), file="g.yaml"))[1])


def places(problems: list[Problem]) -> list[tuple[str, str, int, int]]:
    return [(one.code, one.severity, one.span.line, one.span.column) for one in problems]


class TestLimits:
    def test_nothing_past_a_limit(self) -> None:
        """
        A graph whose worst walk stays inside its limits and windows has nothing said of it.
        """
        assert [] == found()

    @pytest.mark.parametrize(
        ("old", "new", "code", "said"),
        [
            ("cost_usd: 1", "cost_usd: 0.14", "over-cost-limit", "up to 0.142716 USD and limits.cost_usd is 0.14"),
            (
                "output_tokens: 500",
                "output_tokens: 250",
                "over-token-limit",
                "up to 300 tokens and limits.output_tokens is 250",
            ),
            ("deadline: 10s", "deadline: 7s", "over-deadline", "add up to 8 s and limits.deadline is 7 s"),
        ],
    )
    def test_past_a_limit(self, old: str, new: str, code: str, said: str) -> None:
        """
        A walk that may go past a limit is warned of where limits stand, with its figure and its way.
        """
        (problem,) = found((old, new))

        assert [(code, "warning", 4, 1)] == places([problem])
        assert said in problem.message
        assert problem.message.endswith("on the way intake → small → large")

    def test_just_at_a_limit(self) -> None:
        """
        What comes to the limit exactly is granted.
        """
        assert [] == found(("cost_usd: 1", "cost_usd: 0.142716"), ("output_tokens: 500", "output_tokens: 300"))

    def test_undeclared_input_is_the_remedy(self) -> None:
        """
        Where nobody said how long the input is, that is what to say first.
        """
        (problem,) = found((", input_bytes: 1000", ""), ("cost_usd: 1", "cost_usd: 0.5"))

        assert "over-cost-limit" == problem.code
        assert "declare limits.input_bytes" in problem.help


class TestNeverGranted:
    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("cost_usd: 1", "cost_usd: 0.0416", "reserves at least 0.0417 USD, and limits.cost_usd is 0.0416"),
            ("output_tokens: 500", "output_tokens: 199", "reserves 200 output tokens, and limits.output_tokens is 199"),
        ],
    )
    def test_a_call_that_no_request_gets(self, old: str, new: str, said: str) -> None:
        """
        A node whose smallest call does not fit the whole limit is an error at its backend.
        """
        (problem,) = found((old, new))

        assert [("never-granted", "error", 19, 14)] == places([problem])
        assert said in problem.message

    def test_a_call_that_the_smallest_request_gets(self) -> None:
        """
        One byte, one message and the whole limit are enough to be granted.
        """
        assert ["over-cost-limit"] == [one.code for one in found(("cost_usd: 1", "cost_usd: 0.0417"))]


class TestWindows:
    NARROW = ("context_tokens: 2000", "context_tokens: 1115")

    def test_a_window_that_is_too_small(self) -> None:
        """
        A window smaller than the input and the reply is warned of at the backend, with both figures.
        """
        (problem,) = found(self.NARROW)

        assert [("may-not-fit", "warning", 12, 14)] == places([problem])
        assert "node 'small' may need 1116 tokens" in problem.message
        assert "context_tokens of backend 'little' is 1115" in problem.message

    def test_a_window_that_just_does(self) -> None:
        """
        To the last token is enough.
        """
        assert [] == found((self.NARROW[0], "context_tokens: 1116"))

    def test_silence_where_the_input_is_not_declared(self) -> None:
        """
        What the author did not bound is not held against a window.
        """
        assert [] == found(self.NARROW, (", input_bytes: 1000", ""))

    @pytest.mark.parametrize(
        "edges",
        [
            "[{to: large, when: '!fits.little || signals.complexity > 0.5'}, {to: small}]",
            "[{to: small, when: fits.little}, {to: large}]",
        ],
    )
    def test_a_guard_that_asks_settles_it(self, edges: str) -> None:
        """
        Where every edge to the node comes with or after a guard on the window, the author has seen to it.
        """
        assert [] == found(self.NARROW, ("[{to: large, when: signals.complexity > 0.5}, {to: small}]", edges))

    def test_a_guard_that_asks_too_late(self) -> None:
        """
        A guard after the edge, or an error edge that nobody guards, settles nothing.
        """
        late = "[{to: small, when: signals.complexity > 0.5}, {to: small, when: fits.little}, {to: large}]"

        assert ["may-not-fit"] == [
            one.code for one in found(self.NARROW, ("[{to: large, when: signals.complexity > 0.5}, {to: small}]", late))
        ]


class TestFitsSignal:
    def test_only_declared_windows_can_be_asked_about(self) -> None:
        """
        A backend without context_tokens has nothing to fit.
        """
        text = TEXT.replace("context_tokens: 2000, ", "").replace("signals.complexity > 0.5", "fits.little")
        _, problems = examine(read_graph(text.encode(), file="g.yaml"))

        assert ["unknown-signal"] == [one.code for one in problems]

    def test_slots_stand_only_where_a_guard_reads_them(self) -> None:
        """
        A plan whose guards ask about one window works out that one.
        """
        plan = plan_of(TEXT.replace("signals.complexity > 0.5", "fits.little"))

        assert [(2000, "small")] == [(window, node.name) for _, window, nodes in plan.fits for node in nodes]


class TestBudgets:
    EASED = ("when: signals.complexity > 0.5}", 'when: "budget.session.pressure == 0 && signals.complexity > 0.5"}')

    def with_budgets(self, budgets: str, *changes: tuple[str, str]) -> list[Problem]:
        return found(("backends:\n", f"budgets: {budgets}\nbackends:\n"), *changes)

    def test_nothing_to_say(self) -> None:
        """
        A graph with a budget that walks fit, and an edge that asks how full it is, has nothing said of it.
        """
        assert [] == self.with_budgets("{session: {cost_usd: 1, window: 1h}}", self.EASED)

    @pytest.mark.parametrize(
        ("budget", "said"),
        [
            ("cost_usd: 0.0416", "reserves at least 0.0417 USD, and budgets.session.cost_usd is 0.0416"),
            ("output_tokens: 199", "reserves 200 output tokens, and budgets.session.output_tokens is 199"),
        ],
    )
    def test_a_call_that_is_never_granted(self, budget: str, said: str) -> None:
        """
        A node whose smallest call does not fit a whole budget is an error at its backend, and nothing else is said.
        """
        (problem,) = self.with_budgets(f"{{session: {{{budget}, away: open}}}}", self.EASED)

        assert [("never-granted", "error", 20, 14)] == places([problem])
        assert said in problem.message

    def test_input_that_is_never_granted(self) -> None:
        """
        One message of one byte is seventeen tokens; a cap below refuses every call, one at it does not.
        """
        refused = self.with_budgets("{session: {input_tokens: 16}}", self.EASED)

        assert ["never-granted"] * 2 == [problem.code for problem in refused]
        assert [] == self.with_budgets("{session: {input_tokens: 17}}", self.EASED)

    @pytest.mark.parametrize(
        ("budget", "column", "said"),
        [
            ("cost_usd: 0.14", 31, "one walk may cost up to 0.142716 USD and budgets.session.cost_usd is 0.14"),
            ("output_tokens: 299", 36, "one walk may write up to 300 tokens and budgets.session.output_tokens is 299"),
        ],
    )
    def test_a_walk_past_a_budget(self, budget: str, column: int, said: str) -> None:
        """
        One walk that may go past a whole budget is warned of at the cap, with its figure and its way.
        """
        (problem,) = self.with_budgets(f"{{session: {{{budget}}}}}", self.EASED)

        assert [("over-budget", "warning", 5, column)] == places([problem])
        assert problem.message == f"{said}, on the way intake → small → large"

    def test_a_walk_s_own_limit_comes_first(self) -> None:
        """
        What a walk's own limit stops is not held against a budget as well.
        """
        codes = [
            problem.code
            for problem in self.with_budgets("{session: {cost_usd: 0.12}}", self.EASED, ("cost_usd: 1,", "cost_usd: 0.12,"))
        ]

        assert ["over-cost-limit"] == codes

    @pytest.mark.parametrize(
        ("policy", "said"),
        [
            ("open", "the calls of a workflow are granted uncounted"),
            ("local", "each server may spend of a workflow what was left as it last saw it, at most 2 USD, 90 calls a window"),
        ],
    )
    def test_the_slack_while_away(self, policy: str, said: str) -> None:
        """
        What may be spent while the vault does not answer is stated as a warning.
        """
        budget = f"{{workflow: {{cost_usd: 2, calls: 90, window: 1h, away: {policy}}}}}"
        (problem,) = self.with_budgets(budget, ("signals.complexity > 0.5", '"budget.workflow.pressure == 0"'))

        assert ("slack-while-away", "warning") == (problem.code, problem.severity)
        assert said in problem.message

    def test_closed_risks_nothing(self) -> None:
        """
        A vault that must answer leaves no slack to be stated.
        """
        assert [] == self.with_budgets("{session: {calls: 9, away: closed}}", self.EASED)

    def test_nobody_makes_room(self) -> None:
        """
        Where no guard asks how full a budget is, the remedy names an edge to the cheapest node; the walk's own is no answer.
        """
        own = ("when: signals.complexity > 0.5}", 'when: "budget.request.pressure == 0 && signals.complexity > 0.5"}')
        (problem,) = self.with_budgets("{session: {calls: 9}}", own)

        assert [("no-pressure-edge", "warning", 5, 11)] == places([problem])
        assert 'put {to: small, when: "budget.session.pressure > 0"} above' in problem.help

    def test_nothing_cheaper_to_go_to(self) -> None:
        """
        Where every call has the same price, there is no edge to ask for.
        """
        same = ("usd_per_mtok: {input: 1, output: 1}", "usd_per_mtok: {input: 100, output: 200}")

        assert [] == self.with_budgets("{session: {calls: 9}}", same)

    @pytest.mark.parametrize(
        ("budget", "old", "new", "code"),
        [
            ("cost_usd: 9", ", usd_per_mtok: {input: 100, output: 200}", "", "unbounded-cost"),
            ("cost_usd: 9", "context_tokens: 8000, ", "", "unbounded-cost"),
            ("output_tokens: 9000", "context_tokens: 8000, ", "", "unbounded-tokens"),
        ],
    )
    def test_what_cannot_be_counted_is_refused(self, budget: str, old: str, new: str, code: str) -> None:
        """
        A call without a price under a cap on cost, or without a bound under a cap on cost or tokens, is an error.
        """
        text = ("limits: {deadline: 10s, cost_usd: 1, input_bytes: 1000, output_tokens: 500}", "limits: {input_bytes: 1000}")
        problems = self.with_budgets(f"{{tenant: {{{budget}}}}}", text, (old, new), ("    max_tokens: 200\n", ""))

        assert [(code, "error")] == [(problem.code, problem.severity) for problem in problems]
        assert f"budgets.tenant.{budget.partition(':')[0]} cannot hold" in problems[0].message
