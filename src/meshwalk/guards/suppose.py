"""
The possible verdicts of a guard if a signal has no value: its meaning over sets of verdicts.

Everything that is not supposed is taken to be anything, each part for itself, so the answer may hold a verdict that no
request brings about; it never lacks one that some request does.  What an absent value *causes* is kept apart from
other undetermined parts: `has(x) && x > 1` never comes to `OWED` where x is absent, because `has` is false there and false
absorbs whatever stands beside it, and neither does any other guard whose verdict the missing value cannot touch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from meshwalk.guards.evaluate import evaluate
from meshwalk.guards.tree import Choice, Expr, Has, Literal, Logic, Name, Not, names, parts
from meshwalk.model import Value
from meshwalk.model.signals import Kind


# Sets of verdicts are sums of these; what is not a condition has a value (`TRUE + FALSE`), or not.
TRUE, FALSE, LACKING, OWED = 1, 2, 4, 8
_VALUE = TRUE | FALSE


class Supposition(NamedTuple):
    """
    An assumption about the signals.

    Args:
        blamed: The slot that has no value and is asked about.
        absent: Other slots that have none.
        known: For some text slots: every value they can have.
    """

    blamed: str
    absent: frozenset[str] = frozenset()
    known: Mapping[str, tuple[Value, ...]] = {}


def outcomes(tree: Expr, supposed: Supposition) -> int:
    """
    Return every verdict that *tree* can come to, as a sum of `TRUE`, `FALSE`, `LACKING` and `OWED`.
    """
    match tree:
        case Name():
            return _read(tree, supposed)
        case Has(name=name):
            read = _read(name, supposed)
            return (TRUE if read & _VALUE else 0) | (FALSE if read & (LACKING | OWED) else 0)
        case Literal(value=value, type=type):
            return _VALUE if type is not Kind.BOOL else TRUE if value else FALSE
        case Not(operand=operand):
            return _turned(outcomes(operand, supposed))
        case Logic(op=op, parts=several):
            settling, other = (FALSE, TRUE) if op == "&&" else (TRUE, FALSE)
            joined = other
            for part in several:
                joined = _joined(settling, other, joined, outcomes(part, supposed))
            return joined
        case Choice(test=test, then=then, other=other_branch):
            chosen = outcomes(test, supposed)
            verdicts = chosen & (LACKING | OWED)
            verdicts |= outcomes(then, supposed) if chosen & TRUE else 0
            return verdicts | (outcomes(other_branch, supposed) if chosen & FALSE else 0)
        case _:
            return _leaf(tree, supposed)


def _read(name: Name, supposed: Supposition) -> int:
    signal = name.signal
    if signal.constant is not None:
        return _VALUE
    if signal.slot == supposed.blamed:
        return OWED
    if signal.slot in supposed.absent:
        return LACKING

    return _VALUE | LACKING if signal.optional else _VALUE


def _turned(verdicts: int) -> int:
    return verdicts & (LACKING | OWED) | (FALSE if verdicts & TRUE else 0) | (TRUE if verdicts & FALSE else 0)


def _joined(settling: int, other: int, left: int, right: int) -> int:
    verdicts = (left | right) & settling
    left, right = left & ~settling, right & ~settling
    if left and right:
        verdicts |= (left | right) & OWED
        if (left | right) & LACKING and left & (LACKING | other) and right & (LACKING | other):
            verdicts |= LACKING
        verdicts |= left & right & other

    return verdicts


def _leaf(tree: Expr, supposed: Supposition) -> int:
    slots = {name.signal.slot for name in names(tree) if name.signal.constant is None}
    if not slots:
        return TRUE if evaluate(tree, lambda _: None) else FALSE
    if len(slots) == 1 and (values := supposed.known.get(next(iter(slots)))) is not None and tree.kind is Kind.BOOL:
        held = {evaluate(tree, dict.fromkeys(slots, value).get) for value in values}
        return (TRUE if True in held else 0) | (FALSE if False in held else 0)
    operands = [outcomes(part, supposed) for part in parts(tree)]
    caused = 0
    for operand in operands:
        caused |= operand & (LACKING | OWED)

    return caused | (_VALUE if all(operand & _VALUE for operand in operands) else 0)


def reads(tree: Expr) -> Iterator[Name]:
    """
    Yield every name whose value *tree* reads, as often as it is written; `has` does not read the value.
    """
    if isinstance(tree, Name):
        yield tree
    elif not isinstance(tree, Has):
        for part in parts(tree):
            yield from reads(part)
