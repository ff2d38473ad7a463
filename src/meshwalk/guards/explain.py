"""
Why a guard held or did not, worked out when someone asks.

The leaf that decided is the condition at which reading from left to right makes the verdict certain: the first false part
of `&&`, the first true part of `||`, otherwise the last part; where nothing is certain, the first undetermined part.  A leaf
under `!` is shown turned round, so that what is printed always has the guard's own verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from meshwalk.guards.evaluate import Lookup, evaluate
from meshwalk.guards.tree import (
    Choice,
    Compare,
    Expr,
    Has,
    In,
    Literal,
    Logic,
    Not,
    Probe,
    canonical,
    names,
    parts,
    span,
    worded,
)
from meshwalk.model import Value
from meshwalk.model.signals import Kind


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Say why a guard has its verdict.

    Args:
        values: What each signal was, by its name as written, thresholds included.
        leaf: The condition that decided, as canonical text.
        distance: How far the two sides of a numeric comparison are apart, so how far it is from flipping: never negative,
            for durations in microseconds, None where the leaf compares no quantities.
        text: The leaf, its verdict and the values that made it.
    """

    verdict: bool | None
    values: dict[str, Value | None]
    leaf: str
    distance: float | None
    text: str

    def __str__(self) -> str:
        return self.text


def explain(tree: Expr, lookup: Lookup) -> Explanation:
    """
    Explain the verdict of *tree*.

    Args:
        lookup: Gives a slot's value, None where it is undetermined.
    """
    verdict = _verdict(tree, lookup)
    leaf, negated = _deciding(tree, lookup)
    shown = Not(offset=leaf.offset, length=leaf.length, operand=leaf) if negated else leaf
    values = {name.signal.name: evaluate(name, lookup) for name in names(tree)}
    text = canonical(shown)
    why = _why(leaf, lookup)
    held = {True: "held", False: "not held", None: "undetermined"}[verdict]

    return Explanation(verdict, values, text, _distance(leaf, lookup), f"{text}: {held}" + (f" ({why})" if why else ""))


def _verdict(tree: Expr, lookup: Lookup) -> bool | None:
    # A condition has no other values.
    return cast("bool | None", evaluate(tree, lookup))


def _deciding(tree: Expr, lookup: Lookup) -> tuple[Expr, bool]:
    """
    Find the leaf that decided, and whether its verdict is turned round on the way up.
    """
    match tree:
        case Not(operand=operand):
            leaf, negated = _deciding(operand, lookup)
            return leaf, not negated
        case Logic(op=op, parts=several):
            verdict = _verdict(tree, lookup)
            if verdict is (op == "&&"):
                return _deciding(several[-1], lookup)
            return _deciding(next(part for part in several if _verdict(part, lookup) is verdict), lookup)
        case Choice(test=test, then=then, other=other):
            chosen = _verdict(test, lookup)
            if chosen is None:
                return _deciding(test, lookup)
            branch = then if chosen else other
            if not isinstance(branch, Literal):
                return _deciding(branch, lookup)
            # A branch that is written out decides nothing; the test that chose it does.
            leaf, negated = _deciding(test, lookup)
            return leaf, negated is (branch.value is chosen)
        case _:
            return tree, False


def _distance(leaf: Expr, lookup: Lookup) -> float | None:
    if not isinstance(leaf, Compare) or leaf.left.kind not in {Kind.NUMBER, Kind.DURATION}:
        return None
    sides = evaluate(leaf.left, lookup), evaluate(leaf.right, lookup)
    if None in sides:
        return None
    left, right = (float(cast("float", side)) for side in sides)
    apart = abs(left - right)

    return apart if math.isfinite(apart) else None


# What is true of two values when a comparison of them is not.
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def _why(leaf: Expr, lookup: Lookup) -> str:
    """
    Put the values in the place of the names.
    """
    missing = sorted({name.signal.name for name in names(leaf) if evaluate(name, lookup) is None})
    verdict = _verdict(leaf, lookup)
    if verdict is None or (missing and isinstance(leaf, Has)):
        return f"{' and '.join(missing)} {'has' if len(missing) == 1 else 'have'} no value"
    match leaf:
        case Compare(op=op, left=left, right=right):
            return f"{_value(left, lookup)} {op if verdict else _OPPOSITE[op]} {_value(right, lookup)}"
        case In(needle=needle, items=items):
            listed = ", ".join(_value(item, lookup) for item in items)
            return f"{_value(needle, lookup)} {'in' if verdict else 'not in'} [{listed}]"
        case Has() | Probe():
            read = [part for part in parts(leaf) if not isinstance(part, Literal)]
            return " and ".join(f"{canonical(part)} is {_value(part, lookup)}" for part in read)
        case _:
            return ""


def _value(expr: Expr, lookup: Lookup) -> str:
    value = evaluate(expr, lookup)
    if value is None:
        return "no value"

    return span(int(value)) if expr.kind is Kind.DURATION else worded(value, expr.kind)
