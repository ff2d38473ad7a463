"""
The form of a guard given types: each part becomes a node of the tree, or a fault.

A part at fault is None from there on, and None agrees with everything, so that one fault is said once and the rest is still
looked at.  What the CEL library does not check is checked here: names, members of an enum, the text of a duration, the subset.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import get_args

from meshwalk.guards import faults
from meshwalk.guards.faults import GuardFault, Stretch
from meshwalk.guards.syntax import Apply, Foreign, Leaf, Listing, Term
from meshwalk.guards.tokens import Sort, Token
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
)
from meshwalk.model.patterns import PatternFault, compile_pattern
from meshwalk.model.signals import Kind, Signal


_COMPARISONS: Mapping[str, Comparison] = {f"_{op}_": op for op in get_args(Comparison)}
_ARITHMETIC: Mapping[str, Arithmetic] = {f"_{op}_": op for op in get_args(Arithmetic)}
_CONNECTIVES: Mapping[str, Connective] = {f"_{op}_": op for op in get_args(Connective)}
_TESTS: Mapping[str, TextTest] = {name: name for name in get_args(TextTest)}

_LITERALS: Mapping[Sort, Kind] = {Sort.NUMBER: Kind.NUMBER, Sort.TEXT: Kind.TEXT, Sort.BOOL: Kind.BOOL}

_FOREIGN_OPERATORS = {"_/_": "division", "_%_": "the remainder %", "_[_]": "indexing"}


class Elaboration:
    """
    The elaboration of one guard's form into its tree.
    """

    def __init__(self, tokens: Sequence[Token], visible: Mapping[str, Signal]) -> None:
        self.faults: list[GuardFault] = []
        self.kinds: dict[int, Kind] = {}
        self._tokens = tokens
        self._visible = visible

    def whole(self, form: Term) -> Expr | None:
        """
        Elaborate *form* as a guard, which must be a condition.
        """
        expr = self._expr(form)
        if expr is not None and expr.kind is not Kind.BOOL:
            self.faults.append(faults.not_a_condition(self._place(form), expr))

        return expr

    def _place(self, form: Term) -> Stretch:
        first, last = self._tokens[form.first], self._tokens[form.last]

        return Stretch(first.offset, last.offset + last.length - first.offset)

    def _expr(self, form: Term) -> Expr | None:
        match form:
            case Leaf(first=index):
                return self._leaf(index)
            case Listing():
                self._foreign(form, "a list, except to the right of `in`")
            case Foreign(construct=construct):
                self._foreign(form, construct)
            case Apply(op="f()") | Apply(op=".f()"):
                return self._called(form)
            case Apply():
                return self._operator(form)
        return None

    def _foreign(self, form: Term, construct: str) -> None:
        self.faults.append(faults.foreign(self._place(form), construct))

    def _leaf(self, index: int) -> Expr | None:
        token = self._tokens[index]
        match token.sort:
            case Sort.NAME:
                return self._name(index, token)
            case Sort.NUMBER | Sort.TEXT | Sort.BOOL:
                self.kinds[index] = kind = _LITERALS[token.sort]
                return Literal(value=token.value, type=kind, **token.place._asdict())
            case Sort.FOREIGN:
                self.faults.append(faults.foreign(token.place, token.text))
            case _:
                self.faults.append(faults.foreign(token.place, "a leading dot"))
        return None

    def _name(self, index: int, token: Token) -> Name | None:
        signal = self._visible.get(token.text)
        if signal is None:
            self.faults.append(faults.unknown_signal(token.place, token.text, self._visible))
            return None
        self.kinds[index] = signal.kind

        return Name(signal=signal, **token.place._asdict())

    # Operators

    def _operator(self, form: Apply) -> Expr | None:
        place = self._place(form)
        if form.op in _FOREIGN_OPERATORS:
            self._foreign(form, _FOREIGN_OPERATORS[form.op])
            return None
        if form.op == "@in":
            return self._in(form, place)
        operands = [self._expr(operand) for operand in form.operands]
        match form.op:
            case "!_":
                return self._not(operands[0], place)
            case "-_":
                return self._neg(operands[0], place)
            case "_?_:_":
                return self._choice(operands, place)
            case op if op in _CONNECTIVES:
                return self._logic(_CONNECTIVES[op], operands, place)
            case op if op in _COMPARISONS:
                return self._compare(_COMPARISONS[op], operands, place)
            case op:
                return self._arith(_ARITHMETIC[op], operands, place)

    def _typed(self, expr: Expr | None, kind: Kind, what: str) -> Expr | None:
        """
        Return *expr* if it is of *kind*; *what* says which part of the guard it is.
        """
        if expr is None or expr.kind is kind:
            return expr
        self.faults.append(faults.wrong_kind(_at(expr), what, kind, expr))
        return None

    def _not(self, operand: Expr | None, place: Stretch) -> Expr | None:
        operand = self._typed(operand, Kind.BOOL, "what stands after !")
        if operand is None:
            return None

        return operand.operand if isinstance(operand, Not) else Not(operand=operand, **place._asdict())

    def _neg(self, operand: Expr | None, place: Stretch) -> Expr | None:
        operand = self._typed(operand, Kind.NUMBER, "what stands after -")
        if operand is None:
            return None

        return operand.operand if isinstance(operand, Neg) else Neg(operand=operand, **place._asdict())

    def _logic(self, op: Connective, operands: Sequence[Expr | None], place: Stretch) -> Expr | None:
        parts: list[Expr] = []
        typed = [self._typed(operand, Kind.BOOL, f"what stands beside {op}") for operand in operands]
        for part in typed:
            if part is None:
                return None
            parts += part.parts if isinstance(part, Logic) and part.op == op else (part,)

        return Logic(op=op, parts=tuple(parts), **place._asdict())

    def _choice(self, operands: Sequence[Expr | None], place: Stretch) -> Expr | None:
        test, then, other = operands
        test = self._typed(test, Kind.BOOL, "what stands before ?")
        if then is None or other is None:
            return None
        if then.kind is not other.kind:
            kinds = f"{then.kind.value} and {other.kind.value}"
            self.faults.append(faults.mismatch(place, f"both values of ?: must have one type, and these are {kinds}"))
            return None

        return None if test is None else Choice(test=test, then=then, other=other, **place._asdict())

    def _compare(self, op: Comparison, operands: Sequence[Expr | None], place: Stretch) -> Expr | None:
        left, right = operands
        if left is None or right is None:
            return None
        if left.kind is not right.kind:
            self.faults.append(faults.compared(place, op, left, right))
            return None
        if op in {"==", "!="}:
            self._members(left, [right])
            self._members(right, [left])

        return Compare(op=op, left=left, right=right, **place._asdict())

    def _members(self, name: Expr, values: Sequence[Expr]) -> None:
        if not isinstance(name, Name) or not name.signal.members:
            return
        for value in values:
            if isinstance(value, Literal) and value.value not in name.signal.members:
                self.faults.append(faults.unknown_member(_at(value), str(value.value), name.signal))

    def _in(self, form: Apply, place: Stretch) -> Expr | None:
        needle = self._expr(form.operands[0])
        listing = form.operands[1]
        if not isinstance(listing, Listing):
            self.faults.append(faults.foreign(self._place(listing), "`in` without a list"))
            return None
        items = [self._expr(item) for item in listing.items]
        if needle is None:
            return None
        typed = [self._typed(item, needle.kind, "each value of this list") for item in items]
        fitting = [item for item in typed if item is not None]
        self._members(needle, fitting)
        if len(fitting) < len(items):
            return None

        return In(needle=needle, items=tuple(fitting), **place._asdict())

    def _arith(self, op: Arithmetic, operands: Sequence[Expr | None], place: Stretch) -> Expr | None:
        left, right = operands
        if left is None or right is None:
            return None
        kinds = {left.kind, right.kind}
        if kinds == {Kind.TEXT} and op == "+":
            self.faults.append(faults.foreign(place, "texts joined with +"))
            return None
        if kinds == {Kind.NUMBER} or (kinds == {Kind.DURATION} and op != "*"):
            return Arith(op=op, left=left, right=right, **place._asdict())
        message = f"{op} does not take {left.kind.value} and {right.kind.value}"
        self.faults.append(faults.mismatch(place, message, "numbers take + - *, durations take + and - among themselves"))
        return None

    # Functions and methods

    def _called(self, form: Apply) -> Expr | None:
        place, name, is_method = self._place(form), self._tokens[form.at].text, form.op == ".f()"
        # CEL has matches() as a function, too.
        if name in _TESTS and (is_method or name == "matches"):
            return self._test(_TESTS[name], form, place)
        if name == "size":
            return self._size(form, place)
        if name == "has" and not is_method:
            return self._has(form, place)
        if name == "duration" and not is_method:
            return self._duration(form, place)
        self.faults.append(faults.foreign_call(self._tokens[form.at].place, name, is_method=is_method))
        return None

    def _arity(self, form: Apply, count: int, usage: str) -> bool:
        if len(form.operands) == count:
            return True
        name = self._tokens[form.at].text
        self.faults.append(faults.mismatch(self._place(form), f"{name}() has a wrong number of values", f"write {usage}"))

        return False

    def _test(self, method: TextTest, form: Apply, place: Stretch) -> Expr | None:
        if not self._arity(form, 2, f"text.{method}('a')"):
            return None
        subject, argument = (self._expr(operand) for operand in form.operands)
        subject = self._typed(subject, Kind.TEXT, f"what stands before .{method}()")
        argument = self._typed(argument, Kind.TEXT, f"what {method}() looks for")
        if subject is None or argument is None or (method == "matches" and not self._is_pattern(argument)):
            return None

        return Probe(method=method, subject=subject, argument=argument, **place._asdict())

    def _is_pattern(self, argument: Expr) -> bool:
        """
        Tell whether *argument* is a written pattern, and report the fault if it is none.
        """
        place = _at(argument)
        if not isinstance(argument, Literal):
            help = "write text.matches('^a.*')"
            self.faults.append(faults.bad_pattern(place, "matches() takes a pattern that is written out", help))
            return False
        text = str(argument.value)
        try:
            compile_pattern(text)
        except PatternFault as fault:
            # With escapes in it the text is shorter than it stands there.
            if fault.position is not None and argument.length == len(text) + 2:
                place = Stretch(argument.offset + 1 + fault.position, 1)
            self.faults.append(faults.bad_pattern(place, f"{text!r} is no pattern: {fault.reason}", fault.remedy))
            return False

        return True

    def _size(self, form: Apply, place: Stretch) -> Expr | None:
        if not self._arity(form, 1, "size(text) or text.size()"):
            return None
        subject = self._typed(self._expr(form.operands[0]), Kind.TEXT, "what size() counts")
        if subject is None:
            return None

        return Size(subject=subject, **place._asdict())

    def _has(self, form: Apply, place: Stretch) -> Expr | None:
        if not self._arity(form, 1, "has(output.confidence)"):
            return None
        name = self._expr(form.operands[0])
        if name is None:
            return None
        if not isinstance(name, Name):
            self.faults.append(faults.mismatch(_at(name), "has() takes the name of a signal", "write has(output.confidence)"))
            return None

        return Has(name=name, **place._asdict())

    def _duration(self, form: Apply, place: Stretch) -> Expr | None:
        if not self._arity(form, 1, "duration('4s')"):
            return None
        text = self._expr(form.operands[0])
        if text is None:
            return None
        if not isinstance(text, Literal) or text.type is not Kind.TEXT:
            self.faults.append(faults.bad_duration(_at(text), "duration() takes a text that is written out"))
            return None
        time = micros(str(text.value))
        if isinstance(time, str):
            self.faults.append(faults.bad_duration(_at(text), time))
            return None

        return Literal(value=time, type=Kind.DURATION, **place._asdict())


def _at(expr: Expr) -> Stretch:
    return Stretch(expr.offset, expr.length)


_UNITS: Mapping[str, Fraction] = {
    "h": Fraction(3_600_000_000),
    "m": Fraction(60_000_000),
    "s": Fraction(1_000_000),
    "ms": Fraction(1_000),
    "us": Fraction(1),
    "ns": Fraction(1, 1_000),
}
_DURATION = re.compile(r"(-?)((?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|us|ns|s))+)")
_STEP = re.compile(r"([0-9.]+)([a-z]+)")

# The longest time that CEL has, ten thousand years.
_LONGEST = 315_576_000_000_000_000


def micros(text: str) -> int | str:
    """
    Read the text of a duration literal as whole microseconds, or say why it is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        return f"{text!r} is not a duration"
    exact = sum((Fraction(number) * _UNITS[unit] for number, unit in _STEP.findall(match[2])), Fraction())
    if exact.denominator != 1:
        return f"{text!r} is finer than a microsecond"
    if exact > _LONGEST:
        return f"{text!r} is longer than ten thousand years"

    return -int(exact) if match[1] else int(exact)
