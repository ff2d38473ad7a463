"""
An explanation names the condition that decided, its values and how far it was from flipping.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.guards import Expr, check, evaluate
from meshwalk.guards.explain import Explanation, explain, rounded
from meshwalk.model import Value
from tests.guards.guard_samples import OPEN, VISIBLE, contexts, trees


def _explain(text: str, **known: Value) -> Explanation:
    slots = {slot.replace("__", "."): value for slot, value in known.items()}

    return explain(check(text, VISIBLE).tree, slots.get)


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        (
            "output.confidence >= thresholds.confident",
            {"hop__small__confidence": 0.31},
            "output.confidence >= thresholds.confident: not held (0.31 < 0.8)",
        ),
        (
            "output.confidence >= thresholds.confident",
            {"hop__small__confidence": 0.9},
            "output.confidence >= thresholds.confident: held (0.9 >= 0.8)",
        ),
        (
            "output.confidence >= thresholds.confident",
            {},
            "output.confidence >= thresholds.confident: undetermined (output.confidence has no value)",
        ),
        (
            "signals.tokens > signals.depth",
            {},
            "signals.tokens > signals.depth: undetermined (signals.depth and signals.tokens have no value)",
        ),
        (
            "request.team == 'a'",
            {"request__team": "b"},
            "request.team == 'a': not held ('b' != 'a')",
        ),
        (
            "request.team in ['a']",
            {"request__team": "b"},
            "request.team in ['a']: not held ('b' not in ['a'])",
        ),
        (
            "request.team in ['a']",
            {"request__team": "a"},
            "request.team in ['a']: held ('a' in ['a'])",
        ),
        ("request.team.contains('a')", {"request__team": "bc"}, "request.team.contains('a'): not held (request.team is 'bc')"),
        ("elapsed > duration('4s')", {"elapsed": 250_000}, "elapsed > duration('4s'): not held (0.25s <= 4s)"),
        ("request.urgent", {"request__urgent": False}, "request.urgent: not held"),
        ("!request.urgent", {"request__urgent": False}, "!request.urgent: held"),
        ("!(request.size > 1)", {"request__size": 3.0}, "!(request.size > 1): not held (3 > 1)"),
        ("has(output.confidence)", {}, "has(output.confidence): not held (output.confidence has no value)"),
        ("has(output.confidence)", {"hop__small__confidence": 0.5}, "has(output.confidence): held (output.confidence is 0.5)"),
        ("true", {}, "true: held"),
    ],
)
def test_text(text: str, known: dict[str, Value], expected: str) -> None:
    """
    The text says the leaf, its verdict, and what its names stood for.
    """
    assert expected == str(_explain(text, **known))


@pytest.mark.parametrize(
    ("text", "known", "leaf"),
    [
        ("request.size > 1 && request.size > 2", {"request__size": 0.0}, "request.size > 2"),
        ("request.size > 1 && request.size > 2", {"request__size": 1.5}, "request.size > 2"),
        ("request.size > 1 && request.size > 2", {"request__size": 3.0}, "request.size > 2"),
        ("request.size > 1 || request.size > 2", {"request__size": 3.0}, "request.size > 1"),
        ("request.size > 1 || request.size > 2", {"request__size": 0.0}, "request.size > 1"),
        ("request.size > 1 && hop.small.agree", {"request__size": 3.0}, "hop.small.agree"),
        ("hop.small.agree && request.size > 1", {"request__size": 0.0}, "request.size > 1"),
        ("!(request.size > 1 || request.size > 2)", {"request__size": 3.0}, "!(request.size > 1)"),
        (
            "request.urgent ? request.size > 1 : request.size > 2",
            {"request__urgent": False, "request__size": 3.0},
            "request.size > 2",
        ),
        ("request.urgent ? request.size > 1 : false", {"request__urgent": False}, "request.urgent"),
        ("request.urgent ? true : false", {"request__urgent": False}, "request.urgent"),
        ("request.urgent ? false : true", {"request__urgent": False}, "!request.urgent"),
        ("hop.small.agree ? true : false", {}, "hop.small.agree"),
    ],
)
def test_leaf(text: str, known: dict[str, Value], leaf: str) -> None:
    """
    The leaf is the condition nearest to turning the verdict round, or the first that is undetermined.
    """
    assert leaf == _explain(text, **known).leaf


@pytest.mark.parametrize(
    ("text", "known", "distance"),
    [
        ("output.confidence >= thresholds.confident", {"hop__small__confidence": 0.55}, 0.25),
        ("output.confidence < thresholds.confident", {"hop__small__confidence": 0.55}, 0.25),
        ("elapsed > duration('4s')", {"elapsed": 250_000}, 3_750_000.0),
        ("request.size == 3", {"request__size": 3.0}, 0.0),
        ("request.size * 1e300 * 1e300 > 3", {"request__size": 3.0}, 3.0),
        ("request.size * 2 > 3", {"request__size": 1.0}, 0.5),
        ("request.size * request.size <= 9", {"request__size": 1.0}, 2.0),
        ("size(request.team) > 30", {"request__team": "ab"}, 28.0),
        ("signals.tokens > 100 || signals.depth >= 0.2", {"signals__tokens": 5.0, "signals__depth": 0.154}, 0.046),
        ("signals.tokens > 100 && request.urgent", {"signals__tokens": 5.0, "request__urgent": False}, None),
        ("output.confidence >= thresholds.confident", {}, None),
        ("request.team == 'a'", {"request__team": "b"}, None),
        ("request.urgent", {"request__urgent": True}, None),
    ],
)
def test_distance(text: str, known: dict[str, Value], distance: float | None) -> None:
    """
    The distance is that of the nearest number whose change alone turns the guard round; nothing else has one.
    """
    assert pytest.approx(distance) == _explain(text, **known).distance


@pytest.mark.parametrize(
    ("text", "known", "change"),
    [
        ("signals.tokens > 100 || signals.depth >= 0.2", {"signals__tokens": 5.0, "signals__depth": 0.154}, "signals.depth"),
        ("signals.tokens > 100 && signals.depth >= 0.2", {"signals__tokens": 101.0, "signals__depth": 0.9}, "signals.tokens"),
        ("request.size >= thresholds.confident", {"request__size": 0.1}, "request.size"),
        ("1 >= thresholds.confident && request.urgent", {"request__urgent": True}, "thresholds.confident"),
        ("request.urgent || request.team == 'a'", {"request__urgent": False, "request__team": "b"}, "request.urgent"),
        ("has(signals.depth)", {"signals__depth": 0.5}, ""),
        ("request.size > 1", {}, ""),
    ],
)
def test_change(text: str, known: dict[str, Value], change: str) -> None:
    """
    The value to change is a number before a condition or text, a signal before a threshold, and the nearest by its share.
    """
    assert change == _explain(text, **known).change


@pytest.mark.parametrize(
    ("text", "known", "also", "expected"),
    [
        (
            "request.size > 1 && request.urgent",
            {"request__size": 0.0, "request__urgent": False},
            ("request.urgent",),
            "request.size > 1: not held (0 <= 1); to change that, request.urgent must change at once with it",
        ),
        (
            "request.size > 1 || request.urgent || request.team == 'a'",
            {"request__size": 3.0, "request__urgent": True, "request__team": "a"},
            ("request.urgent", "request.team == 'a'"),
            (
                "request.size > 1: held (3 > 1); "
                "to change that, request.urgent and request.team == 'a' must change at once with it"
            ),
        ),
        (
            "request.size > 1 && hop.small.agree && request.size > 0",
            {"request__size": 0.5},
            ("hop.small.agree",),
            "request.size > 1: not held (0.5 <= 1); to change that, hop.small.agree must change at once with it",
        ),
    ],
)
def test_several_at_once(text: str, known: dict[str, Value], also: tuple[str, ...], expected: str) -> None:
    """
    Where no single value turns the guard round, the fewest conditions that do so together are named.
    """
    explanation = _explain(text, **known)

    assert (also, None, "") == (explanation.also, explanation.distance, explanation.change)
    assert expected == explanation.text


def test_values_by_name() -> None:
    """
    Values stand under the names as written, thresholds included.
    """
    explanation = _explain("output.confidence >= thresholds.confident || hop.small.agree", hop__small__confidence=0.31)

    assert {"output.confidence": 0.31, "thresholds.confident": 0.8, "hop.small.agree": None} == explanation.values


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(tree=trees(), context=contexts())
def test_leaf_has_the_verdict_of_the_guard(tree: Expr, context: dict[str, Value | None]) -> None:
    """
    Asked alone, the leaf that is shown says what the whole guard said.
    """
    explanation = explain(tree, context.get)

    assert evaluate(tree, context.get) is explanation.verdict
    assert evaluate(check(explanation.leaf, OPEN).tree, context.get) is explanation.verdict


class TestRounding:
    @pytest.mark.parametrize(
        ("numbers", "expected"),
        [
            ([0.5536123456789, 0.7], ["0.5536", "0.7"]),
            ([0.7, 0.699999999], ["0.7", "0.699999999"]),
            ([0.123456789, 0.1234567], ["0.1234568", "0.1234567"]),
            ([1234567.0, 12.0], ["1234567", "12"]),
            ([0.1 + 0.2, 0.3], ["0.30000000000000004", "0.3"]),
            ([0.123456, 1e-12], ["0.123456", "1e-12"]),
            ([1 / 3, 1 / 3], ["0.3333", "0.3333"]),
            ([], []),
        ],
    )
    def test_numbers_are_as_short_as_they_can_be(self, numbers: list[float], expected: list[str]) -> None:
        """
        A measured number has four digits, or as many more as tell it from its neighbour; what people write stays.
        """
        assert expected == rounded(numbers)

    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4))
    def test_order_is_kept(self, numbers: list[float]) -> None:
        """
        Two numbers look equal only where they are, and the smaller one looks smaller.
        """
        shown = [float(text) for text in rounded(numbers)]

        assert [[one < other for other in numbers] for one in numbers] == [[one < other for other in shown] for one in shown]

    @given(st.floats(0, 1), st.floats(0, 1))
    def test_a_reason_shows_its_comparison(self, confidence: float, threshold: float) -> None:
        """
        The two numbers of a reason stand in the relation that is written between them.
        """
        why = _explain(f"output.confidence >= {threshold!r}", hop__small__confidence=confidence)
        left, relation, right = why.text.rpartition("(")[2].rstrip(")").split()

        assert why.verdict is (relation == ">=") is (float(left) >= float(right))
