"""
The compiled guard means what the slow evaluator says, and is the plain expression where it can be.
"""

from __future__ import annotations

import dis
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from meshwalk.guards import check, compile_test, evaluate
from meshwalk.guards.tree import Expr
from meshwalk.model import Value
from tests.guards.guard_samples import SLOTS, VISIBLE, contexts, trees


def _run(text: str, **known: Value) -> bool | None:
    values: list[Value | None] = [None] * len(SLOTS)
    for slot, value in known.items():
        values[SLOTS[slot.replace("__", ".")]] = value

    return compile_test(check(text, VISIBLE).tree, SLOTS)(values)


@pytest.mark.parametrize(
    ("text", "known", "verdict"),
    [
        ("output.confidence >= thresholds.confident", {"hop__small__confidence": 0.9}, True),
        ("output.confidence >= thresholds.confident", {"hop__small__confidence": 0.31}, False),
        ("output.confidence >= thresholds.confident", {}, None),
        ("!(output.confidence < thresholds.confident)", {}, None),
        ("false && hop.small.agree", {}, False),
        ("hop.small.agree && false", {}, False),
        ("true && hop.small.agree", {}, None),
        ("true || hop.small.agree", {}, True),
        ("hop.small.agree || true", {}, True),
        ("hop.small.agree || false", {}, None),
        ("hop.small.agree && output.confidence > 0.5", {"hop__small__confidence": 0.1}, False),
        ("hop.small.agree && output.confidence > 0.5", {"hop__small__confidence": 0.6}, None),
        ("hop.small.agree || output.confidence > 0.5", {"hop__small__confidence": 0.6}, True),
        ("hop.small.agree || output.confidence > 0.5", {"hop__small__confidence": 0.1}, None),
        ("hop.small.agree ? true : true", {}, None),
        ("(hop.small.agree ? 1 : 2) > 1", {"hop__small__agree": False}, True),
        ("(false ? output.confidence : 2) > 1", {}, True),
        ("has(output.confidence)", {}, False),
        ("has(output.confidence) && output.confidence > 0.5", {}, False),
        ("has(elapsed) && has(thresholds.confident)", {}, True),
        ("request.team in ['a', 'b']", {}, None),
        ("request.team in []", {}, None),
        ("'a' in ['b', request.team]", {}, None),
        ("request.team in ['a', 'b']", {"request__team": "b"}, True),
        ("request.team.startsWith('a') && request.team.endsWith('c')", {"request__team": "abc"}, True),
        ("request.team.contains('b')", {"request__team": "abc"}, True),
        ("size(request.team) == 2 && request.team.size() < 3", {"request__team": "é\U0001f600"}, True),
        ("elapsed + duration('1m') > duration('1m4s')", {"elapsed": 4_000_001}, True),
        ("elapsed - duration('1500ms') == duration('-1.5s')", {"elapsed": 0}, True),
        ("-signals.tokens * 2 + 1 == -5", {"signals__tokens": 3}, True),
        ("request.urgent == true && request.urgent != false", {"request__urgent": True}, True),
    ],
)
def test_meaning(text: str, known: dict[str, Value], verdict: bool | None) -> None:
    """
    Operators mean what CEL says, and undetermined parts are absorbed or passed on as its errors are.
    """
    assert _run(text, **known) is verdict


@settings(max_examples=1000, deadline=None)
@given(tree=trees(), context=contexts())
def test_compiled_agrees_with_evaluated(tree: Expr, context: dict[str, Value | None]) -> None:
    """
    On any guard and any values, determined or not, the code object and the tree walker say the same.
    """
    test = compile_test(tree, SLOTS)

    verdict = test([context[slot] for slot in SLOTS])

    assert evaluate(tree, context.get) is verdict


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (
            "request.task == 'reasoning' && request.size > thresholds.confident",
            lambda values: values[0] == "reasoning" and values[2] > 0.8,
        ),
        ("!request.urgent || has(elapsed)", lambda values: not values[3] or True),
        ("request.size + 1 < 2 * request.size", lambda values: values[2] + 1.0 < 2.0 * values[2]),
    ],
)
def test_determined_guard_is_the_plain_expression(text: str, plain: Callable[[Any], bool]) -> None:
    """
    Over signals that are always determined no test for None is left in the code.
    """
    test = compile_test(check(text, VISIBLE).tree, SLOTS)

    assert _code(plain) == _code(test)


def _code(function: Callable[..., Any]) -> list[tuple[str, object]]:
    return [(step.opname, step.argval) for step in dis.get_instructions(function)]


def test_one_optional_part_is_tested_once() -> None:
    """
    A part that may be undetermined is bound and tested once, however often it names its signal.
    """

    def by_hand(values: Any) -> Any:
        return values[3] and (None if (_9 := values[9]) is None else _9 * _9 > 0.5)

    test = compile_test(check("request.urgent && output.confidence * output.confidence > 0.5", VISIBLE).tree, SLOTS)

    assert _code(by_hand) == _code(test)


def test_threshold_is_a_constant() -> None:
    """
    A threshold needs no slot in the values.
    """
    test = compile_test(check("request.size > thresholds.confident", VISIBLE).tree, {"request.size": 0})

    assert test([0.81]) is True
    assert test([0.8]) is False


def test_author_cannot_reach_python() -> None:
    """
    A compiled guard knows no built-in of Python's but the one that counts characters, and what matches patterns.
    """
    test = compile_test(check("size(request.team) > 1", VISIBLE).tree, SLOTS)

    assert {"__builtins__", "len", "matches"} == set(test.__globals__)
    assert {} == test.__globals__["__builtins__"]
