"""
Sides of comparisons as polynomials of one value, and the points at which they meet.

Coefficients are fractions, which hold every double exactly.  Where the sign of a polynomial of degree 1 changes is exact;
beyond that the points lie between the stationary ones, and are bisected to neighbouring doubles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

from meshwalk.guards.evaluate import Lookup, evaluate
from meshwalk.guards.tree import Arith, Choice, Expr, Name, Neg


# Coefficients from the constant one upwards.
Polynomial = tuple[Fraction, ...]

_MAX_DEGREE = 8
# A side with more nested choices than this many can come to is none that anybody wrote.
_MAX_FORMS = 16
_BISECTIONS = 120
_LARGEST = 1.7e308


def polynomials(expr: Expr, slot: str, lookup: Lookup) -> list[Polynomial]:
    """
    Return *expr* as a polynomial of the value in *slot*, once for each branch that a choice may take; nothing if it is none.

    Args:
        lookup: Gives the other slots' values.
    """
    match expr:
        case Name(signal=signal) if signal.slot == slot:
            return [(Fraction(0), Fraction(1))]
        case Neg(operand=operand):
            return [_scaled(one, Fraction(-1)) for one in polynomials(operand, slot, lookup)]
        case Choice(then=then, other=other):
            return [*polynomials(then, slot, lookup), *polynomials(other, slot, lookup)][:_MAX_FORMS]
        case Arith(op=op, left=left, right=right):
            rights = polynomials(right, slot, lookup)
            pairs = [(one, two) for one in polynomials(left, slot, lookup) for two in rights][:_MAX_FORMS]
            if op == "*":
                return [_product(one, two) for one, two in pairs if len(one) + len(two) <= _MAX_DEGREE + 2]
            return [_sum(one, _scaled(two, Fraction(1 if op == "+" else -1))) for one, two in pairs]
        case _:
            value = evaluate(expr, lookup)
            if isinstance(value, str) or value is None or not math.isfinite(value):
                return []
            return [(Fraction(value),)]


def meeting_points(left: Sequence[Polynomial], right: Sequence[Polynomial]) -> Iterator[Fraction]:
    """
    Yield every point at which one of *left* equals one of *right*, and some at which none does.
    """
    for one in left:
        for two in right:
            yield from _roots(_sum(one, _scaled(two, Fraction(-1))))


def _scaled(one: Polynomial, factor: Fraction) -> Polynomial:
    return tuple(part * factor for part in one)


def _sum(one: Polynomial, two: Polynomial) -> Polynomial:
    size = max(len(one), len(two))
    padded = ((*side, *[Fraction(0)] * (size - len(side))) for side in (one, two))

    return tuple(left + right for left, right in zip(*padded, strict=True))


def _product(one: Polynomial, two: Polynomial) -> Polynomial:
    total = [Fraction(0)] * (len(one) + len(two) - 1)
    for i, left in enumerate(one):
        for j, right in enumerate(two):
            total[i + j] += left * right

    return tuple(total)


def _at(one: Polynomial, point: Fraction) -> Fraction:
    total = Fraction(0)
    for part in reversed(one):
        total = total * point + part

    return total


def _roots(one: Polynomial) -> list[Fraction]:
    while one and not one[-1]:
        one = one[:-1]
    if len(one) < 2:
        return []
    if len(one) == 2:
        return [-one[0] / one[1]]
    stationary = sorted(_roots(tuple(part * power for power, part in enumerate(one))[1:]))
    # Beyond this no root lies (Cauchy's bound); a stationary point may be one that the sign does not show.
    bound = min(1 + max(abs(part / one[-1]) for part in one[:-1]), Fraction(_LARGEST))
    edges = [-bound, *(point for point in stationary if -bound < point < bound), bound]

    return [*stationary, *(_bisected(one, low, high) for low, high in pairwise(edges) if _at(one, low) * _at(one, high) <= 0)]


def _bisected(one: Polynomial, low: Fraction, high: Fraction) -> Fraction:
    rises = _at(one, high) > 0 or _at(one, low) < 0
    for _ in range(_BISECTIONS):
        middle = Fraction(float((low + high) / 2))
        if not low < middle < high:
            break
        if (_at(one, middle) < 0) is rises:
            low = middle
        else:
            high = middle

    return high
