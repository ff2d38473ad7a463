"""
Runs of guards: what is looked up is what trying one by one would have found, verdict by verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.guards import Run, check, compile_test, runs
from meshwalk.model import Value
from meshwalk.plan import DONE_INDEX, EdgePlan, NodePlan
from tests.guards.guard_samples import OPEN, SLOTS
from tests.support.plans import plan_of


NODE = plan_of(
    """
    meshwalk: 1
    name: one
    start: ask
    backends: {little: {kind: simulated}}
    nodes: {ask: {role: answer, backend: little, max_tokens: 5, next: done}}
    """
).nodes[0]


def run_of(*texts: str) -> tuple[Run, ...]:
    return runs([check(text, OPEN).tree if text else None for text in texts], SLOTS)


def node_of(texts: Sequence[str], targets: Sequence[int]) -> NodePlan:
    """
    Make a node of guards; the last edge has none.
    """
    trees = [check(text, OPEN).tree for text in texts]
    tests = [compile_test(tree, SLOTS) for tree in trees]
    edges = tuple(EdgePlan(to=to, edge=NODE.next[0].edge, test=test) for to, test in zip(targets, [*tests, None], strict=True))

    return replace(NODE, next=edges, runs=runs([*trees, None], SLOTS))


def tried(node: NodePlan, values: Sequence[Value | None], spent: Callable[[int], bool]) -> tuple[int, str]:
    """
    Find the edge as slowly and as plainly as it can be said.
    """
    verdicts = ""
    for position, edge in enumerate(node.next):
        verdict = True if edge.test is None else edge.test(values)
        if verdict and not spent(edge.to):
            return position, verdicts + "y"
        verdicts += {True: "s", False: "n", None: "u"}[verdict]

    return -1, verdicts


# Few fields and few values, so that runs are long, values repeat, and some guard holds.
_EQUALITIES = st.one_of(
    st.sampled_from(["a", "b", "c", ""]).map(lambda text: f"request.team == '{text}'"),
    st.sampled_from(["a", "b"]).map(lambda text: f"'{text}' == request.team"),
    st.sampled_from(["0", "-0.0", "1", "1.0", "-1", "0.8", "thresholds.confident"]).map(
        lambda text: f"signals.depth == {text}"
    ),
    st.sampled_from(["true", "false"]).map(lambda text: f"hop.small.agree == {text}"),
    st.sampled_from(["0s", "1s", "1000ms"]).map(lambda text: f"elapsed == duration('{text}')"),
)
_OTHERS = st.sampled_from(
    ["request.team != 'a'", "signals.depth > 0.5", "hop.small.agree", "request.team == 'a' && elapsed == duration('1s')"]
)
_TEXTS = st.lists(st.lists(_EQUALITIES, min_size=1, max_size=12), max_size=3).map(
    lambda lists: [one for each in lists for one in each]
)
_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "request.team": st.sampled_from([None, "a", "b", "c", "", "d"]),
    "signals.depth": st.sampled_from([None, 0.0, -0.0, 1.0, -1.0, 0.8, 2.0]),
    "hop.small.agree": st.sampled_from([None, True, False]),
    "elapsed": st.sampled_from([0, 1_000_000, 2_000_000]),
}


@st.composite
def nodes(draw: st.DrawFn) -> NodePlan:
    texts = draw(_TEXTS)
    for other in draw(st.lists(_OTHERS, max_size=2)):
        texts.insert(draw(st.integers(0, len(texts))), other)
    if draw(st.booleans()):
        # What is mostly of one field is what is looked up.
        texts.sort(key=lambda text: text.split()[0])

    return node_of(texts, draw(st.lists(st.integers(DONE_INDEX, 4), min_size=len(texts) + 1, max_size=len(texts) + 1)))


@settings(max_examples=500, deadline=None)
@given(node=nodes(), given_values=st.fixed_dictionaries(dict(_VALUES)), used_up=st.frozensets(st.integers(0, 4)))
def test_looking_up_finds_what_trying_finds(
    node: NodePlan, given_values: Mapping[str, Value | None], used_up: frozenset[int]
) -> None:
    """
    Whatever the guards, the values and the spent nodes are, the edge and the verdicts up to it are those of the slow loop.
    """
    values: list[Value | None] = [None] * len(SLOTS)
    for name, value in given_values.items():
        values[SLOTS[name]] = value

    assert tried(node, values, used_up.__contains__) == node.choose(values, used_up.__contains__)


class TestRuns:
    def test_equalities_of_one_field_are_one_table(self) -> None:
        """
        Guards on one field in a row are looked up; what stands before and after them is tried.
        """
        texts = [f"request.team == '{letter}'" for letter in "abca"]

        assert (
            Run(0, 1),
            Run(1, 5, SLOTS["request.team"], {"a": (1, 4), "b": (2,), "c": (3,)}),
            Run(5, 7),
        ) == run_of("request.urgent", *texts, "request.size > 1", "")

    def test_either_side_may_be_the_field(self) -> None:
        """
        A literal, a negative number and a threshold are what a field may be equal to, on either side.
        """
        slot = SLOTS["signals.depth"]
        texts = ("signals.depth == 1", "-1 == signals.depth", "thresholds.confident == signals.depth", "signals.depth == 0")

        assert (Run(0, 4, slot, {1: (0,), -1: (1,), 0.8: (2,), 0: (3,)}),) == run_of(*texts)

    @pytest.mark.parametrize(
        "texts",
        [
            ("request.team == 'a'", "request.team == 'b'", "request.team == 'c'"),
            ("request.team == 'a'", "request.task == 'b'") * 4,
            ("request.team != 'a'",) * 5,
            ("request.team == request.task",) * 5,
            ("thresholds.confident == 1",) * 5,
            ("signals.depth + 1 == 2",) * 5,
            (),
        ],
    )
    def test_other_guards_are_tried(self, texts: tuple[str, ...]) -> None:
        """
        A few guards, two fields by turns, and what is no equality of a field with a constant have no table.
        """
        assert () == run_of(*texts, "")


def test_thousand_tests_are_not_run() -> None:
    """
    Where the table answers, no guard is asked.
    """

    def never(_: Sequence[Value | None]) -> bool:
        raise AssertionError("a guard was tried")

    texts = [f"request.team == 't{number}'" for number in range(1_000)]
    node = node_of(texts, [DONE_INDEX] * 1_001)
    node = replace(node, next=tuple(replace(edge, test=edge.test and never) for edge in node.next))
    values: list[Value | None] = [None] * len(SLOTS)
    found = []
    for team in ("t0", "t999", "another", None):
        values[SLOTS["request.team"]] = team
        found.append(node.choose(values, lambda _: False))

    assert [(0, "y"), (999, "n" * 999 + "y"), (1_000, "n" * 1_000 + "y"), (1_000, "u" * 1_000 + "y")] == found
