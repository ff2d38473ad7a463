"""
The slow, obvious meaning of a guard: what `compile` must agree with, and what `explain` asks of each part.

Three values, as CEL's own error absorption has them: true, false, and None for undetermined.  `false && x` is false and
`true || x` is true on either side, whatever x is; everywhere else an undetermined part makes the whole undetermined.  So
`!(output.confidence < 0.5)` never holds by accident where there is no confidence.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, assert_never

from meshwalk.guards.tree import (
    Arith,
    Arithmetic,
    Choice,
    Compare,
    Comparison,
    Connective,
    Expr,
    Has,
    In,
    Literal,
    Logic,
    Name,
    Neg,
    Not,
    Probe,
    Size,
    TextTest,
    parts,
)
from meshwalk.model import Value
from meshwalk.model.patterns import compile_pattern


Lookup = Callable[[str], Value | None]

_COMPARE: Mapping[Comparison, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CALCULATE: Mapping[Arithmetic, Callable[[Any, Any], float]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_LOOK: Mapping[TextTest, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": operator.contains,
    "matches": lambda text, pattern: compile_pattern(pattern).matches(text),
}


def evaluate(tree: Expr, lookup: Lookup) -> Value | None:
    """
    Work out *tree* by walking it.

    Args:
        lookup: Gives a slot's value, None where it is undetermined.
    """
    match tree:
        case Name(signal=signal):
            return lookup(signal.slot) if signal.constant is None else signal.constant
        case Has(name=name):
            return evaluate(name, lookup) is not None
        case Logic(op=op, parts=several):
            return _joined(op, [evaluate(part, lookup) for part in several])
        case Choice(test=test, then=then, other=other):
            chosen = evaluate(test, lookup)
            return None if chosen is None else evaluate(then if chosen else other, lookup)
        case _:
            values = [evaluate(part, lookup) for part in parts(tree)]
            return None if None in values else _applied(tree, values)


def _joined(op: Connective, values: list[Value | None]) -> bool | None:
    settling = op == "||"
    if settling in values:
        return settling

    return None if None in values else not settling


def _applied(tree: Literal | Not | Compare | Arith | Neg | In | Probe | Size, values: list[Any]) -> Value:
    match tree:
        case Literal(value=value):
            return value
        case Not():
            return not values[0]
        case Neg():
            negated: float = -values[0]
            return negated
        case Compare(op=op):
            return _COMPARE[op](*values)
        case Arith(op=op):
            return _CALCULATE[op](*values)
        case In():
            return any(values[0] == value for value in values[1:])
        case Probe(method=method):
            return _LOOK[method](*values)
        case Size():
            return len(values[0])
        case _:
            assert_never(tree)
