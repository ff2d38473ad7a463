"""
The reason of a guard's verdict, worked out when someone asks.

The part that decided is the one nearest to turning the verdict round: of all values in the guard, the one whose smallest change
does so alone (`flips`), with its distance.  Where no single value can, the fewest parts that must change at once are named.
Where the verdict is not certain it is the first undetermined part.  A part is shown negated where that gives it the guard's own
verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, cast

from meshwalk.guards.evaluate import Lookup, evaluate
from meshwalk.guards.flips import nearest_flip
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
    The reason of a guard's verdict.

    Args:
        values: The value of each signal, by its name as written, thresholds included.
        leaf: The condition that decided, as canonical text.
        distance: The distance of the nearest single change that turns the guard round, in the value's unit: never negative, for
            durations in microseconds, None where no number alone can.
        text: The leaf, its verdict and the values that made it.
        change: The name of the value whose change that is; empty if no single one turns the guard round.
        also: The other conditions that must change at once, as canonical texts.
    """

    verdict: bool | None
    values: dict[str, Value | None]
    leaf: str
    distance: float | None
    text: str
    change: str = ""
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


def explain(tree: Expr, lookup: Lookup) -> Explanation:
    """
    Explain the verdict of *tree*.

    Args:
        lookup: Gives a slot's value, None where it is undetermined.
    """
    verdict = _verdict(tree, lookup)
    reason = _reason(tree, lookup, verdict)
    leaf = reason.leaf
    values = {name.signal.name: evaluate(name, lookup) for name in names(tree)}
    text = _as_verdict(leaf, lookup, verdict)
    why = _why(leaf, lookup)
    held = {True: "held", False: "not held", None: "undetermined"}[verdict]
    also = tuple(_as_verdict(one, lookup, verdict) for one in reason.also)
    sentence = f"{text}: {held}" + (f" ({why})" if why else "")
    if also:
        sentence += f"; to change that, {_listed(also)} must change at once with it"

    return Explanation(verdict, values, text, reason.distance, sentence, reason.change, also)


class _Reason(NamedTuple):
    leaf: Expr
    distance: float | None = None
    change: str = ""
    also: tuple[Expr, ...] = ()


def _reason(tree: Expr, lookup: Lookup, verdict: bool | None) -> _Reason:
    flip = nearest_flip(tree, lookup)
    if flip is not None:
        return _Reason(flip.leaf, flip.distance, flip.name)
    needed = None if verdict is None else _needed(tree, lookup, verdict)
    if not needed:
        return _Reason(_deciding(tree, lookup))
    first = next((leaf for leaf in needed if _verdict(leaf, lookup) is not None), needed[0])
    also = tuple(leaf for leaf in needed if leaf is not first)

    return _Reason(first, None if also else _apart(first, lookup), also=also)


def _needed(tree: Expr, lookup: Lookup, verdict: bool) -> list[Expr] | None:
    """
    Return the fewest leaves that must change for *tree* to have another verdict than *verdict*; None if no change does it.
    """
    if _verdict(tree, lookup) is (not verdict):
        return []
    match tree:
        case Not(operand=operand):
            return _needed(operand, lookup, not verdict)
        case Logic(op=op, parts=several):
            each = [_needed(part, lookup, verdict) for part in several]
            if (op == "||") is verdict:
                return _together(each)
            return min((one for one in each if one is not None), key=len, default=None)
        case Choice(test=test, then=then, other=other):
            ways = [
                _together([_needed(test, lookup, not chosen), _needed(branch, lookup, verdict)])
                for chosen, branch in ((True, then), (False, other))
            ]
            return min((one for one in ways if one is not None), key=len, default=None)
        case _:
            return [tree] if any(True for _ in names(tree)) else None


def _together(each: Iterable[list[Expr] | None]) -> list[Expr] | None:
    together: dict[str, Expr] = {}
    for one in each:
        if one is None:
            return None
        together |= {canonical(leaf): leaf for leaf in one}

    return list(together.values())


def _as_verdict(leaf: Expr, lookup: Lookup, verdict: bool | None) -> str:
    if _verdict(leaf, lookup) is (not verdict) and verdict is not None:
        return canonical(Not(offset=leaf.offset, length=leaf.length, operand=leaf))

    return canonical(leaf)


def _listed(texts: Sequence[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def _verdict(tree: Expr, lookup: Lookup) -> bool | None:
    # A condition has no other values.
    return cast("bool | None", evaluate(tree, lookup))


def _deciding(tree: Expr, lookup: Lookup) -> Expr:
    """
    Return the leaf at which reading from left to right makes the verdict certain, or the first undetermined one.
    """
    match tree:
        case Not(operand=operand):
            return _deciding(operand, lookup)
        case Logic(op=op, parts=several):
            verdict = _verdict(tree, lookup)
            if verdict is (op == "&&"):
                return _deciding(several[-1], lookup)
            return _deciding(next(part for part in several if _verdict(part, lookup) is verdict), lookup)
        case Choice(test=test, then=then, other=other):
            chosen = _verdict(test, lookup)
            branch = then if chosen else other
            # A branch that is written out decides nothing; the test that chose it does.
            return _deciding(test if chosen is None or isinstance(branch, Literal) else branch, lookup)
        case _:
            return tree


def _apart(leaf: Expr, lookup: Lookup) -> float | None:
    """
    Return the distance between the two sides of a numeric comparison.
    """
    if not isinstance(leaf, Compare) or leaf.left.kind not in {Kind.NUMBER, Kind.DURATION}:
        return None
    sides = evaluate(leaf.left, lookup), evaluate(leaf.right, lookup)
    if None in sides:
        return None
    left, right = (float(cast("float", side)) for side in sides)
    apart = abs(left - right)

    return apart if math.isfinite(apart) else None


# A number that is measured has this many digits, or as many more as tell it from its neighbour.
_FEWEST_DIGITS, _MOST_DIGITS = 4, 17
# Numbers that people write have at most so many digits, and stand as they are written.
_READABLE_DIGITS = 6


# The relation of two values of which a comparison does not hold.
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
            sides = _sides(left, right, lookup)
            return f"{sides[0]} {op if verdict else _OPPOSITE[op]} {sides[1]}"
        case In(needle=needle, items=items):
            listed = ", ".join(_value(item, lookup) for item in items)
            return f"{_value(needle, lookup)} {'in' if verdict else 'not in'} [{listed}]"
        case Has() | Probe():
            read = [part for part in parts(leaf) if not isinstance(part, Literal)]
            return " and ".join(f"{canonical(part)} is {_value(part, lookup)}" for part in read)
        case _:
            return ""


def _sides(left: Expr, right: Expr, lookup: Lookup) -> list[str]:
    if left.kind is Kind.NUMBER:
        return rounded([float(cast("float", evaluate(side, lookup))) for side in (left, right)])

    return [_value(side, lookup) for side in (left, right)]


def rounded(numbers: Sequence[float]) -> list[str]:
    """
    Return *numbers* as short texts for people, of which no two are the same unless the numbers are, and which keep their order.

    Whole numbers, and those that have few digits, stay as they are.
    """
    for digits in range(_FEWEST_DIGITS, _MOST_DIGITS):
        texts = [_short(number, digits) for number in numbers]
        ordered = sorted(zip(numbers, map(float, texts), strict=True))
        if all((low < high) is (shown_low < shown_high) for (low, shown_low), (high, shown_high) in pairwise(ordered)):
            return texts

    return [_exact(number) for number in numbers]


def _short(number: float, digits: int) -> str:
    exact = _exact(number)

    return (
        exact if number.is_integer() or len(exact.strip("-0.").replace(".", "")) <= _READABLE_DIGITS else f"{number:.{digits}g}"
    )


def _exact(number: float) -> str:
    return worded(number, Kind.NUMBER)


def _value(expr: Expr, lookup: Lookup) -> str:
    value = evaluate(expr, lookup)
    if value is None:
        return "no value"

    return span(int(value)) if expr.kind is Kind.DURATION else worded(value, expr.kind)
