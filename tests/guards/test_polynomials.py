"""
Sides of comparisons as polynomials: the same values, and every point at which two sides meet.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from meshwalk.guards import check
from meshwalk.guards.polynomials import meeting_points, polynomials
from meshwalk.guards.tree import Compare, Expr
from meshwalk.model import Value
from tests.guards.guard_samples import VISIBLE


NOTHING: dict[str, Value] = {}


def _sides(text: str) -> tuple[Expr, Expr]:
    tree = check(text, VISIBLE).tree
    assert isinstance(tree, Compare)

    return tree.left, tree.right


@pytest.mark.parametrize(
    ("text", "coefficients"),
    [
        ("request.size * 2 + 1 > 0", [(1, 2)]),
        ("-(request.size - 3) > 0", [(3, -1)]),
        ("request.size * request.size > 0", [(0, 0, 1)]),
        ("(request.urgent ? request.size : 4) > 0", [(0, 1), (4,)]),
        ("signals.tokens * request.size > 0", [(0, 5)]),
        ("signals.depth * request.size > 0", []),
    ],
)
def test_coefficients(text: str, coefficients: list[tuple[int, ...]]) -> None:
    """
    Other values are constants, a choice is both of its branches, and a value that is not there makes no polynomial.
    """
    found = polynomials(_sides(text)[0], "request.size", {"signals.tokens": 5.0}.get)

    assert coefficients == [tuple(map(int, one)) for one in found]


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("request.size * 2 > 3", [1.5]),
        ("request.size * request.size > 4", [-2.0, 2.0]),
        ("request.size * request.size * request.size > request.size", [-1.0, 0.0, 1.0]),
        ("request.size + 1 > request.size", []),
    ],
)
def test_meeting_points(text: str, points: list[float]) -> None:
    """
    Every point at which the sides are equal is among those yielded.
    """
    left, right = (polynomials(side, "request.size", NOTHING.get) for side in _sides(text))
    found = list(meeting_points(left, right))

    assert all(any(abs(one - Fraction(point)) < Fraction(1, 10**9) for one in found) for point in points)
    assert bool(found) == bool(points)
