"""
What the shape of a graph allows; the faults' places and sentences are pinned by the corpus of bad graphs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.checks.topology import check
from meshwalk.loader import read_graph
from meshwalk.model import DONE, Edge, Graph, Node, Role
from meshwalk.model.problems import Problem, Span
from tests.support.instruction_counts import instructions


SPAN = Span("g.yaml", 1, 1)
NAMES = ("a", "b", "c", "d", "e")


def edges(targets: Sequence[str], line: int) -> tuple[Edge, ...]:
    return tuple(Edge(to, SPAN, Span("g.yaml", line, column)) for column, to in enumerate(targets, 1))


def graph_of(
    following: Mapping[str, Sequence[str]],
    handling: Mapping[str, Sequence[str]] | None = None,
    *,
    roles: Mapping[str, Role] | None = None,
    visits: Mapping[str, int] | None = None,
) -> Graph:
    """
    Build a graph of answers, starting at the first, from the targets of each node's edges.
    """
    nodes = {
        name: Node(
            name=name,
            role=(roles or {}).get(name, "answer"),
            span=SPAN,
            next=edges(targets, 2 * row),
            on_error=edges((handling or {}).get(name, ()), 2 * row + 1),
            visits=(visits or {}).get(name, 1),
        )
        for row, (name, targets) in enumerate(following.items(), 1)
    }
    start = next(iter(nodes))

    return Graph(
        name="g", file="g.yaml", span=SPAN, start=start, start_span=SPAN, nodes=nodes, backends={}, attributes={}, thresholds={}
    )


def codes(graph: Graph) -> list[str]:
    return [problem.code for problem in check(graph)]


def said(graph: Graph, code: str) -> list[str]:
    return [problem.message for problem in check(graph) if problem.code == code]


class TestNames:
    def test_sound_graph(self) -> None:
        """
        A graph whose names lead somewhere has no fault.
        """
        assert [] == check(graph_of({"a": ["b", DONE], "b": [DONE]}))

    def test_suggestion(self) -> None:
        """
        An unknown name comes with the one that was likely meant.
        """
        problems = check(graph_of({"first": ["secnd"], "second": [DONE]}))

        assert [("unknown-node", "did you mean 'second'?")] == [(problem.code, problem.help) for problem in problems]

    def test_unknown_name_without_a_near_one(self) -> None:
        """
        Where no name is near, the few there are get listed.
        """
        assert ["there are: a, done"] == [problem.help for problem in check(graph_of({"a": ["qqq", DONE]}))]

    def test_start_may_be_a_refusal(self) -> None:
        """
        A graph that refuses everything is a graph.
        """
        assert [] == check(graph_of({"a": []}, roles={"a": "refusal"}))

    def test_broken_names_are_known(self) -> None:
        """
        A node whose own text is at fault is not also unknown, and what it may have led to is not unreachable.
        """
        graph = read_graph(
            b"meshwalk: 1\nname: g\nstart: a\nbackends: {s: {kind: simulated}}\nnodes:\n"
            b"  a: {role: answer, backend: s, next: b}\n  b: 5\n  c: {role: refusal, reason: only b led here}\n",
            file="g.yaml",
        )

        assert ["wrong-type"] == [problem.code for problem in graph.problems]
        assert [] == check(graph)

    def test_a_node_named_done_calls_its_backend(self) -> None:
        """
        A node that may not have its name is a fault, and what it leads to and calls is not complained about.
        """
        graph = read_graph(
            b"meshwalk: 1\nname: g\nstart: a\nbackends: {big: {kind: simulated}, cheap: {kind: simulated}}\n"
            b"nodes:\n  a: {role: primary, backend: big, next: done}\n  done: {role: answer, backend: cheap, next: a}\n",
            file="g.yaml",
        )

        assert ["reserved-name"] == [problem.code for problem in (*graph.problems, *check(graph))]

    def test_unreachable_node_is_found_beside_a_misspelt_edge(self) -> None:
        """
        A misspelt name leads where it was meant to, so that only what is truly cut off is unreachable.
        """
        graph = graph_of({"first": ["secnd"], "second": [DONE], "lost": [DONE]})

        assert ["node 'lost' cannot be reached from start 'first'"] == said(graph, "unreachable-node")


class TestCycles:
    def test_error_cycle_is_shown(self) -> None:
        """
        An `on_error` edge on a cycle is refused, and the way round is said.
        """
        graph = graph_of({"a": [DONE], "b": ["c", DONE], "c": [DONE]}, {"a": ["b"], "c": ["a"]})

        assert [
            "this on_error edge of 'a' lies on a cycle: a → b → c → a",
            "this on_error edge of 'c' lies on a cycle: c → a → b → c",
        ] == said(graph, "error-cycle")

    def test_visits_do_not_allow_error_cycles(self) -> None:
        """
        No number of visits makes a fallback loop lawful.
        """
        graph = graph_of({"a": [DONE], "b": [DONE]}, {"a": ["b"], "b": ["a"]}, visits={"a": 5, "b": 5})

        assert ["error-cycle", "error-cycle"] == [code for code in codes(graph) if code.endswith("cycle")]

    def test_error_edge_beside_a_cycle(self) -> None:
        """
        An `on_error` edge that leads out of a cycle, or into one, lies on none.
        """
        graph = graph_of({"x": ["a"], "a": ["b", DONE], "b": ["a"], "c": [DONE]}, {"x": ["a"], "a": ["c"]}, visits={"a": 2})

        assert [] == [code for code in codes(graph) if code.endswith("cycle")]

    def test_else_counts_as_a_way(self) -> None:
        """
        An `else` that leads back closes a cycle too.
        """
        graph = graph_of({"a": ["b"], "b": [DONE]}, {"b": [DONE]})
        edge = Edge(DONE, SPAN, SPAN, answer="a", answer_span=SPAN, otherwise="a", otherwise_span=Span("g.yaml", 9, 9))
        node = graph.nodes["b"]
        closed = Node(name="b", role="answer", span=SPAN, next=node.next, on_error=(edge,))
        graph = Graph(
            **{
                name: getattr(graph, name) for name in ("name", "file", "span", "start", "start_span", "backends", "attributes")
            },
            thresholds={},
            nodes={"a": graph.nodes["a"], "b": closed},
        )

        assert [("error-cycle", 9, 9)] == [(problem.code, *problem.span[1:3]) for problem in check(graph)]

    def test_next_cycle_needs_visits(self) -> None:
        """
        A cycle of `next` edges is shown where it closes, unless a node on it may be visited again.
        """
        ways = {"a": ["b"], "b": ["c", DONE], "c": ["a", DONE]}

        assert ["'a' lies on a cycle without a bound: a → b → c → a"] == said(graph_of(ways), "unbounded-cycle")
        assert [] == said(graph_of(ways, visits={"b": 2}), "unbounded-cycle")

    def test_each_cycle_needs_its_own(self) -> None:
        """
        Visits on one cycle do not bound another that shares a node with it.
        """
        ways = {"a": ["b", "c", DONE], "b": ["a"], "c": ["a"]}

        assert ["'a' lies on a cycle without a bound: a → c → a"] == said(graph_of(ways, visits={"b": 2}), "unbounded-cycle")

    def test_node_that_leads_to_itself(self) -> None:
        """
        The shortest cycle is a node and its own edge.
        """
        assert ["'a' lies on a cycle without a bound: a → a"] == said(graph_of({"a": ["a", DONE]}), "unbounded-cycle")


class TestAnswers:
    def test_done_needs_an_answer_on_every_way(self) -> None:
        """
        Where one way to `done` has no answer, that way is shown.
        """
        roles: Mapping[str, Role] = {"a": "classifier", "c": "classifier"}
        graph = graph_of({"a": ["b", "c"], "b": ["c"], "c": [DONE]}, roles=roles)

        assert ["on the way a → c → done, no answer or primary node has replied"] == said(graph, "no-answer")

    def test_failed_call_answers_nothing(self) -> None:
        """
        A node that is left by an error has not replied, whatever it did on an earlier visit.
        """
        assert ["on the way a → done, no answer or primary node has replied"] == said(
            graph_of({"a": [DONE]}, {"a": [DONE]}), "no-answer"
        )

    def test_earlier_answer_is_there_after_an_error(self) -> None:
        """
        What was answered before the failed call can be served.
        """
        assert [] == codes(graph_of({"a": ["b"], "b": [DONE]}, {"b": [DONE]}))

    def test_prescreen_is_no_answer(self) -> None:
        """
        A prescreen's text is served only where an edge says so.
        """
        assert ["no-answer"] == codes(graph_of({"a": [DONE]}, roles={"a": "prescreen"}))

    def test_answer_on_a_cycle(self) -> None:
        """
        What is answered on a cycle counts only for who has been round.
        """
        roles: Mapping[str, Role] = {"a": "classifier"}
        graph = graph_of({"a": ["b", DONE], "b": ["a"]}, roles=roles, visits={"a": 3, "b": 3})

        assert ["on the way a → done, no answer or primary node has replied"] == said(graph, "no-answer")

    @given(
        st.fixed_dictionaries(
            {
                name: st.tuples(
                    st.sampled_from(["answer", "classifier", "primary", "prescreen"]),
                    st.lists(st.sampled_from([*NAMES, DONE]), min_size=1, max_size=3, unique=True),
                )
                for name in NAMES
            }
        )
    )
    def test_proof_agrees_with_walking_every_way(self, ways: Mapping[str, tuple[Role, list[str]]]) -> None:
        """
        An edge to `done` is at fault exactly if some way there, walked step by step, has met no answer.
        """
        graph = graph_of({name: to for name, (_, to) in ways.items()}, roles={name: role for name, (role, _) in ways.items()})
        unanswered = {graph.start}
        waiting = [graph.start]
        while waiting:
            name = waiting.pop()
            found = set() if ways[name][0] in {"answer", "primary"} else {to for to in ways[name][1] if to != DONE}
            waiting += found - unanswered
            unanswered |= found
        rows = {name: row for row, name in enumerate(ways, 1)}
        expected = {
            2 * rows[name] for name in unanswered if DONE in ways[name][1] and ways[name][0] not in {"answer", "primary"}
        }

        assert expected == {problem.span.line for problem in check(graph) if problem.code == "no-answer"}


class TestLaws:
    @given(
        st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from([*NAMES, DONE]), max_size=3, unique=True), min_size=1),
        st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=2, unique=True)),
        st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3)),
    )
    def test_cycles_agree_with_listing_them_all(
        self, following: dict[str, list[str]], handling: dict[str, list[str]], visits: dict[str, int]
    ) -> None:
        """
        On small graphs, where cycles can be listed, components find a fault exactly where there is a bad cycle.
        """
        following = {name: [to for to in targets if to in following or to == DONE] for name, targets in following.items()}
        handling = {name: [to for to in targets if to in following] for name, targets in handling.items() if name in following}
        found = codes(graph_of(following, handling, visits=visits))

        assert any(_bad_errors(following, handling)) == ("error-cycle" in found)
        assert any(_bad_next(following, visits)) == ("unbounded-cycle" in found)


def _cycles(ways: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    yield from nx.simple_cycles(nx.DiGraph([(name, to) for name, targets in ways.items() for to in targets]))


def _bad_errors(following: Mapping[str, list[str]], handling: Mapping[str, list[str]]) -> Iterator[bool]:
    for cycle in _cycles({name: [*following[name], *handling.get(name, ())] for name in following}):
        yield any(to in handling.get(name, ()) for name, to in pairwise([*cycle, cycle[0]]))


def _bad_next(following: Mapping[str, list[str]], visits: Mapping[str, int]) -> Iterator[bool]:
    for cycle in _cycles(following):
        yield all(visits.get(name, 1) == 1 for name in cycle)


class TestScale:
    def ring(self, nodes: int, back: int) -> Graph:
        """
        Make so many nodes with five edges each, of which the last *back* lead to the start again.
        """
        names = [f"n{number}" for number in range(nodes)]

        return graph_of(
            {
                name: [names[(number + step) % nodes] if number + step < nodes + back else DONE for step in range(1, 6)]
                for number, name in enumerate(names)
            }
        )

    @pytest.mark.parametrize("back", [False, True], ids=["acyclic", "cyclic"])
    def test_work_grows_with_the_graph(self, back: bool) -> None:
        """
        Four times the nodes and edges are checked with little more than four times the work.
        """

        def work(nodes: int) -> int:
            graph = self.ring(nodes, 2 * nodes // 5 if back else 0)

            return instructions(lambda: check(graph))

        assert work(800) < 6 * work(200)

    @pytest.mark.parametrize("back", [0, 400], ids=["acyclic", "cyclic"])
    def test_a_thousand_nodes(self, back: int) -> None:
        """
        A thousand nodes with five thousand edges are checked to the end, also where they hold more cycles than can be listed.
        """
        problems: list[Problem] = check(self.ring(1000, back))

        assert (back > 0) == any(problem.code == "unbounded-cycle" for problem in problems)


@pytest.mark.process
@pytest.mark.parametrize(("visits", "needed"), [("", False), (", visits: 2", True)], ids=["without cycles", "with one"])
def test_library_is_for_graphs_with_something_to_find_out(tmp_path: Path, visits: str, needed: bool) -> None:
    """
    A graph without cycles is checked without the library of graph algorithms, which takes long to import.
    """
    back = "ask" if visits else "done"
    graph = tmp_path / "graph.yaml"
    graph.write_text(
        "meshwalk: 1\nname: g\nstart: ask\nbackends: {b: {kind: simulated}}\nnodes:\n"
        f'  ask: {{role: answer, backend: b{visits}, next: [{{to: done, when: "output.output_tokens > 1"}}, {{to: more}}]}}\n'
        f"  more: {{role: answer, backend: b, next: {back}}}\n"
    )
    script = f"import sys, meshwalk; meshwalk.load({str(graph)!r}); print('networkx' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert f"{needed}\n" == said.stdout
