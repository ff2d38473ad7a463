"""
The nearest change of a single value that turns a guard's verdict round.

A guard as a function of one number is constant between the points at which two sides of one of its comparisons meet.  So the
nearest change of that number is at such a point or just past it, and the first point that turns the verdict round is
it: every answer here was evaluated, and the points before it were, too.

Distances of different values are compared as shares: of the width of the signal's range where it has two finite ends, else of
the value itself, or of 1 (for times of 1 s) if that is more.  A signal's change comes before a threshold's, because
requests differ in signals; a number's before one that has no distance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any, NamedTuple

from meshwalk.guards.evaluate import Lookup, evaluate
from meshwalk.guards.polynomials import meeting_points, polynomials
from meshwalk.guards.tree import Choice, Compare, Expr, In, Literal, Logic, Name, Not, names, parts
from meshwalk.model import Value
from meshwalk.model.signals import Kind, Signal


_NUMBERS = (Kind.NUMBER, Kind.DURATION)
_UNIT: Mapping[Kind, float] = {Kind.NUMBER: 1.0, Kind.DURATION: 1_000_000.0}
# Arithmetic of doubles may turn a verdict round some doubles past the exact point.
_ULPS = (-2, -1, 0, 1, 2, 4, 16, 256, 1 << 20)


class Flip(NamedTuple):
    """
    A change of one value that turns a guard's verdict round.

    Args:
        name: The signal or threshold, as the guard writes it.
        to: A value with which the guard has turned round.
        distance: The distance from the present value to the point of turning, in the value's unit (microseconds for a
            duration); None for a text or a condition.
        share: The distance as a share, by which values of different kinds are compared.
        leaf: The part of the guard that the change turns round.
    """

    name: str
    to: Value
    distance: float | None
    share: float
    leaf: Expr


def nearest_flip(tree: Expr, lookup: Lookup) -> Flip | None:
    """
    Return the nearest change of a single value that turns the verdict of *tree* round; None if no single one does.

    Args:
        lookup: Gives a slot's value, None where it is undetermined.
    """
    guard = _Guard(tree, lookup)
    if guard.verdict is None:
        return None
    flips = [flip for signal in guard.signals for flip in guard.flips(signal)]

    return min(flips, key=lambda flip: (flip.distance is None, guard.is_threshold(flip.name), flip.share), default=None)


# A leaf whose thresholds can be changed, and the same leaf as the guard has it.
_Leaf = tuple[Expr, Expr]


class _Guard:
    """
    A guard with the values it was asked with; its thresholds can be changed like signals.
    """

    def __init__(self, tree: Expr, lookup: Lookup) -> None:
        self.whole = tree
        self.tree = _opened(tree)
        written = {name.signal.slot: name.signal for name in reversed(list(names(tree)))}
        self.signals = list(reversed(written.values()))
        self.values = {slot: lookup(slot) if one.constant is None else one.constant for slot, one in written.items()}
        self.verdict = evaluate(self.tree, self.values.get)
        self.leaves = list(zip(leaves(self.tree), leaves(tree), strict=True))
        self.thresholds = {one.name for one in self.signals if one.constant is not None}

    def is_threshold(self, name: str) -> bool:
        return name in self.thresholds

    def flips(self, signal: Signal) -> Iterator[Flip]:
        value = self.values[signal.slot]
        if value is None:
            return
        if signal.kind in _NUMBERS:
            yield from self._number(signal, float(value))
            return
        others = [not value] if signal.kind is Kind.BOOL else [other for other in self._texts(signal) if other != value]
        to = next((other for other in others if self._turns(signal, other)), None)
        if to is not None:
            yield Flip(signal.name, to, None, math.inf, self._leaf(signal, to, self.leaves))

    def _number(self, signal: Signal, value: float) -> Iterator[Flip]:
        points = sorted(self._points(signal), key=lambda point: abs(point[0] - Fraction(value)))
        for point, pair in points:
            distance = float(abs(point - Fraction(value)))
            for to in sorted(_beside(point, signal.kind), key=lambda to: abs(to - value)):
                if to != value and _is_in_range(signal, to) and self._turns(signal, to):
                    scale = _scale(signal, value)
                    yield Flip(signal.name, to, distance, distance / scale, self._leaf(signal, to, [pair, *self.leaves]))
                    return

    def _points(self, signal: Signal) -> Iterator[tuple[Fraction, _Leaf]]:
        for pair in self.leaves:
            for left, right in _compared(pair[0]):
                sides = (polynomials(side, signal.slot, self.values.get) for side in (left, right))
                yield from ((point, pair) for point in meeting_points(*sides) if abs(point) <= Fraction(1.7e308))

    def _texts(self, signal: Signal) -> Iterable[str]:
        if signal.members:
            return signal.members
        found = [str(one.value) for one in _below(self.tree) if isinstance(one, Literal) and one.type is Kind.TEXT]

        return dict.fromkeys([*found, "", "another"])

    def _turns(self, signal: Signal, to: Value) -> bool:
        return evaluate(self.tree, {**self.values, signal.slot: to}.get) is (not self.verdict)

    def _leaf(self, signal: Signal, to: Value, candidates: Iterable[_Leaf]) -> Expr:
        changed = {**self.values, signal.slot: to}.get
        for opened, leaf in candidates:
            before = evaluate(opened, self.values.get)
            if before is not None and before is not evaluate(opened, changed):
                return leaf

        return self.whole


def leaves(tree: Expr) -> Iterator[Expr]:
    """
    Yield the conditions that *tree* joins, negates and chooses between, from left to right.
    """
    match tree:
        case Not() | Logic():
            for part in parts(tree):
                yield from leaves(part)
        case Choice() if tree.kind is Kind.BOOL:
            for part in parts(tree):
                yield from leaves(part)
        case _:
            yield tree


def _below(tree: Expr) -> Iterator[Expr]:
    yield tree
    for part in parts(tree):
        yield from _below(part)


def _compared(leaf: Expr) -> Iterator[tuple[Expr, Expr]]:
    for one in _below(leaf):
        if isinstance(one, Compare) and one.left.kind in _NUMBERS:
            yield one.left, one.right
        elif isinstance(one, In) and one.needle.kind in _NUMBERS:
            yield from ((one.needle, item) for item in one.items)


def _beside(point: Fraction, kind: Kind) -> Iterator[float]:
    if kind is Kind.DURATION:
        yield from (math.floor(point) + step for step in (-1, 0, 1, 2))
        return
    exact = float(point)
    for ulps in _ULPS:
        for direction in (-1, 1):
            yield exact + direction * ulps * math.ulp(exact)


def _is_in_range(signal: Signal, to: float) -> bool:
    return math.isfinite(to) and (signal.range is None or signal.range[0] <= to <= signal.range[1])


def _scale(signal: Signal, value: float) -> float:
    if signal.range is not None and math.isfinite(width := signal.range[1] - signal.range[0]) and width > 0:
        return width

    return max(abs(value), _UNIT[signal.kind])


def _opened(expr: Any) -> Any:
    """
    Return *expr* with its thresholds as signals whose values can be given.
    """
    if isinstance(expr, Name):
        return expr if expr.signal.constant is None else replace(expr, signal=replace(expr.signal, constant=None))
    if isinstance(expr, tuple):
        return tuple(_opened(one) for one in expr)
    if not isinstance(expr, Expr):
        return expr

    return replace(expr, **{field.name: _opened(getattr(expr, field.name)) for field in fields(expr)})
