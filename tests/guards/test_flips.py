"""
The nearest single change: made, it turns the guard round, and nothing nearer does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings

from meshwalk.guards import Expr, check, evaluate
from meshwalk.guards.flips import leaves, nearest_flip
from meshwalk.guards.tree import Name, canonical, names
from meshwalk.model import Value
from meshwalk.model.signals import Kind, Signal
from tests.guards.guard_samples import VISIBLE, contexts, trees


Context = dict[str, Value | None]

_STEPS = 24


def _numbers(tree: Expr, context: Context) -> Iterator[tuple[Signal, float]]:
    for signal in {name.signal.slot: name.signal for name in names(tree)}.values():
        value = context.get(signal.slot) if signal.constant is None else signal.constant
        if value is not None and signal.kind in (Kind.NUMBER, Kind.DURATION):
            yield signal, float(value)


def _changed(tree: Expr, context: Context, signal: Signal, to: Value) -> Value | None:
    """
    Evaluate a guard with one value changed, a threshold's too.
    """
    if signal.constant is None:
        return evaluate(tree, {**context, signal.slot: to}.get)
    assert isinstance(to, float)
    others = {name: replace(one, constant=to) if name == signal.name else one for name, one in VISIBLE.items()}

    return evaluate(check(canonical(tree), {name: replace(one, members=()) for name, one in others.items()}).tree, context.get)


def _candidates(value: float, reach: float, kind: Kind) -> Iterator[float]:
    """
    Go through values nearer than *reach* to *value*, by halves and by even steps.
    """
    for step in range(1, _STEPS):
        for part in (reach * step / _STEPS, reach * 2.0**-step):
            for to in (value - part, value + part):
                yield round(to) if kind is Kind.DURATION else to


@settings(max_examples=400, deadline=None)
@given(tree=trees(), context=contexts())
@example(check("signals.tokens > 100 || signals.depth >= 0.2", VISIBLE).tree, {"signals.tokens": 5.0, "signals.depth": 0.154})
def test_the_change_turns_the_guard_round(tree: Expr, context: Context) -> None:
    """
    With the named value moved by the distance, or by just over it, the guard has the opposite verdict.
    """
    flip = nearest_flip(tree, context.get)
    assume(flip is not None)
    assert flip is not None
    signal = next(name.signal for name in names(tree) if name.signal.name == flip.name)
    before = evaluate(tree, context.get)

    assert (not before) is _changed(tree, context, signal, flip.to)
    if flip.distance is not None:
        value = context.get(signal.slot) if signal.constant is None else signal.constant
        assert isinstance(value, int | float)
        slack = 2.0 if signal.kind is Kind.DURATION else 2e6 * math.ulp(max(abs(value), abs(float(flip.to))))
        assert abs(abs(float(flip.to) - value) - flip.distance) <= slack


@settings(max_examples=250, deadline=None)
@given(tree=trees(), context=contexts())
@example(check("request.size * request.size <= 9", VISIBLE).tree, {"request.size": 1.0})
@example(check("request.size * request.size * request.size > 8 || request.size < -1", VISIBLE).tree, {"request.size": 0.0})
def test_no_nearer_change_does(tree: Expr, context: Context) -> None:
    """
    No number tried, changed alone by a smaller share, turns the guard round.
    """
    flip = nearest_flip(tree, context.get)
    assume(flip is not None)
    assert flip is not None
    before = evaluate(tree, context.get)
    constant = any(name.signal.name == flip.name and name.signal.constant is not None for name in names(tree))
    for signal, value in _numbers(tree, context):
        if signal.constant is not None and not constant:
            continue
        unit = 1.0 if signal.kind is Kind.NUMBER else 1e6
        reach = min(flip.share, 1e3) * max(abs(value), unit) * (1 - 1e-6)
        if signal.constant is None and constant:
            reach = 1e3 * max(abs(value), unit)
        for to in _candidates(value, reach, signal.kind):
            if math.isfinite(to) and to != value and abs(to - value) < reach:
                assert before is _changed(tree, context, signal, to), (canonical(tree), signal.name, value, to, flip)


@pytest.mark.parametrize(
    ("text", "known", "to"),
    [
        ("request.size == 3", {"request.size": 5.0}, 3.0),
        ("request.size in [1, 4]", {"request.size": 3.0}, 4.0),
        ("elapsed > duration('4s')", {"elapsed": 250_000}, 4_000_001),
        ("request.task == 'retrieval'", {"request.task": "reasoning"}, "retrieval"),
        ("request.team.startsWith('a')", {"request.team": "b"}, "a"),
        ("request.team != 'a'", {"request.team": "b"}, "a"),
    ],
)
def test_to(text: str, known: Context, to: Value) -> None:
    """
    The change goes to a value with which the guard has turned round.
    """
    flip = nearest_flip(check(text, VISIBLE).tree, known.get)

    assert flip is not None
    assert to == flip.to


@pytest.mark.parametrize("text", ["request.size > 2", "request.size + 1 > 2.5", "request.size * request.size > 4"])
def test_stays_in_its_range(text: str) -> None:
    """
    A value that would have to leave its declared range is no change that a request can bring.
    """
    visible = {"request.size": replace(VISIBLE["request.size"], range=(0.0, 1.0))}

    assert nearest_flip(check(text, visible).tree, {"request.size": 0.5}.get) is None


def test_leaves_from_left_to_right() -> None:
    """
    Negations, connectives and choices between conditions are taken apart; a choice between numbers is not.
    """
    tree = check("!(request.urgent || request.size > 1) && (request.urgent ? 1 : 2) > request.size", VISIBLE).tree

    texts = [canonical(leaf) for leaf in leaves(tree)]

    assert ["request.urgent", "request.size > 1", "(request.urgent ? 1 : 2) > request.size"] == texts


def test_a_name_alone() -> None:
    """
    A guard that is one name turns round with it.
    """
    flip = nearest_flip(check("request.urgent", VISIBLE).tree, {"request.urgent": True}.get)

    assert flip is not None
    assert isinstance(flip.leaf, Name)
    assert ("request.urgent", False, None) == (flip.name, flip.to, flip.distance)
