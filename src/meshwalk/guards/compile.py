"""
A guard's tree as a Python code object.

The code is built as Python syntax directly, never as text, and asks nothing that the types have settled: a name that is
always determined is a plain index into the walk's values, a threshold is a constant, and a guard over such names is the
expression one would write by hand.  Where a value may be undetermined, it is bound once and tested once:

    output.confidence >= 0.8 && request.task == 'a'
    lambda values: values[1] == 'a' and (None if (_0 := values[3]) is None else _0 >= 0.8)

Conditions have no effects and cannot fail, so the order in which `&&` and `||` ask their parts is ours: the determined ones
first, as they need no third value.

Assumed of the values: each has its signal's kind, numbers are finite, durations are whole microseconds, and only a signal
declared optional is ever None.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import assert_never

from meshwalk.guards.tree import (
    Arith,
    Choice,
    Compare,
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
    names,
)
from meshwalk.model import Value
from meshwalk.model.patterns import compile_pattern
from meshwalk.model.signals import Signal


Test = Callable[[Sequence[Value | None]], bool | None]

# The nodes that are undetermined if any of their operands is.
_Strict = Name | Literal | Not | Compare | Arith | Neg | In | Has | Probe | Size

_OPERATORS: Mapping[str, ast.cmpop] = {
    "==": ast.Eq(),
    "!=": ast.NotEq(),
    "<": ast.Lt(),
    "<=": ast.LtE(),
    ">": ast.Gt(),
    ">=": ast.GtE(),
}
_ARITHMETIC: Mapping[str, ast.operator] = {"+": ast.Add(), "-": ast.Sub(), "*": ast.Mult()}
_METHODS = {"startsWith": "startswith", "endsWith": "endswith"}
_ARGUMENT = "values"


def compile_test(tree: Expr, slots: Mapping[str, int]) -> Test:
    """
    Turn *tree* into a function of a walk's values that says whether the guard holds, or None where that is undetermined.

    Args:
        slots: The index of each slot's value.
    """
    used = {name.signal.slot for name in names(tree) if name.signal.constant is None}

    return _compiled(tree, tuple(sorted((slot, slots[slot]) for slot in used)))


@lru_cache(maxsize=8192)
def _compiled(tree: Expr, slots: tuple[tuple[str, int], ...]) -> Test:
    body, _ = _Writer(dict(slots)).write(tree)
    arguments = ast.arguments(posonlyargs=[], args=[ast.arg(_ARGUMENT)], kwonlyargs=[], kw_defaults=[], defaults=[])
    expression = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, body)))
    # The code was made above from a checked tree; no text of the author's is in it but constants.
    test: Test = eval(compile(expression, "<guard>", "eval"), {"__builtins__": {}, "len": len, "matches": _matches})  # noqa: S307

    return test


def _matches(pattern: str, text: str) -> bool:
    # Compiled patterns are kept, and this one was compiled when the guard was checked.
    return compile_pattern(pattern).matches(text)


class _Writer:
    """
    A writer of one guard as Python syntax; each part carries whether it can be None.
    """

    def __init__(self, slots: Mapping[str, int]) -> None:
        self._slots = slots
        self._fresh = count()

    def write(self, expr: Expr) -> tuple[ast.expr, bool]:
        """
        Write *expr*, and say whether it may turn out None.
        """
        match expr:
            case Name(signal=signal):
                return self._load(expr), _may_be_none(signal)
            case Logic(op=op, parts=several):
                return self._logic(op, [self.write(part) for part in several])
            case Choice():
                return self._choice(expr)
            case _:
                unbound: dict[str, ast.expr] = {}
                body = self._plain(expr, unbound)
                return _unless_none(unbound, body), bool(unbound)

    def _load(self, name: Name) -> ast.expr:
        if name.signal.constant is not None:
            return ast.Constant(name.signal.constant)

        return ast.Subscript(_read(_ARGUMENT), ast.Constant(self._slots[name.signal.slot]), ast.Load())

    def _strict(self, expr: Expr, unbound: dict[str, ast.expr]) -> ast.expr:
        """
        Write an operand that makes its operator None by being None; then it is bound to a local in *unbound* first.
        """
        match expr:
            case Name(signal=signal) if _may_be_none(signal):
                local = f"_{self._slots[signal.slot]}"
                unbound.setdefault(local, self._load(expr))
                return _read(local)
            case Logic() | Choice():
                written, may_be_none = self.write(expr)
                if not may_be_none:
                    return written
                local = self._local()
                unbound[local] = written
                return _read(local)
            case _:
                return self._plain(expr, unbound)

    def _plain(self, expr: _Strict, unbound: dict[str, ast.expr]) -> ast.expr:
        """
        Write an operator over operands that are all determined once *unbound* is bound.
        """
        match expr:
            case Name():
                return self._load(expr)
            case Literal(value=value):
                return ast.Constant(value)
            case Has(name=name):
                return self._has(name)
            case Not(operand=operand):
                return ast.UnaryOp(ast.Not(), self._strict(operand, unbound))
            case Neg(operand=operand):
                return ast.UnaryOp(ast.USub(), self._strict(operand, unbound))
            case Compare(op=op, left=left, right=right):
                return ast.Compare(self._strict(left, unbound), [_OPERATORS[op]], [self._strict(right, unbound)])
            case Arith(op=op, left=left, right=right):
                return ast.BinOp(self._strict(left, unbound), _ARITHMETIC[op], self._strict(right, unbound))
            case In(needle=needle, items=items):
                listed = [self._strict(item, unbound) for item in items]
                return ast.Compare(self._strict(needle, unbound), [ast.In()], [ast.Tuple(listed, ast.Load())])
            case Probe(method="contains", subject=subject, argument=argument):
                return ast.Compare(self._strict(argument, unbound), [ast.In()], [self._strict(subject, unbound)])
            case Probe(method="matches", subject=subject, argument=argument):
                return ast.Call(_read("matches"), [self._strict(argument, unbound), self._strict(subject, unbound)], [])
            case Probe(method=method, subject=subject, argument=argument):
                method_call = ast.Attribute(self._strict(subject, unbound), _METHODS[method], ast.Load())
                return ast.Call(method_call, [self._strict(argument, unbound)], [])
            case Size(subject=subject):
                return ast.Call(_read("len"), [self._strict(subject, unbound)], [])
            case _:
                assert_never(expr)

    def _choice(self, expr: Choice) -> tuple[ast.expr, bool]:
        unbound: dict[str, ast.expr] = {}
        test = self._strict(expr.test, unbound)
        (then, then_doubtful), (other, other_doubtful) = self.write(expr.then), self.write(expr.other)

        return _unless_none(unbound, ast.IfExp(test, then, other)), bool(unbound) or then_doubtful or other_doubtful

    def _has(self, name: Name) -> ast.expr:
        if not _may_be_none(name.signal):
            return ast.Constant(True)

        return ast.Compare(self._load(name), [ast.IsNot()], [ast.Constant(None)])

    def _logic(self, op: Connective, parts: Sequence[tuple[ast.expr, bool]]) -> tuple[ast.expr, bool]:
        doubtful = [part for part, may_be_none in parts if may_be_none]
        joined = [part for part, may_be_none in parts if not may_be_none]
        join = ast.And() if op == "&&" else ast.Or()
        # One that may be None can stand last as it is: all before it said that it decides.
        joined += doubtful if len(doubtful) < 2 else [self._several(op, doubtful)]

        return joined[0] if len(joined) == 1 else ast.BoolOp(join, joined), bool(doubtful)

    def _several(self, op: Connective, doubtful: Sequence[ast.expr]) -> ast.expr:
        """
        Join parts of which more than one may be None: one that settles it does so wherever it stands.
        """
        bound = {self._local(): part for part in doubtful}
        values: list[ast.expr] = [ast.NamedExpr(_bind(local), part) for local, part in bound.items()]
        locals: list[ast.expr] = [_read(local) for local in bound]
        if op == "&&":
            settled = ast.BoolOp(ast.Or(), [_is(value, ast.Constant(False)) for value in values])
            # Each is True or None by now, and `and` gives the first None.
            return ast.IfExp(settled, ast.Constant(False), ast.BoolOp(ast.And(), locals))
        open = ast.BoolOp(ast.Or(), [_is(local, ast.Constant(None)) for local in locals])
        rest = ast.IfExp(open, ast.Constant(None), ast.Constant(False))

        return ast.IfExp(ast.BoolOp(ast.Or(), values), ast.Constant(True), rest)

    def _local(self) -> str:
        return f"__{next(self._fresh)}"


def _may_be_none(signal: Signal) -> bool:
    return signal.optional and signal.constant is None


def _read(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _bind(name: str) -> ast.Name:
    return ast.Name(name, ast.Store())


def _is(value: ast.expr, constant: ast.Constant) -> ast.expr:
    return ast.Compare(value, [ast.Is()], [constant])


def _unless_none(unbound: Mapping[str, ast.expr], body: ast.expr) -> ast.expr:
    """
    Write *body* after binding its locals, and None if one of them is None.
    """
    if not unbound:
        return body
    missing = [_is(ast.NamedExpr(_bind(local), value), ast.Constant(None)) for local, value in unbound.items()]

    return ast.IfExp(missing[0] if len(missing) == 1 else ast.BoolOp(ast.Or(), missing), ast.Constant(None), body)
