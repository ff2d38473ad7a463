"""
The typed tree of a guard, and its canonical text.

Only parts of checked guards have a node here, so code that walks a tree meets no case that `check` should have refused.
Offsets and lengths count code points of the text the tree came from; they are no part of a tree's identity.

Invariants:

1. `canonical` is a fixed point: its text, checked again, gives an equal tree.
2. Only a `Name` can introduce an undetermined value; only `Logic`, `Choice` and `Has` can absorb one.
3. Numbers are finite doubles and never negative as a `Literal`; durations are whole microseconds.  Arithmetic may
   overflow to infinity as IEEE 754 says, and a comparison with a NaN born from that does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal as OneOf
from typing import assert_never

from meshwalk.model import Value
from meshwalk.model.signals import Kind, Signal


Comparison = OneOf["==", "!=", "<", "<=", ">", ">="]
Arithmetic = OneOf["+", "-", "*"]
Connective = OneOf["&&", "||"]
TextTest = OneOf["startsWith", "endsWith", "contains", "matches"]

_PER_SECOND = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    offset: int = field(compare=False)
    length: int = field(compare=False)

    @property
    def kind(self) -> Kind:
        """
        Return the type of the value; most nodes are conditions.
        """
        return Kind.BOOL


@dataclass(frozen=True, slots=True)
class Name(_Placed):
    """
    A signal's name; one with a constant is a threshold and is not read from a walk.
    """

    signal: Signal

    @property
    def kind(self) -> Kind:
        """
        Return the type of the value.
        """
        return self.signal.kind


@dataclass(frozen=True, slots=True)
class Literal(_Placed):
    """
    A value the author wrote.
    """

    value: Value
    type: Kind

    @property
    def kind(self) -> Kind:
        """
        Return the type of the value.
        """
        return self.type


@dataclass(frozen=True, slots=True)
class Not(_Placed):
    """
    A negated condition.
    """

    operand: Expr


@dataclass(frozen=True, slots=True)
class Logic(_Placed):
    """
    Two or more joined conditions; a part is never itself a `Logic` of the same operator.
    """

    op: Connective
    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Choice(_Placed):
    """
    A choice between two values of the same type.
    """

    test: Expr
    then: Expr
    other: Expr

    @property
    def kind(self) -> Kind:
        """
        Return the type of the value.
        """
        return self.then.kind


@dataclass(frozen=True, slots=True)
class Compare(_Placed):
    """
    A comparison of two values of the same type.
    """

    op: Comparison
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Arith(_Placed):
    """
    Arithmetic with numbers, or a sum or difference of durations.
    """

    op: Arithmetic
    left: Expr
    right: Expr

    @property
    def kind(self) -> Kind:
        """
        Return the type of the value.
        """
        return self.left.kind


@dataclass(frozen=True, slots=True)
class Neg(_Placed):
    """
    A negated number.
    """

    operand: Expr

    @property
    def kind(self) -> Kind:
        """
        Return the type of the value.
        """
        return Kind.NUMBER


@dataclass(frozen=True, slots=True)
class In(_Placed):
    """
    A test whether a value is one of a list.
    """

    needle: Expr
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Has(_Placed):
    """
    A test whether a signal has a value.
    """

    name: Name


@dataclass(frozen=True, slots=True)
class Probe(_Placed):
    """
    A test of a text for a part of it; the argument of `matches` is a `Literal` that RE2 knows as a pattern.
    """

    method: TextTest
    subject: Expr
    argument: Expr


@dataclass(frozen=True, slots=True)
class Size(_Placed):
    """
    The count of characters (code points) of a text.
    """

    subject: Expr

    @property
    def kind(self) -> Kind:
        """
        Return the type of the value.
        """
        return Kind.NUMBER


Expr = Name | Literal | Not | Logic | Choice | Compare | Arith | Neg | In | Has | Probe | Size


def parts(expr: Expr) -> tuple[Expr, ...]:
    """
    Return the nodes directly below *expr*, as they stand in the text.
    """
    match expr:
        case Name() | Literal():
            return ()
        case Not(operand=below) | Neg(operand=below) | Has(name=below) | Size(subject=below):
            return (below,)
        case Logic(parts=several):
            return several
        case Choice(test=test, then=then, other=other):
            return (test, then, other)
        case Compare(left=left, right=right) | Arith(left=left, right=right):
            return (left, right)
        case In(needle=needle, items=items):
            return (needle, *items)
        case Probe(subject=subject, argument=argument):
            return (subject, argument)
        case _:
            assert_never(expr)


def names(expr: Expr) -> Iterator[Name]:
    """
    Yield every name in *expr*, as often as it is written.
    """
    if isinstance(expr, Name):
        yield expr
    for below in parts(expr):
        yield from names(below)


# Precedence, as in the grammar of CEL; a comparison and `in` share a level and group to the left.
_CHOICE, _OR, _AND, _RELATION, _SUM, _PRODUCT, _UNARY, _TIGHT = range(8)


def canonical(expr: Expr) -> str:
    """
    Write *expr* as CEL: one spacing, no needless parentheses, numbers and durations in their shortest form.
    """
    return _write(expr, _CHOICE)


def _write(expr: Expr, level: int) -> str:
    text, binds = _written(expr)

    return text if binds >= level else f"({text})"


def _written(expr: Expr) -> tuple[str, int]:
    match expr:
        case Name(signal=signal):
            return signal.name, _TIGHT
        case Literal(value=value, type=type):
            return worded(value, type), _TIGHT
        case Not(operand=operand):
            return f"!{_write(operand, _TIGHT)}", _UNARY
        case Neg(operand=operand):
            return f"-{_write(operand, _TIGHT)}", _UNARY
        case Logic(op=op, parts=several):
            binds = _AND if op == "&&" else _OR
            return f" {op} ".join(_write(part, binds + 1) for part in several), binds
        case Choice(test=test, then=then, other=other):
            return f"{_write(test, _OR)} ? {_write(then, _OR)} : {_write(other, _CHOICE)}", _CHOICE
        case Compare(op=op, left=left, right=right):
            return f"{_write(left, _RELATION)} {op} {_write(right, _SUM)}", _RELATION
        case Arith(op=op, left=left, right=right):
            binds = _PRODUCT if op == "*" else _SUM
            return f"{_write(left, binds)} {op} {_write(right, binds + 1)}", binds
        case In(needle=needle, items=items):
            listed = ", ".join(canonical(item) for item in items)
            return f"{_write(needle, _RELATION)} in [{listed}]", _RELATION
        case Has(name=name):
            return f"has({name.signal.name})", _TIGHT
        case Probe(method=method, subject=subject, argument=argument):
            return f"{_write(subject, _TIGHT)}.{method}({canonical(argument)})", _TIGHT
        case Size(subject=subject):
            return f"size({canonical(subject)})", _TIGHT
        case _:
            assert_never(expr)


def worded(value: Value, kind: Kind) -> str:
    """
    Write *value* as the CEL literal that stands for it.
    """
    match kind:
        case Kind.BOOL:
            return "true" if value else "false"
        case Kind.TEXT:
            return _quoted(str(value))
        case Kind.DURATION:
            return f"duration('{span(int(value))}')"
        case Kind.NUMBER:
            return repr(float(value)).removesuffix(".0")


def span(micros: int) -> str:
    """
    Write a time in seconds, as exactly as it is.
    """
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), _PER_SECOND)
    fraction = f".{rest:06}".rstrip("0") if rest else ""

    return f"{sign}{whole}{fraction}s"


_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _quoted(text: str) -> str:
    return "'" + "".join(_ESCAPES.get(char) or (char if char.isprintable() else _escaped(char)) for char in text) + "'"


def _escaped(char: str) -> str:
    code = ord(char)

    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
