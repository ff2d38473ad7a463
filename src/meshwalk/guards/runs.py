"""
Guards that stand one after the other: a run of equalities of one signal is looked up and not tried one by one.

    request.task == 'a'    request.task == 'b'    request.task == 'c'
    {'a': (0,), 'b': (1,), 'c': (2,)}

What trying them would have found is known from where the one stands that holds: each before it does not hold, and none is
determined where the signal is not.  Equality here is Python's between values of one kind, as in a compiled guard, so a
dictionary finds what `==` finds (1 and 1.0 are one key).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from meshwalk.guards.tree import Compare, Expr, Literal, Name, Neg
from meshwalk.model import Value


# From this many on a lookup is quicker than trying: a table costs as much as two or three tries, however long it is.
WORTH_A_TABLE = 4


class Run(NamedTuple):
    """
    The guards from *start* to before *stop*.

    Args:
        slot: With *at*: the index of the signal's value.
        at: Where the guards stand that hold, in order, by that value; None has them tried one by one.
    """

    start: int
    stop: int
    slot: int = -1
    at: Mapping[Value, tuple[int, ...]] | None = None


def runs(trees: Sequence[Expr | None], slots: Mapping[str, int]) -> tuple[Run, ...]:
    """
    Cut *trees* into runs; nothing if all are to be tried one by one.

    Args:
        trees: None always holds.
        slots: The index of each slot's value.
    """
    result: list[Run] = []
    for run in _cut(trees, slots):
        if run.at is None and result and result[-1].at is None:
            run = Run(result.pop().start, run.stop)  # noqa: PLW2901 (what is tried one by one is one run)
        result.append(run)

    return () if all(run.at is None for run in result) else tuple(result)


def _cut(trees: Sequence[Expr | None], slots: Mapping[str, int]) -> Iterator[Run]:
    equalities = [None if tree is None else _equality(tree) for tree in trees]
    for slot, several in groupby(enumerate(equalities), key=lambda one: None if one[1] is None else one[1][0]):
        run = list(several)
        start, stop = run[0][0], run[-1][0] + 1
        if slot is None or len(run) < WORTH_A_TABLE:
            yield Run(start, stop)
            continue
        at: dict[Value, tuple[int, ...]] = {}
        for position, equal in run:
            assert equal is not None
            at[equal[1]] = (*at.get(equal[1], ()), position)
        yield Run(start, stop, slots[slot], at)


def _equality(tree: Expr) -> tuple[str, Value] | None:
    """
    Return the slot and the value that *tree* says are equal, if that is all that it says.
    """
    if not (isinstance(tree, Compare) and tree.op == "=="):
        return None
    for name, other in ((tree.left, tree.right), (tree.right, tree.left)):
        value = _constant(other)
        if isinstance(name, Name) and name.signal.constant is None and value is not None:
            return name.signal.slot, value

    return None


def _constant(tree: Expr) -> Value | None:
    match tree:
        case Literal(value=value):
            return value
        case Name(signal=signal):
            return signal.constant
        case Neg(operand=Literal(value=float(value))):
            return -value
        case _:
            return None
