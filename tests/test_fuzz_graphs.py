"""
Whatever stands in a graph's file, reading and examining it ends with problems, never with a crash.

Sound graphs are spoilt the way hands spoil them: keys dropped, doubled and swapped, values replaced by odd ones, whole parts
moved to where they do not belong.  What is left is nearly a graph, so it comes past the loader to every check behind it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.loader import read_graph
from meshwalk.loader.yaml.document import plain, read_document
from meshwalk.model.problems import GraphError, Problem, render
from meshwalk.plan import Plan, examine
from tests.support.files import ROOT, shipped


SOUND = [*shipped(ROOT / "graphs"), *shipped(ROOT / "tests" / "graphs" / "good")]
TEXTS = [path.read_bytes() for path in SOUND]
TREES = [plain(read_document(text, "g.yaml").root) for text in TEXTS]


class Pair:
    """
    Hold a key with its value; a table is a list of these, so that a key can stand in it twice.
    """

    def __init__(self, key: str, value: Any) -> None:
        self.key = key
        self.value = value


class Site(NamedTuple):
    """
    Point at one value: the list or the pair that holds it, and where.
    """

    holder: Any
    position: int

    @property
    def value(self) -> Any:
        return self.holder.value if isinstance(self.holder, Pair) else self.holder[self.position]

    def put(self, value: Any) -> None:
        if isinstance(self.holder, Pair):
            self.holder.value = value
        else:
            self.holder[self.position] = value


def loose(value: Any) -> Any:
    if isinstance(value, dict):
        return [Pair(key, loose(inner)) for key, inner in value.items()]

    return [loose(inner) for inner in value] if isinstance(value, list) else value


def is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Pair) for item in value)


def text_of(value: Any) -> str:
    """
    Write *value* as YAML in flow style.
    """
    if is_table(value):
        return "{" + ", ".join(f"{json.dumps(pair.key)}: {text_of(pair.value)}" for pair in value) + "}"
    if isinstance(value, Pair):
        return text_of([value])
    if isinstance(value, list):
        return "[" + ", ".join(text_of(item) for item in value) + "]"

    return json.dumps(value).replace("NaN", ".nan").replace("Infinity", ".inf")


def sites(value: Any) -> Iterator[Site]:
    """
    List where values stand in *value*, at any depth.
    """
    if not isinstance(value, list):
        return
    for position, item in enumerate(value):
        site = Site(item if isinstance(item, Pair) else value, position)
        yield site
        yield from sites(site.value)


def tables(value: Any) -> list[list[Pair]]:
    return [part for part in (value, *(site.value for site in sites(value))) if is_table(part)]


# ---- slips ----------------------------------------------------------------------------------------------------------


def drop(graph: Any, one: int, other: int) -> None:
    table = _nth(tables(graph), one)
    del table[other % len(table)]


def double(graph: Any, one: int, other: int) -> None:
    table = _nth(tables(graph), one)
    table.append(_copied(table[other % len(table)]))


def move(graph: Any, one: int, other: int) -> None:
    taken = _nth(tables(graph), one)
    pair = taken.pop(other % len(taken))
    _nth(tables(graph) or [taken], other).append(pair)


def swap_keys(graph: Any, one: int, other: int) -> None:
    pairs = [pair for table in tables(graph) for pair in table]
    first, second = _nth(pairs, one), _nth(pairs, other)
    first.key, second.key = second.key, first.key


def splice(graph: Any, one: int, other: int) -> None:
    # A copy, for a part that stood inside itself would have no end.
    _nth(list(sites(graph)), one).put(_copied(_nth(list(sites(graph)), other).value))


def _copied(value: Any) -> Any:
    if isinstance(value, Pair):
        return Pair(value.key, _copied(value.value))

    return [_copied(item) for item in value] if isinstance(value, list) else value


def _nth(those: list[Any], number: int) -> Any:
    return those[number % len(those)]


NUMBERS = st.integers(0, 10_000)
SLIPS = st.tuples(st.sampled_from([drop, double, move, swap_keys, splice]), NUMBERS, NUMBERS)
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(
            None,
            True,
            False,
            0,
            1,
            -1,
            2,
            0.5,
            1e-10,
            10**30,
            float("nan"),
            float("inf"),
            "",
            " ",
            "\t",
            "\x00",
            "\x7f",
            "\u2028",
        ),
        *(
            "done",
            "intake",
            "screen",
            "large",
            "0s",
            "1us",
            "168h",
            "4",
            "yes",
            "~",
            "é🙂",
            "a" * 5000,
            "{{",
            "{{ prompt }}",
            "${",
        ),
        *(
            "true",
            "!true",
            "1",
            "(",
            "((((" * 20,
            "has(output.confidence)",
            "output.confidence > 0.5 || elapsed > duration('1s')",
        ),
        *("hop.large.confidence < thresholds.confident", "signals.depth in [1, 2]", "request.urgency == 'batch' ? 1 : 'x'"),
        *(
            "budget.request.left_usd * 1e308 * 1e308 > 0",
            "budget.session.pressure > 0",
            "session",
            "tenant",
            "local",
            9e15,
            "'a' + 'b'",
            "[][0]",
            "(a+)+$",
            "(?P<a>",
            "timeout",
            [],
            [[]],
            [None],
        ),
    ]
)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """
    Take a sound graph, and make up to four slips in it.
    """
    graph = loose(draw(st.sampled_from(TREES)))
    for slip, one, other in draw(st.lists(SLIPS, max_size=3)):
        if len(tables(graph)) > 1:
            slip(graph, one, other)
    for number, value in draw(st.lists(st.tuples(NUMBERS, ODD), max_size=3)):
        places = list(sites(graph))
        if places:
            _nth(places, number).put(_copied(value))

    return text_of(graph).encode(errors="replace")


MARKS = st.text(alphabet=st.sampled_from("ab01:-?,[]{}#&*!|>'\"%@` \n\t.~<$\r\u2028é🙂"), max_size=12)


@st.composite
def overwritten(draw: st.DrawFn) -> bytes:
    """
    Take the text of a sound graph, and write over a piece of it.
    """
    text = draw(st.sampled_from(TEXTS)).decode()
    start, length = draw(st.integers(0, len(text))), draw(st.integers(0, 40))

    return (text[:start] + draw(MARKS) + text[start + length :]).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """
    Take the bytes of a sound graph, and put other bytes among them.
    """
    text = draw(st.sampled_from(TEXTS))
    start = draw(st.integers(0, len(text)))

    return text[:start] + draw(st.binary(max_size=6)) + text[start + draw(st.integers(0, 6)) :]


def answered(text: bytes) -> tuple[Plan | None, tuple[Problem, ...]]:
    """
    Read and examine *text*; it must be refused, or give a plan.
    """
    try:
        plan, problems = examine(read_graph(text, file="g.yaml", hashes={}))
    except GraphError as error:
        plan, problems = None, error.problems
    assert (plan is None) == any(problem.severity == "error" for problem in problems)

    return plan, problems


def check(text: bytes) -> None:
    _, problems = answered(text)
    lines = {"g.yaml": text.decode(errors="replace").split("\n")}
    for problem in problems:
        assert min(problem.span[1:]) >= 1
        assert render(problem, lines)


# ---- tests ----------------------------------------------------------------------------------------------------------


class TestFuzz:
    @pytest.mark.parametrize("tree", TREES, ids=[path.stem for path in SOUND])
    def test_no_slip_is_no_fault(self, tree: Any) -> None:
        """
        A sound graph that was taken apart and put together again still gives a plan, so slips start from something sound.
        """
        assert answered(text_of(loose(tree)).encode())[0] is not None

    @pytest.mark.slow
    @given(spoilt())
    @settings(max_examples=1000, deadline=None)
    def test_any_slips_in_the_parts_are_answered(self, text: bytes) -> None:
        """
        A graph with keys lost, doubled, moved and swapped, or with odd values, gives problems or a plan.
        """
        check(text)

    @given(overwritten())
    @settings(max_examples=400, deadline=None)
    def test_any_slip_of_the_pen_is_answered(self, text: bytes) -> None:
        """
        A graph with a piece of its text written over gives problems or a plan.
        """
        check(text)

    @given(damaged())
    @settings(max_examples=300, deadline=None)
    def test_any_damage_is_answered(self, text: bytes) -> None:
        """
        A graph with foreign bytes in it gives problems or a plan.
        """
        check(text)

    @given(st.binary(max_size=100) | st.text(max_size=100).map(lambda text: text.encode(errors="replace")))
    @settings(max_examples=300, deadline=None)
    def test_what_is_no_graph_at_all_is_refused(self, text: bytes) -> None:
        """
        Any bytes and any text are refused.
        """
        assert answered(text)[0] is None
