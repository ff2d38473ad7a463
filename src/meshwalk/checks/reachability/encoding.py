"""
The guards of one node as formulas for z3, which is used here and nowhere else.

A condition becomes two formulas, when it is true and when it is false; where neither holds it is undetermined, exactly as
`guards.evaluate` has it.  What a formula allows is never less than what a walk can see, so what z3 finds impossible is:

- Comparisons are exact, because every double is a real number.
- Arithmetic on numbers rounds, so its result is any number between the bounds that the operands' ranges give (rounding is
  monotone, so bounds worked out in doubles hold), and may be NaN where something could overflow.
- Durations are whole microseconds, and exact.
- Texts are whole numbers that stand for them; what `<`, `startsWith` and the like say is known for the texts that the
  guards and the declarations name, and open for all others.

Each declared fact is an assumption with a sentence, so that a proof can say what it rests on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from math import isfinite
from operator import eq, ge, gt, le, lt, ne
from typing import Any, NamedTuple, cast

import z3

from meshwalk.guards.tree import (
    Arith,
    Choice,
    Compare,
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
    canonical,
)
from meshwalk.model import Node
from meshwalk.model.patterns import PatternFault, compile_pattern
from meshwalk.model.signals import Kind, Signal


_MOST = sys.float_info.max
_NO, _YES = z3.BoolVal(False), z3.BoolVal(True)
_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}


def _matches(text: str, pattern: str) -> bool:
    # Any text of the guards is asked about here, and most are no patterns.
    try:
        return compile_pattern(pattern).matches(text)
    except PatternFault:
        return False


_HOW: Mapping[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
    "matches": _matches,
    "<": str.__lt__,
}
# Past this many texts in the guards of one node, what one says of another stays open.
_MAX_TEXTS = 60


class Condition(NamedTuple):
    """
    A condition as two formulas: true, and false; it is undetermined otherwise.
    """

    true: Any
    false: Any

    @property
    def not_held(self) -> Any:
        """
        Return the formula that an edge with this guard is not taken.
        """
        return z3.Not(self.true)


class _Value(NamedTuple):
    """
    A value that is not a condition.

    Args:
        nan: When it is not a number.
        low: What a number is never below, worked out in doubles.
    """

    known: Any
    term: Any
    nan: Any = _NO
    low: float = -_MOST
    high: float = _MOST


class Formulas:
    """
    The formulas of the guards of *node*.

    Args:
        certain: The slots that surely have a value here.
        visits: How often a walk may be at each node.
    """

    def __init__(self, node: Node, certain: Iterable[str], visits: Mapping[str, int]) -> None:
        self._node = node
        self._certain = frozenset(certain)
        self._visits = visits
        self._solver = z3.Solver()
        self._solver.set("core.minimize", True)
        self._facts: dict[str, tuple[Any, str]] = {}
        self._texts: dict[str, int] = {}
        self._signals: dict[str, _Value] = {}
        self._bounded: set[str] = set()
        self._probes: dict[str, Any] = {}

    def condition(self, tree: Expr) -> Condition:
        """
        Return the formulas of a condition: true, and false.
        """
        match tree:
            case Literal(value=value):
                return Condition(z3.BoolVal(bool(value)), z3.BoolVal(not value))
            case Not(operand=operand):
                inner = self.condition(operand)
                return Condition(inner.false, inner.true)
            case Logic(op=op, parts=several):
                inner_parts = [self.condition(part) for part in several]
                true, false = [part.true for part in inner_parts], [part.false for part in inner_parts]
                both = op == "&&"
                return Condition(z3.And(true) if both else z3.Or(true), z3.Or(false) if both else z3.And(false))
            case Choice(test=test, then=then, other=other):
                chosen, first, second = self.condition(test), self.condition(then), self.condition(other)
                return Condition(*(
                    z3.Or(z3.And(chosen.true, one), z3.And(chosen.false, two)) for one, two in zip(first, second, strict=True)
                ))  # fmt: skip
            case Has(name=name):
                known = self._read(name.signal).known
                return Condition(known, z3.Not(known))
            case _:
                known, holds = self._holds(tree)
                return Condition(z3.And(known, holds), z3.And(known, z3.Not(holds)))

    def suppose(self, formula: Any, sentence: str) -> None:
        """
        Let all later questions rest on *formula*, which *sentence* says in words.
        """
        label = f"fact {len(self._facts)}"
        self._facts[label] = (formula, sentence)
        self._solver.add(z3.Implies(z3.Bool(label), formula))

    def seal(self) -> None:
        """
        Add the constraints on the texts that were named.
        """
        if len(self._texts) > _MAX_TEXTS:
            return
        for text, number in self._texts.items():
            if "size" in self._probes:
                self._solver.add(self._probes["size"](number) == len(text))
            for method, probe in self._probes.items():
                for other, argument in self._texts.items() if method != "size" else ():
                    self._solver.add(probe(number, argument) == _HOW[method](text, other))

    def reasons(self, formula: Any, milliseconds: int) -> list[str] | None:
        """
        Return the reasons why *formula* cannot hold, as sentences; None if it can.

        Raises:
            TimeoutError: If that could not be told in time.
        """
        self._solver.set("timeout", max(1, milliseconds))
        question = z3.Bool("asked")
        self._solver.push()
        try:
            self._solver.add(z3.Implies(question, formula))
            verdict = self._solver.check(question, *(z3.Bool(label) for label in self._facts))
            if verdict == z3.unknown:
                raise TimeoutError
            core = {str(label) for label in self._solver.unsat_core()} if verdict == z3.unsat else set()
        finally:
            self._solver.pop()
        if verdict == z3.sat:
            return None

        return [sentence for label, (_, sentence) in self._facts.items() if label in core]

    # ---- values -------------------------------------------------------------------------------------------------

    def _holds(self, tree: Expr) -> tuple[Any, Any]:
        match tree:
            case Name(signal=signal):
                read = self._read(signal)
                return read.known, read.term
            case Compare(op=op, left=left, right=right):
                one, two = self._value(left), self._value(right)
                if left.kind is Kind.TEXT and op not in ("==", "!="):
                    first, second = (one, two) if op in ("<", ">=") else (two, one)
                    before = self._probe("<", first.term, second.term)
                    return z3.And(one.known, two.known), before if op in ("<", ">") else z3.Not(before)
                nan = z3.Or(one.nan, two.nan)
                holds = _COMPARE[op](one.term, two.term)
                return z3.And(one.known, two.known), z3.Or(nan, holds) if op == "!=" else z3.And(z3.Not(nan), holds)
            case In(needle=needle, items=items):
                sought, listed = self._value(needle), [self._value(item) for item in items]
                known = z3.And(sought.known, *(item.known for item in listed))
                return known, z3.Or([z3.And(z3.Not(z3.Or(sought.nan, item.nan)), sought.term == item.term) for item in listed])
            case Probe(method=method, subject=subject, argument=argument):
                one, two = self._value(subject), self._value(argument)
                return z3.And(one.known, two.known), self._probe(method, one.term, two.term)
            case _:
                raise AssertionError(f"{canonical(tree)} is not a condition")

    def _probe(self, method: str, subject: Any, argument: Any) -> Any:
        probe = self._probes.setdefault(method, z3.Function(method, z3.IntSort(), z3.IntSort(), z3.BoolSort()))

        return probe(subject, argument)

    def _value(self, tree: Expr) -> _Value:
        if tree.kind is Kind.BOOL:
            condition = self.condition(tree)
            return _Value(z3.Or(condition.true, condition.false), z3.If(condition.true, z3.IntVal(1), z3.IntVal(0)))
        match tree:
            case Name(signal=signal):
                return self._read(signal)
            case Literal(value=value, type=kind):
                return _number(float(value)) if kind is Kind.NUMBER else _Value(_YES, self._whole(value))
            case Neg(operand=operand):
                inner = self._value(operand)
                return inner._replace(term=-inner.term, low=-inner.high, high=-inner.low)
            case Size(subject=subject):
                inner = self._value(subject)
                size = self._probes.setdefault("size", z3.Function("size", z3.IntSort(), z3.IntSort()))
                self._solver.add(size(inner.term) >= 0)
                return _Value(inner.known, z3.ToReal(size(inner.term)), low=0.0)
            case Choice(test=test, then=then, other=other):
                chosen, one, two = self.condition(test), self._value(then), self._value(other)
                known = z3.Or(z3.And(chosen.true, one.known), z3.And(chosen.false, two.known))
                term, nan = (z3.If(chosen.true, first, second) for first, second in ((one.term, two.term), (one.nan, two.nan)))
                return _Value(known, term, nan, min(one.low, two.low), max(one.high, two.high))
            case Arith(left=left, right=right):
                return self._calculated(tree, self._value(left), self._value(right))
            case _:
                raise AssertionError(f"{canonical(tree)} is a condition")

    def _calculated(self, tree: Arith, left: _Value, right: _Value) -> _Value:
        known = z3.And(left.known, right.known)
        if tree.kind is Kind.DURATION:
            return _Value(known, left.term + right.term if tree.op == "+" else left.term - right.term)
        corners = _corners(tree.op, left, right)
        low, high = (min(corners), max(corners)) if corners else (-_MOST, _MOST)
        if not corners or not isfinite(low) or not isfinite(high):
            # Something may overflow, and then become NaN further up.
            text = canonical(tree)
            nan = z3.Or(left.nan, right.nan, z3.Bool(f"nan {text}"))
            return _Value(known, z3.Real(f"= {text}"), nan, float("-inf"), float("inf"))
        if low == high:
            return _number(low)._replace(known=known)
        text = canonical(tree)
        term = z3.Real(f"= {text}")
        self._bound(f"= {text}", term, low, high, f"{text} lies in {low:g} to {high:g}")

        return _Value(known, term, _NO, low, high)

    def _bound(self, key: str, term: Any, low: float, high: float, sentence: str) -> None:
        sides = [term >= _exact(low)] if low > -_MOST else []
        sides += [term <= _exact(high)] if high < _MOST else []
        if sides and key not in self._bounded:
            self._bounded.add(key)
            self.suppose(z3.And(sides), sentence)

    def _whole(self, value: object) -> Any:
        if isinstance(value, str):
            return z3.IntVal(self._texts.setdefault(value, len(self._texts)))

        return z3.IntVal(int(cast("int", value)))

    # ---- signals ------------------------------------------------------------------------------------------------

    def _read(self, signal: Signal) -> _Value:
        key = signal.slot
        if key not in self._signals:
            self._signals[key] = self._declared(signal)
        value = self._signals[key]
        if not signal.optional and signal.slot not in self._certain:
            # Two names of one slot may differ in this: what leaves its own node has just been written.
            value = self._signals[key] = value._replace(known=_YES)

        return value

    def _declared(self, signal: Signal) -> _Value:
        slot = signal.slot
        known = z3.Bool(f"has {slot}") if signal.optional and slot not in self._certain else _YES
        if signal.constant is not None:
            term = z3.Real(slot)
            self.suppose(term == _exact(signal.constant), f"{signal.name} is {signal.constant:g}")
            return _Value(_YES, term, _NO, signal.constant, signal.constant)
        match signal.kind:
            case Kind.BOOL:
                return _Value(known, z3.Bool(slot))
            case Kind.DURATION:
                term = z3.Int(slot)
                if slot == "elapsed":
                    self.suppose(term >= 0, "elapsed is never negative")
                return _Value(known, term)
            case Kind.TEXT:
                return _Value(known, self._text(signal))
            case Kind.NUMBER:
                return self._ranged(signal, known)

    def _text(self, signal: Signal) -> Any:
        term = z3.Int(signal.slot)
        if signal.slot == f"hop.{self._node.name}.status":
            self.suppose(term == self._whole("ok"), f"'{self._node.name}' has just replied")
        elif signal.members:
            is_one = z3.Or([term == self._whole(member) for member in signal.members])
            self.suppose(is_one, f"{signal.name} is one of {', '.join(signal.members)}")

        return term

    def _ranged(self, signal: Signal, known: Any) -> _Value:
        term: Any = z3.Real(signal.slot)
        low, high = signal.range or (-_MOST, _MOST)
        head, _, last = signal.slot.rpartition(".")
        if last == "visits" and head.startswith("hop."):
            name = head.removeprefix("hop.")
            term = z3.ToReal(z3.Int(signal.slot))
            low, high = float(name == self._node.name), float(self._visits.get(name, _MOST))
        low, high = max(low, -_MOST), min(high, _MOST)
        sides = [term >= _exact(low)] if low > -_MOST else []
        sides += [term <= _exact(high)] if high < _MOST else []
        if sides:
            upper = f"in {low:g} to {high:g}" if high < _MOST else f"at {low:g} or above"
            self.suppose(z3.And(sides), f"{signal.name} lies {upper}")

        return _Value(known, term, _NO, low, high)


def _exact(value: float) -> Any:
    return z3.RealVal(str(Fraction(value)))


def _number(value: float) -> _Value:
    return _Value(_YES, _exact(value), _NO, value, value)


def _corners(op: str, left: _Value, right: _Value) -> list[float]:
    """
    Work out the ends of a result, or nothing where an end is out of reach.
    """
    sides = (left.low, left.high, right.low, right.high)
    if not all(isfinite(side) for side in sides):
        return []
    if op == "*":
        return [one * two for one in (left.low, left.high) for two in (right.low, right.high)]
    if op == "+":
        return [left.low + right.low, left.high + right.high]

    return [left.low - right.high, left.high - right.low]
