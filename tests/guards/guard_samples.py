"""
Signals, values and random guards that the tests of this room share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from hypothesis import strategies as st

from meshwalk.guards.tree import (
    Arith,
    Arithmetic,
    Choice,
    Compare,
    Comparison,
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
from meshwalk.model import Value
from meshwalk.model.signals import Kind, Signal


TASKS = ("retrieval", "reasoning")


def signals(*several: Signal) -> dict[str, Signal]:
    return {signal.name: signal for signal in several}


VISIBLE: Mapping[str, Signal] = signals(
    Signal("request.task", Kind.TEXT, "request.task", "the caller", members=TASKS),
    Signal("request.team", Kind.TEXT, "request.team", "the caller", optional=True),
    Signal("request.size", Kind.NUMBER, "request.size", "the caller"),
    Signal("request.urgent", Kind.BOOL, "request.urgent", "the caller"),
    Signal("thresholds.confident", Kind.NUMBER, "thresholds.confident", "the author", constant=0.8),
    Signal("signals.tokens", Kind.NUMBER, "signals.tokens", "node 'intake'", optional=True),
    Signal("signals.depth", Kind.NUMBER, "signals.depth", "node 'intake'", optional=True),
    Signal("elapsed", Kind.DURATION, "elapsed", "the engine's clock"),
    Signal("deadline.left", Kind.DURATION, "deadline.left", "the engine's clock", optional=True),
    Signal("hop.small.agree", Kind.BOOL, "hop.small.agree", "node 'small'", optional=True),
    Signal("output.confidence", Kind.NUMBER, "hop.small.confidence", "node 'small'", optional=True),
)

# The same without members, for random guards that compare with any text.
OPEN: Mapping[str, Signal] = {name: replace(signal, members=()) for name, signal in VISIBLE.items()}

# Every slot's index in a walk's values; a threshold has none.
SLOTS = {signal.slot: index for index, signal in enumerate(one for one in VISIBLE.values() if one.constant is None)}

# Few values, so that random comparisons are often equal.
_NUMBERS = st.sampled_from([0.0, 0.25, 0.8, 1.0, 3.0, 800.0, 1e-7, 9.1e15, 1e300])
_TEXTS = st.sampled_from(["", "a", "ab", "reasoning", "it's", 'say "x"', "é\n\\", "\U0001f600\x00"])
_PATTERNS = st.sampled_from(["", "a", "^a+b?$", "é.", "(?i)REA|son", r"\w+\s", "[^a-z]", "'", r"\pL{2}", "(?s)^.{1,9}$"])
_MICROS = st.sampled_from([0, 1, 250_000, 4_000_000, 5_400_000_000])
_BY_KIND: Mapping[Kind, st.SearchStrategy[Any]] = {
    Kind.NUMBER: _NUMBERS | st.floats(-1e6, 1e6),
    # The CEL library's binding cuts a text it is given at a NUL, so no value that it must agree on has one.
    Kind.TEXT: (_TEXTS | st.text(max_size=4)).map(lambda text: text.replace("\x00", "")),
    Kind.BOOL: st.booleans(),
    Kind.DURATION: _MICROS,
}


def _values(signal: Signal, *, determined: bool) -> st.SearchStrategy[Value | None]:
    kind = st.sampled_from(signal.members) if signal.members else _BY_KIND[signal.kind]

    return kind if determined or not signal.optional else st.none() | kind


def contexts(*, determined: bool = False) -> st.SearchStrategy[dict[str, Value | None]]:
    """
    Draw a value for each slot; None only where the signal may be undetermined.
    """
    slots = {signal.slot: _values(signal, determined=determined) for signal in VISIBLE.values() if signal.constant is None}

    return st.fixed_dictionaries(slots)


def _name(kind: Kind) -> st.SearchStrategy[Expr]:
    return st.sampled_from([Name(offset=0, length=0, signal=signal) for signal in OPEN.values() if signal.kind is kind])


def _literal(kind: Kind) -> st.SearchStrategy[Expr]:
    written = {Kind.NUMBER: _NUMBERS, Kind.TEXT: _TEXTS, Kind.BOOL: st.booleans(), Kind.DURATION: _MICROS}
    values: st.SearchStrategy[Any] = written[kind]

    return values.map(lambda value: Literal(offset=0, length=0, value=value, type=kind))


def _pattern(text: str) -> Expr:
    return Literal(offset=0, length=0, value=text, type=Kind.TEXT)


def _operators(kind: Kind, below: Mapping[Kind, st.SearchStrategy[Expr]]) -> st.SearchStrategy[Expr]:
    @st.composite
    def choice(draw: st.DrawFn) -> Expr:
        return Choice(offset=0, length=0, test=draw(below[Kind.BOOL]), then=draw(below[kind]), other=draw(below[kind]))

    @st.composite
    def arith(draw: st.DrawFn) -> Expr:
        ops: tuple[Arithmetic, ...] = ("+", "-", "*") if kind is Kind.NUMBER else ("+", "-")
        op = draw(st.sampled_from(ops))
        return Arith(offset=0, length=0, op=op, left=draw(below[kind]), right=draw(below[kind]))

    match kind:
        case Kind.NUMBER:
            sizes = below[Kind.TEXT].map(lambda text: Size(offset=0, length=0, subject=text))
            return st.one_of(choice(), arith(), below[kind].map(negated), sizes)
        case Kind.DURATION:
            return choice() | arith()
        case Kind.TEXT:
            return choice()
        case Kind.BOOL:
            return choice() | _conditions(below)


def _conditions(below: Mapping[Kind, st.SearchStrategy[Expr]]) -> st.SearchStrategy[Expr]:
    @st.composite
    def compare(draw: st.DrawFn) -> Expr:
        side = below[draw(st.sampled_from(Kind))]
        return Compare(offset=0, length=0, op=draw(st.sampled_from(get_args(Comparison))), left=draw(side), right=draw(side))

    @st.composite
    def listed(draw: st.DrawFn) -> Expr:
        side = below[draw(st.sampled_from(Kind))]
        return In(offset=0, length=0, needle=draw(side), items=tuple(draw(st.lists(side, max_size=3))))

    @st.composite
    def probe(draw: st.DrawFn) -> Expr:
        method, text = draw(st.sampled_from(get_args(TextTest))), below[Kind.TEXT]
        argument = _PATTERNS.map(_pattern) if method == "matches" else text
        return Probe(offset=0, length=0, method=method, subject=draw(text), argument=draw(argument))

    has = st.sampled_from([Has(offset=0, length=0, name=Name(offset=0, length=0, signal=one)) for one in OPEN.values()])
    logic = st.builds(joined, st.sampled_from(["&&", "||"]), st.lists(below[Kind.BOOL], min_size=2, max_size=4))

    return st.one_of(compare(), logic, logic, listed(), probe(), below[Kind.BOOL].map(turned), has)


def negated(expr: Expr) -> Expr:
    return expr.operand if isinstance(expr, Neg) else Neg(offset=0, length=0, operand=expr)


def turned(expr: Expr) -> Expr:
    return expr.operand if isinstance(expr, Not) else Not(offset=0, length=0, operand=expr)


def joined(op: Any, several: list[Expr]) -> Expr:
    """
    Join parts as `check` does: a part of the same operator is taken apart.
    """
    parts: list[Expr] = []
    for part in several:
        parts += part.parts if isinstance(part, Logic) and part.op == op else [part]

    return Logic(offset=0, length=0, op=op, parts=tuple(parts))


def _grown(depth: int) -> Mapping[Kind, st.SearchStrategy[Expr]]:
    level = leaves = {kind: _name(kind) | _literal(kind) for kind in Kind}
    for _ in range(depth):
        level = {kind: leaves[kind] | _operators(kind, level) for kind in Kind}

    return level


_TREES = _operators(Kind.BOOL, _grown(2))


def trees() -> st.SearchStrategy[Expr]:
    """
    Draw a guard as `check` would give it, with an operator at its top.
    """
    return _TREES
