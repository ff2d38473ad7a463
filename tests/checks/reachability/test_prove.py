"""
What never happens: each finding with its place and its reason, and none that a walk disproves.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest
import z3
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk import guards
from meshwalk.checks import reachability
from meshwalk.checks.reachability.encoding import Formulas, _exact
from meshwalk.guards.evaluate import evaluate
from meshwalk.guards.tree import Expr
from meshwalk.loader import read_graph
from meshwalk.model import Graph, Node, Value
from meshwalk.model.problems import Problem, Span, in_file_order
from meshwalk.model.signals import everywhere, visible
from meshwalk.plan import Plan, examine
from meshwalk.trace import Attempt, Granted, Replied, ScopeView
from meshwalk.walk import Walk
from tests.guards.guard_samples import contexts, trees
from tests.support.walks import began


HEAD = """
meshwalk: 1
name: g
start: a
limits: {hops: 5}
request:
  level: {type: number, range: [0, 10], default: 1}
  many: {type: number}
  task: {type: string, enum: [ask, tell], default: ask}
  team: {type: string}
  flag: {type: bool, default: false}
thresholds: {hot: {value: 0.9, range: [0, 1]}}
backends: {sim: {kind: simulated, context_tokens: 100}}
nodes:
"""
NODE = """\
  a:
    role: answer
    backend: sim
    confidence: {from: recorded, missing: 0}
    next:
"""
NODE_A = Node(name="a", role="answer", span=Span("g.yaml", 1, 1))
FOUND = ("never-taken", "always-holds", "never-reached", "not-proved")


def text_of(*conditions: str, visits: str = "", to: str = "done") -> str:
    """
    Write a graph whose first node asks *conditions* in order.
    """
    rows = "".join(f'      - {{to: {to}, when: "{condition}"}}\n' for condition in conditions)
    node = NODE.replace("    next:\n", f"{visits}    next:\n")

    return f"{HEAD}{node}{rows}      - {{to: z}}\n  z: {{role: refusal, reason: none}}\n"


def findings(text: str) -> list[Problem]:
    graph = read_graph(text.encode(), file="g.yaml")
    plan, problems = examine(graph)

    assert plan is not None, problems

    # The time for one node is short, and a machine under tests is slow.
    return list(in_file_order(reachability.check(graph, trees_of(graph), node_seconds=30, all_seconds=30)))


def said(*conditions: str, code: str = "never-taken") -> list[str]:
    """
    Return the reasons given under *code* for the edges that ask *conditions*.
    """
    return [
        problem.message.rpartition("never taken: ")[2] for problem in findings(text_of(*conditions)) if problem.code == code
    ]


class TestNever:
    def test_place_code_and_sentence(self) -> None:
        """
        The finding is a warning at the guard, with what the proof rests on.
        """
        (problem,) = findings(text_of("request.level > 10"))

        assert ("never-taken", "warning") == (problem.code, problem.severity)
        assert (20, 27, len("request.level > 10")) == problem.span[1:]
        assert "edge a → done is never taken: request.level lies in 0 to 10" == problem.message
        assert "remove it, mend its guard, or put it before the edges that take all of it" == problem.help

    @pytest.mark.parametrize(
        ("condition", "reason"),
        [
            ("output.confidence > 1", "output.confidence lies in 0 to 1"),
            ("thresholds.hot < 0.5 && request.flag", "thresholds.hot is 0.9"),
            ("request.level + 1 > 12", "request.level + 1 lies in 1 to 11"),
            ("request.task.contains('q')", "request.task is one of ask, tell"),
            ("size(request.task) > 4", "request.task is one of ask, tell"),
            ("request.team == 'red' && request.team.startsWith('b')", "its guard contradicts itself"),
            ("!has(request.many) && request.many > 3", "its guard contradicts itself"),
            ("!has(output.confidence)", "its guard contradicts itself"),
            ("elapsed < duration('0s')", "elapsed is never negative"),
            ("elapsed > duration('2s') && elapsed + duration('1s') < duration('3s')", "its guard contradicts itself"),
            ("budget.request.pressure > 1", "budget.request.pressure lies in 0 to 1"),
            ("budget.request.pressure < 0", "budget.request.pressure lies in 0 to 1"),
            ("hop.a.visits > 1", "hop.a.visits lies in 1 to 1"),
            ("hop.a.status != 'ok'", "'a' has just replied"),
            ("request.flag && !request.flag", "its guard contradicts itself"),
        ],
    )
    def test_by_what_is_declared(self, condition: str, reason: str) -> None:
        """
        Ranges, members, thresholds, times and what has just been written each close an edge.
        """
        assert [reason] == said(condition)

    def test_by_the_edges_before(self) -> None:
        """
        What an earlier edge takes is not there for a later one.
        """
        before = "edge a → done comes first and takes request.level > 4"

        assert [before] == said("request.level > 4", "request.level > 5")
        assert [] == said("request.level > 5", "request.level > 4")

    @pytest.mark.parametrize(
        "conditions",
        [
            ("request.many > 4", "!(request.many > 4) && request.many <= 3"),
            ("request.many * request.many < 0",),
            ("request.many + 1 == request.many",),
            ("request.team.startsWith('a') && request.team.endsWith('b')",),
            ("hop.z.visits > 0 || request.level > 9",),
            ("0.1 + 0.2 != 0.3 && request.flag",),
        ],
    )
    def test_what_may_happen_is_left_alone(self, conditions: tuple[str, ...]) -> None:
        """
        An edge that some values open is not reported, and neither is one that only rounding opens.
        """
        assert [] == said(*conditions)

    def test_an_edge_that_may_be_passed_over_takes_nothing_for_sure(self) -> None:
        """
        Where the target's visits may be used up, a later edge can still be taken.
        """
        again = text_of("request.level > 4", "request.level > 5", visits="    visits: 2\n", to="a")

        assert [] == findings(again)

    def test_on_error_after_all_classes(self) -> None:
        """
        An edge for every class is dead behind edges that name them all.
        """
        classes = "rate_limited, overloaded, unreachable, malformed, refused_by_model, too_long, timeout, budget, not_started"
        errors = f"    on_error:\n      - {{to: z, class: [{classes}]}}\n      - {{to: z}}\n"
        (problem,) = findings(text_of("request.flag").replace("  z: {role", f"{errors}  z: {{role"))

        assert ("never-taken", 24, 14) == (problem.code, problem.span.line, problem.span.column)

    def test_pressure_of_a_shared_budget(self) -> None:
        """
        The pressure of each budget lies in 0 to 1, whatever the others' is; what is left of it may be anything.
        """
        asked = "budget.session.pressure > 1 && budget.tenant.pressure > 0"
        text = text_of(asked, "budget.session.left_usd < -5").replace(
            "backends:", "budgets: {session: {calls: 9}, tenant: {calls: 9}}\nbackends:", 1
        )

        assert ["edge a → done is never taken: budget.session.pressure lies in 0 to 1"] == [
            problem.message for problem in findings(text)
        ]


class TestAlways:
    def test_place_code_and_sentence(self) -> None:
        """
        The finding says that the edges after it are dead, and why.
        """
        first, second = findings(text_of("request.level >= 0"))

        assert ("always-holds", "warning", (20, 27, 18)) == (first.code, first.severity, first.span[1:])
        assert first.message == (
            "the guard on edge a → done always holds when it is asked, so the edges after it are never taken: "
            "request.level lies in 0 to 10"
        )
        assert ("never-reached", "no request reaches node 'z': a → z is never taken") == (second.code, second.message)

    def test_with_the_edges_before(self) -> None:
        """
        A guard may hold always because of what was taken before it.
        """
        assert ["edge a → done comes first and takes request.level > 4"] == said(
            "request.level > 4", "request.level <= 4", code="always-holds"
        )

    def test_an_optional_value_keeps_the_door_open(self) -> None:
        """
        No two guards on a value that may be absent take every request.
        """
        assert [] == said("request.many > 4", "request.many <= 4", code="always-holds")
        assert 1 == len(said("has(request.many)", "!has(request.many)", code="always-holds"))


class TestReached:
    def test_nodes_behind_a_node_that_is_not_reached(self) -> None:
        """
        What only an unreached node leads to is unreached too, and says so.
        """
        text = text_of("request.level > 10", to="b").replace(
            "  z:", "  b: {role: answer, backend: sim, next: c}\n  c: %s\n  z:"
        )
        messages = [problem.message for problem in findings(text % "{role: refusal, reason: none}")]

        assert messages[1:] == [
            "no request reaches node 'b': a → b is never taken",
            "no request reaches node 'c': only nodes lead to it that no request reaches themselves",
        ]


class TestUnknown:
    def test_without_z3(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Without the extra one warning says that it is unknown, once for a graph and only where there are guards.
        """
        monkeypatch.setitem(sys.modules, "meshwalk.checks.reachability.encoding", None)
        (problem,) = findings(text_of("request.level > 10", "request.level > 11"))

        assert ("not-proved", "warning") == (problem.code, problem.severity)
        assert "because z3 is not installed" in problem.message
        assert "install the extra: pip install 'meshwalk[lint]'" == problem.help
        assert [] == findings(text_of())

    @pytest.mark.parametrize("seconds", [{"node_seconds": 0.0}, {"all_seconds": 0.0}])
    def test_past_the_time(self, seconds: dict[str, float]) -> None:
        """
        What was not proved in time is said to be unknown, by node.
        """
        graph = read_graph(text_of("request.level > 10").encode(), file="g.yaml")
        (problem,) = reachability.check(graph, trees_of(graph), **seconds)

        assert "not-proved" == problem.code
        assert "whether an edge of 'a' is never taken is unknown, because the proof took too long" == problem.message

    def test_compiling_proves_nothing(self) -> None:
        """
        Only those who ask wait for a proof, and get it as warnings of a plan that is sound.
        """
        graph = read_graph(text_of("request.level > 10").encode(), file="g.yaml")
        plan, problems = examine(graph)
        asked, more = examine(graph, prove=True)

        assert plan is not None
        assert asked is not None
        assert set(problems) < set(more)
        assert {problem.code for problem in set(more) - set(problems)} <= set(FOUND)
        assert set(more) == set(asked.warnings)


def trees_of(graph: Graph) -> dict[tuple[str, int], guards.Checked]:
    common = everywhere(graph)

    return {
        (node.name, position): guards.check(edge.when, visible(graph, node, common))
        for node in graph.nodes.values()
        for position, edge in enumerate(node.next)
        if edge.when is not None
    }


# ---- no walk disproves a finding ------------------------------------------------------------------------------------


def _joined(pattern: str, *inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*inner).map(lambda made: pattern.format(*made))


ORDER = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
NUMBER = st.recursive(
    st.sampled_from(["request.level", "request.many", "thresholds.hot", "output.confidence", "hop.a.visits"])
    | st.sampled_from(["0", "0.1", "0.3", "1", "4", "10", "1e308", "size(request.task)", "size(request.team)"]),
    lambda inner: _joined("({} {} {})", inner, st.sampled_from("+-*"), inner) | _joined("-({})", inner),
    max_leaves=3,
)
TEXT = st.sampled_from(["request.task", "request.team", "hop.a.status"])
WORD = st.sampled_from(["'ask'", "'tell'", "'a'", "'ok'"])
OPEN_TEXT = _joined("(request.team == 'a' ? request.team : 'ask')")
MOMENT = st.sampled_from(["elapsed", "deadline.left", "(elapsed + deadline.left)", "duration('1s')", "duration('29s')"])
CONDITION = st.recursive(
    _joined("{} {} {}", NUMBER, ORDER, NUMBER)
    | _joined("{}.{}({})", OPEN_TEXT | st.just("request.team"), st.sampled_from(["startsWith", "contains"]), st.just("'a'"))
    | _joined("{} {} {}", st.just("request.team"), st.sampled_from(["==", "!="]), WORD)
    | _joined("request.task {} 'ask'", st.sampled_from(["==", "!="]))
    | _joined("{} in [{}, {}]", NUMBER, NUMBER, NUMBER)
    | _joined("{} {} {}", MOMENT, ORDER, MOMENT)
    | st.sampled_from(["request.flag", "has(request.many)", "has(request.team)", "has(output.confidence)", "true"]),
    lambda inner: (
        _joined("({} {} {})", inner, st.sampled_from(["&&", "||"]), inner)
        | _joined("!({})", inner)
        | _joined("({} ? {} : {})", inner, inner, inner)
    ),
    max_leaves=4,
)
CALLER: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "level": st.sampled_from([0.0, 0.1, 0.3, 4.0, 10.0]) | st.floats(0, 10),
        "task": st.sampled_from(["ask", "tell"]),
        "flag": st.booleans(),
    },
    optional={
        "many": st.sampled_from([0.0, 0.1, -4.0, 1.0, 1e308, -1e308]) | st.floats(allow_nan=False, allow_infinity=False),
        "team": st.sampled_from(["", "a", "ask", "ok", "b\U0001f600"]),
    },
)


def taken(plan: Plan, attributes: dict[str, Any], confidence: float, at: int) -> str:
    """
    Let one request reply once, and return the verdicts of the first node's edges.
    """
    walk = Walk(plan)
    walk.feed(began(**attributes))
    walk.feed(Granted(0, 0, (ScopeView("request"),)))
    walk.feed(Replied(0, at, {"confidence": confidence, "output_tokens": 3.0, "finish_reason": "stop"}, (Attempt(0, 0, "ok"),)))

    return walk.decisions[0].verdicts


@pytest.mark.slow
@given(
    conditions=st.lists(CONDITION, min_size=1, max_size=3),
    requests=st.lists(
        st.tuples(CALLER, st.sampled_from([0.0, 0.3, 1.0]) | st.floats(0, 1), st.integers(0, 29_000_000)), max_size=12
    ),
)
@settings(deadline=None)
def test_no_walk_disproves_a_finding(conditions: list[str], requests: list[tuple[dict[str, Any], float, int]]) -> None:
    """
    An edge reported never is not taken, and a guard reported always holds wherever it is asked.
    """
    text = text_of(*conditions)
    plan, problems = examine(read_graph(text.encode(), file="g.yaml"), prove=True)
    assert plan is not None, problems
    first = text.count("\n", 0, text.index("    next:\n")) + 2
    reported = {(problem.span.line - first, problem.code) for problem in problems if problem.code in FOUND}
    for attributes, confidence, at in requests:
        verdicts = taken(plan, attributes, confidence, at)
        for position, verdict in enumerate(verdicts):
            assert not ((position, "never-taken") in reported and verdict == "y"), (conditions[position], attributes)
            assert not ((position, "always-holds") in reported and verdict in "nu"), (conditions[position], attributes)


@pytest.mark.slow
@given(tree=trees(), context=contexts())
@settings(deadline=None)
def test_formulas_allow_what_guards_mean(tree: Expr, context: dict[str, Value | None]) -> None:
    """
    With every signal at some request's value, the formulas allow the verdict that the guard has.
    """
    formulas = Formulas(NODE_A, (), {})
    condition = formulas.condition(tree)
    for slot, value in context.items():
        held = formulas._signals.get(slot)
        if held is not None and value is None:
            formulas.suppose(z3.Not(held.known), slot)
        elif held is not None:
            term = _exact(value) if isinstance(value, float) else formulas._whole(value)
            formulas.suppose(z3.And(held.known, held.term == term), slot)
    formulas.seal()
    verdict = evaluate(tree, context.get)
    undetermined = z3.Not(z3.Or(condition.true, condition.false))
    expected = undetermined if verdict is None else condition.true if verdict else condition.false

    assert formulas.reasons(expected, 20_000) is None


def test_large_graph_keeps_to_its_time() -> None:
    """
    A thousand guarded nodes take no longer than the time for all, and what was left is said.
    """
    rows = []
    for number in range(1000):
        guarded = f"{{to: z, when: signals.depth > {number + 1}}}"
        rows.append(f"  n{number}: {{role: classifier, use: features, next: [{guarded}, {{to: n{number + 1}}}]}}")
    rows += ["  n1000: {role: refusal, reason: a}", "  z: {role: refusal, reason: b}", ""]
    text = HEAD.replace("start: a", "start: n0") + "\n".join(rows)
    graph = read_graph(text.encode(), file="large.yaml")
    problems = reachability.check(graph, trees_of(graph), all_seconds=0.5)

    assert ["not-proved"] == [problem.code for problem in problems]
