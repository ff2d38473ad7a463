"""
What a guard may count on: who has certainly replied, and what settles the matter where nobody has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk import guards
from meshwalk.checks import assignment
from meshwalk.guards.evaluate import evaluate
from meshwalk.guards.tree import Expr, Has, Literal, Logic, Name, Not, names, parts
from meshwalk.loader import read_graph
from meshwalk.model import Edge, Graph, Value
from meshwalk.model.problems import Problem, Span
from meshwalk.model.signals import Kind, everywhere, visible
from meshwalk.plan import Plan, examine
from meshwalk.trace import Attempt, Failed, Granted, Replied, Reserve, ScopeView
from meshwalk.walk import Phase, Walk
from tests.support.instruction_counts import instructions
from tests.support.walks import NO_LIMITS, began


HEAD = """
meshwalk: 1
name: g
start: a
limits: {hops: 12}
request:
  grade: {type: number, range: [0, 1], default: 0.5}
backends:
  sim: {kind: simulated, context_tokens: 100}
nodes:
"""


def examined(nodes: str) -> tuple[Plan | None, tuple[Problem, ...]]:
    return examine(read_graph((HEAD + nodes).encode(), file="g.yaml"))


def found(nodes: str, code: str = "unassigned-signal") -> list[str]:
    """
    Return what is said under *code*; any other fault is the test's own.
    """
    problems = examined(nodes)[1]

    assert {problem.code for problem in problems} <= {"unassigned-signal", "maybe-undetermined"}

    return [problem.message for problem in problems if problem.code == code]


def after_failure(guard: str, confidence: str = "{from: recorded, missing: 0}") -> str:
    """
    Write a graph that comes to 'b' only after 'a' has failed or doubted, and asks *guard* there.
    """
    return f"""
  a:
    role: answer
    backend: sim
    confidence: {confidence}
    next: [{{to: b, when: request.grade > 0.5}}, {{to: done}}]
    on_error: [{{to: b}}]
  b: {{role: answer, backend: sim, next: [{{to: done, when: "{guard}"}}, {{to: c}}]}}
  c: {{role: refusal, reason: none}}
"""


class TestPaths:
    def test_place_code_and_sentence(self) -> None:
        """
        The fault stands at the name that is read, and shows the way on which nobody wrote it.
        """
        (problem,) = examined(after_failure("request.grade < 0.1 || hop.a.confidence > 0.5"))[1]

        assert ("unassigned-signal", "error") == (problem.code, problem.severity)
        assert (18, 83, len("hop.a.confidence")) == problem.span[1:]
        assert problem.message == (
            "on the way a (failed) → b, 'a' has not replied, so 'hop.a.confidence' has no value in the guard on edge b → done"
        )
        assert problem.help == (
            "ask has(hop.a.confidence) && … first, or lead every way here through a reply of 'a'; "
            "its `missing:` stands for a reply without one, not for no reply"
        )

    def test_the_failed_node_has_written_nothing(self) -> None:
        """
        Leaving by `on_error` brings nothing, and leaving by `next` does.
        """
        by_next = "{role: answer, backend: sim, confidence: {from: recorded, missing: 0}, next: b}"
        guarded = "{role: answer, backend: sim, next: [{to: done, when: hop.a.confidence > 0.5}, {to: done}]}"

        assert [] == found(f"  a: {by_next}\n  b: {guarded}\n")
        assert 1 == len(found(f"  a: {by_next[:-1]}, on_error: [{{to: b}}]}}\n  b: {guarded}\n"))

    def test_an_earlier_visit_stays(self) -> None:
        """
        What a first visit wrote is still there where a second one failed, if every way has the first.
        """
        second = """
  a: {role: answer, backend: sim, visits: 2, next: b, on_error: [{to: %s}]}
  b: {role: answer, backend: sim, visits: 2, next: [{to: a, when: request.grade > 0.5}, {to: done}], on_error: [{to: c}]}
  c: {role: answer, backend: sim, next: [{to: done, when: hop.a.output_tokens > 1}, {to: d}]}
  d: {role: refusal, reason: none}
"""

        assert [] == found(second % "d")
        assert ["on the way a (failed) → c"] == [message.partition(",")[0] for message in found(second % "c")]

    def test_a_node_never_visited(self) -> None:
        """
        A node that comes later has not replied, nor has the classifier behind `signals`.
        """
        later = """
  a: {role: answer, backend: sim, next: [{to: done, when: "hop.b.output_tokens > 1 && signals.tokens > 3"}, {to: b}]}
  b: {role: classifier, use: features, next: [{to: c, when: signals.tokens > 3}, {to: c}]}
  c: {role: answer, backend: sim, next: done}
"""
        messages = found(later.replace("hop.b.output_tokens", "hop.c.output_tokens"))

        assert sorted(messages) == [
            "on the way a, 'c' has not replied, so 'hop.c.output_tokens' has no value in the guard on edge a → done",
            "on the way a, no classifier has run, so 'signals.tokens' has no value in the guard on edge a → done",
        ]

    def test_else_is_taken_only_without_the_answer(self) -> None:
        """
        An `else` is no way where the node it asks for has certainly replied.
        """
        graph = """
  a: {role: answer, backend: sim, next: b%s}
  b: {role: answer, backend: sim, next: [{to: done}], on_error: [{to: done, answer: a, else: c}]}
  c: {role: answer, backend: sim, next: [{to: done, when: hop.b.output_tokens > 1}, {to: done}]}
"""

        assert [] == found(graph % "")
        assert 1 == len(found(graph % ", on_error: [{to: b}]"))

    def test_a_graph_with_broken_parts_is_left_alone(self) -> None:
        """
        Where a node was not understood, nobody knows which ways there are.
        """
        problems = examined(after_failure("hop.a.confidence > 0.5") + "  d: 5\n")[1]

        assert "unassigned-signal" not in {problem.code for problem in problems}


class TestSettled:
    @pytest.mark.parametrize(
        "guard",
        [
            "has(hop.a.confidence) && hop.a.confidence > 0.5",
            "hop.a.confidence > 0.5 && has(hop.a.confidence)",
            "has(hop.a.finish_reason) && hop.a.confidence > 0.5",
            "!has(hop.a.confidence) || hop.a.confidence > 0.5",
            "has(hop.a.confidence) ? hop.a.confidence > 0.5 : request.grade > 0.5",
            "hop.a.status == 'ok' && hop.a.confidence > 0.5",
            "hop.a.status in ['none', 'failed'] || hop.a.confidence > 0.5",
            "hop.a.visits > 0 && hop.a.status != 'none'",
            "request.grade > 0.2 && (has(hop.a.confidence) && request.grade > 0.1) && hop.a.confidence > 0.5",
        ],
    )
    def test_in_the_same_guard(self, guard: str) -> None:
        """
        A read is no fault where a missing value cannot touch the verdict.
        """
        assert [] == found(after_failure(guard))

    @pytest.mark.parametrize(
        "guard",
        [
            "hop.a.confidence > 0.5",
            "!(hop.a.confidence > 0.5)",
            "has(hop.a.confidence) || hop.a.confidence > 0.5",
            "hop.a.visits > 0 && hop.a.confidence > 0.5",
            "has(hop.b.finish_reason) && hop.a.confidence > 0.5",
            "hop.a.status != 'ok' && hop.a.confidence > 0.5",
            "request.grade > 0.5 ? hop.a.confidence > 0.5 : false",
        ],
    )
    def test_not_settled(self, guard: str) -> None:
        """
        A read is a fault where some request makes the missing value matter.
        """
        assert 1 == len(found(after_failure(guard)))

    def test_by_the_edge_before(self) -> None:
        """
        Behind an edge that takes every request without the value, it is there.
        """
        graph = after_failure("hop.a.confidence > 0.5")
        first = "{to: c, when: '!has(hop.a.confidence)'}"
        before = graph.replace('[{to: done, when: "hop', f'[{first}, {{to: done, when: "hop')

        assert before != graph
        assert [] == found(before)

    def test_by_an_edge_on_the_way(self) -> None:
        """
        An edge that asks for the value proves it for every node behind it.
        """
        graph = (
            after_failure("has(hop.a.confidence)").replace('{to: done, when: "has', '{to: d, when: "has')
            + "  d: {role: answer, backend: sim, next: [{to: done, when: hop.a.confidence > 0.5}, {to: done}]}\n"
        )

        assert [] == found(graph)


class TestUndetermined:
    def test_missing_settles_it(self) -> None:
        """
        A reply's confidence that may be absent is a warning, unless the node says what stands for it.
        """
        graph = (
            "  a: {role: answer, backend: sim, confidence: %s, next: [{to: done, when: output.confidence > 0.5}, {to: done}]}\n"
        )
        (problem,) = examined(graph % "{from: recorded}")[1]

        assert ("maybe-undetermined", "warning") == (problem.code, problem.severity)
        assert problem.message == (
            "a reply of 'a' may come without 'output.confidence', "
            "and then the guard on edge a → done is undetermined and not taken"
        )
        assert "give node 'a' a confidence with missing:, or ask has(output.confidence) && … first" == problem.help
        assert [] == found(graph % "{from: recorded, missing: 0}", "maybe-undetermined")

    def test_has_settles_it(self) -> None:
        """
        A guard that asks has() first reads nothing absent.
        """
        graph = after_failure("has(hop.a.confidence) && hop.a.confidence > 0.5", "{from: recorded}")

        assert [] == found(graph, "maybe-undetermined")

    def test_a_status_does_not(self) -> None:
        """
        A successful reply may still lack its confidence.
        """
        graph = after_failure("hop.a.status == 'ok' && hop.a.confidence > 0.5", "{from: recorded}")

        assert ([], 1) == (found(graph), len(found(graph, "maybe-undetermined")))


# ---- no walk reads what was not written -----------------------------------------------------------------------------


NODES = ("a", "b", "c", "d", "e")
ATOMS = (
    *("hop.{0}.confidence > 0.5", "has(hop.{0}.confidence)", "hop.{0}.status == 'ok'", "hop.{0}.output_tokens > 3"),
    *("hop.{0}.visits > 1", "request.grade > 0.5", "signals.tokens > 3", "has(signals.tokens)"),
)
ATOM = st.tuples(st.sampled_from(ATOMS), st.sampled_from("acd")).map(lambda made: made[0].format(made[1]))
GUARD = st.recursive(
    ATOM,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda made: f"({made[0]} {made[1]} {made[2]})"),
        inner.map(lambda made: f"!({made})"),
        st.tuples(inner, inner, inner).map(lambda made: f"({made[0]} ? {made[1]} : {made[2]})"),
    ),
    max_leaves=4,
)


@st.composite
def graphs(draw: st.DrawFn) -> str:
    """
    Write a graph in which ways meet, part and now and then lead back.
    """
    rows = []
    cyclic = draw(st.booleans())
    for place, name in enumerate(NODES):
        after = [*NODES[place + 1 :], "z"]
        later = st.sampled_from(after)
        if name == "b":
            rows.append(f"  {name}: {{role: classifier, use: features, next: {after[0]}}}")
            continue
        back = st.sampled_from(NODES) if cyclic else later
        edges = [f'{{to: {draw(back)}, when: "{draw(GUARD)}"}}' for _ in range(draw(st.integers(0, 2)))]
        edges.append(f"{{to: {after[0]}}}")
        fails = f"on_error: [{{to: {'z' if cyclic else draw(later)}}}]"
        kind = "role: answer, backend: sim, visits: 2, confidence: {from: recorded, missing: 0}"
        rows.append(f"  {name}: {{{kind}, next: [{', '.join(edges)}], {fails}}}")

    return "\n".join([*rows, "  z: {role: refusal, reason: none}", ""])


def mended(text: str) -> Plan:
    """
    Compile a graph without the edges that are said to read what was not written.
    """
    graph = read_graph((HEAD + text).encode(), file="g.yaml")
    while True:
        plan, problems = examine(graph)
        wrong = [problem.span for problem in problems if problem.code == "unassigned-signal"]
        if plan is not None:
            return plan

        assert wrong, problems

        nodes = {
            node.name: replace(node, next=tuple(edge for edge in node.next if not any(inside(span, edge) for span in wrong)))
            for node in graph.nodes.values()
        }
        graph = replace(graph, nodes=nodes)


def inside(span: Span, edge: Edge) -> bool:
    at = edge.when_span

    return at is not None and at.line == span.line and at.column <= span.column < at.column + len(edge.when or "")


def walked(plan: Plan, data: st.DataObject) -> Iterator[tuple[Walk, set[str], int]]:
    """
    Walk *plan* with replies and failures at random; yield the walk and who had replied, at each decision made by a reply.
    """
    walk = Walk(plan)
    wishes = walk.feed(began(NO_LIMITS, grade=data.draw(st.sampled_from([0.0, 0.6, 1.0]))))
    written: set[str] = set()
    while walk.phase is not Phase.OVER:
        hop = len(walk.path) - 1
        node = plan.node(walk.path[-1])
        if isinstance(wishes[-1], Reserve):
            walk.feed(Granted(hop, 0, (ScopeView("request"),)))
        attempts = (Attempt(0, 0, "ok"),)
        if node.calls and data.draw(st.integers(0, 2)) == 0:
            wishes = walk.feed(Failed(hop, 0, "overloaded", "", attempts))
            continue
        outputs: dict[str, Value] = {"tokens": data.draw(st.sampled_from([1.0, 9.0]))}
        if node.calls:
            outputs = {"confidence": data.draw(st.sampled_from([0.0, 0.9])), "output_tokens": 5.0, "finish_reason": "stop"}
        written.add(node.name if node.calls else "signals")
        wishes = walk.feed(Replied(hop, 0, outputs, attempts))
        yield walk, set(written), hop


def filled(tree: Expr, value: Value | None, absent: set[str]) -> Expr:
    """
    Put *value* in the place of each absent number that is read; `has` still says that it is absent.
    """
    match tree:
        case Name(signal=signal) if signal.slot in absent and value is not None:
            return Literal(offset=0, length=0, value=value, type=Kind.NUMBER)
        case Not(operand=operand):
            return replace(tree, operand=filled(operand, value, absent))
        case Logic(parts=several):
            return replace(tree, parts=tuple(filled(part, value, absent) for part in several))
        case Has() | Name() | Literal():
            return tree
        case _:
            fields: dict[str, Any] = {
                name: getattr(tree, name) for name in ("test", "then", "other", "left", "right") if hasattr(tree, name)
            }

            assert len(fields) == len(parts(tree))

            changed: dict[str, Any] = {name: filled(part, value, absent) for name, part in fields.items()}
            return replace(tree, **changed)


@pytest.mark.slow
@given(graph=graphs(), data=st.data())
def test_no_walk_reads_what_was_not_written(graph: str, data: st.DataObject) -> None:
    """
    Where no fault was found, no value that nobody has written could have changed a verdict on any walk.
    """
    plan = mended(graph)
    for walk, written, hop in walked(plan, data):
        decision = next((decision for decision in walk.decisions if decision.hop == hop), None)
        edges = plan.node(walk.path[hop]).next
        looked = 0 if decision is None else len(decision.verdicts.rstrip("-"))
        for edge in edges[:looked]:
            if edge.checked is None:
                continue
            slots = {name.signal.slot for name in names(edge.checked.tree)}
            absent = {slot for slot in slots if writer(slot) not in {*written, ""}}
            seen = {slot: walk.value(slot) for slot in slots}

            assert {None} >= {seen[slot] for slot in absent}

            verdicts = {evaluate(filled(edge.checked.tree, value, absent), seen.get) for value in (None, 0.0, 0.7, 100.0)}

            assert 1 == len(verdicts), (edge.edge.when, absent)


def writer(slot: str) -> str:
    head, _, rest = slot.partition(".")
    if head == "signals":
        return "signals"

    return rest.partition(".")[0] if head == "hop" and not slot.endswith((".visits", ".status")) else ""


def large(nodes: int) -> Graph:
    """
    Read a graph of so many nodes, with five edges each, all guarded by what came before.
    """
    rows = []
    for number in range(nodes):
        guarded = [(min(number + step, nodes), max(number - step, 0)) for step in (1, 2, 3, 4)]
        edges = [f"{{to: n{to}, when: 'hop.n{of}.confidence > 0.5'}}" for to, of in guarded]
        rest = f"next: [{', '.join(edges)}, {{to: n{number + 1}}}]"
        rows.append(f"  n{number}: {{role: answer, backend: sim, confidence: {{from: recorded, missing: 0}}, {rest}}}")
    text = HEAD.replace("start: a", "start: n0") + "\n".join([*rows, f"  n{nodes}: {{role: refusal, reason: none}}", ""])

    return read_graph(text.encode(), file="large.yaml")


def test_work_grows_with_the_graph() -> None:
    """
    Four times the nodes and edges are checked with little more than four times the work.
    """

    def work(nodes: int) -> int:
        graph = large(nodes)
        trees = _trees(graph)

        return instructions(lambda: assignment.check(graph, trees))

    assert work(200) < 6 * work(50)


@pytest.mark.slow
def test_large_graph_is_checked() -> None:
    """
    A thousand nodes and five thousand edges are checked to the end.
    """
    graph = large(1000)
    problems = assignment.check(graph, _trees(graph))

    assert {"unassigned-signal"} == {problem.code for problem in problems}


def _trees(graph: Graph) -> dict[tuple[str, int], guards.Checked]:
    common = everywhere(graph)

    return {
        (node.name, position): guards.check(edge.when, visible(graph, node, common))
        for node in graph.nodes.values()
        for position, edge in enumerate(node.next)
        if edge.when is not None
    }
