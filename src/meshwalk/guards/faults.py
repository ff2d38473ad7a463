"""
The faults of a guard, each with its code and sentence.

Every fault is worded here, beside its code, so that the sentences agree with each other.  A fault's place counts code
points of the guard's text; the caller knows the guard's place in a file and turns that into a line and a column.

| code | says |
|---|---|
| `guard-syntax` | the text is not CEL |
| `guard-too-long`, `guard-too-deep` | it is more than anybody reads |
| `not-in-subset` | it is CEL that guards do not have |
| `unknown-signal`, `unknown-member` | a name or an enum's value is not there |
| `type-mismatch` | two types do not go together |
| `bad-duration` | a duration's text cannot be read |
| `not-a-condition` | it is neither true nor false |
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, get_args

from meshwalk.guards.tree import Choice, Compare, Comparison, Expr, In, Literal, Logic, Name, TextTest, canonical, worded
from meshwalk.model import ScopeKind
from meshwalk.model.signals import Kind, Signal


MAX_LENGTH = 4096
MAX_DEPTH = 24

_SHOWN = 12

_SUBSET = (
    "guards have && || !, == != < <= > >=, + - *, ?:, in [...], has(), size(), startsWith(), endsWith(), contains(), matches() "
    "and duration('4s')"
)

# Words of other languages, and CEL's for the same.
_HINTS: Mapping[str, str] = {
    "=": "write == to compare",
    "&": "write && for 'and'",
    "|": "write || for 'or'",
    "and": "write && for 'and'",
    "or": "write || for 'or'",
    "not": "write ! for 'not'",
    "is": "write == to compare",
    "True": "write true",
    "False": "write false",
}

# Replacements for CEL that guards do not have.
_INSTEAD: Mapping[str, str] = {
    "division": "multiply: x * 0.5 for x / 2",
    "the remainder %": "let the caller send what it says as an attribute",
    "indexing": "a signal holds one value; give each value a name of its own",
    "null": "ask has(name)",
    "optional values": "ask has(name)",
    "an unsigned number": "every number has one type; leave the u out",
    "bytes": "write a text without the b",
    "texts joined with +": "compare the parts: a == 'x' && b == 'y'",
    "a list, except to the right of `in`": "a list stands only in name in ['a', 'b']",
    "`in` without a list": "write in ['a', 'b'], or text.contains('a')",
    "a map or a message": "give each value a signal of its own",
    "a leading dot": "names are always whole; leave the dot out",
}
_MACROS = ("all", "exists", "exists_one", "map", "filter")
_CONVERSIONS = ("bool", "bytes", "double", "dyn", "int", "string", "type", "uint")
_TIMES = ("getHours", "getMinutes", "getSeconds", "getMilliseconds")
_INSTEAD_OF_CALL: Mapping[str, str] = {
    "timestamp": "the times a guard can read are elapsed and deadline.left",
    **dict.fromkeys(_MACROS, "write the cases out with && or ||, or ask name in ['a', 'b']"),
    **dict.fromkeys(_CONVERSIONS, "every signal has one type; compare it as it is"),
    **dict.fromkeys(_TIMES, "compare it with duration('4s')"),
}


_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class GuardFault(NamedTuple):
    """
    One fault of a guard: its place in the text, a stable code, one sentence, and the remedy if we know it.
    """

    offset: int
    length: int
    code: str
    message: str
    help: str


class GuardFaults(Exception):
    """
    The error for a guard whose text is at fault; *faults* holds every fault found, in the order of the text.
    """

    def __init__(self, faults: Iterable[GuardFault]) -> None:
        self.faults = tuple(sorted(dict.fromkeys(faults)))
        super().__init__("; ".join(f"{fault.message} [{fault.code}]" for fault in self.faults))


class Stretch(NamedTuple):
    """
    A stretch of the guard's text.
    """

    offset: int
    length: int


def hint(word: str) -> str:
    """
    Return the remedy for a *word* of another language, or nothing.
    """
    return _HINTS.get(word, "")


def syntax(place: Stretch, message: str, help: str = "") -> GuardFault:
    """
    Report that the text is not CEL.
    """
    return GuardFault(*place, "guard-syntax", message, help)


def too_long(length: int) -> GuardFault:
    """
    Report that the text is too long to be worth checking.
    """
    message = f"this guard has {length} characters, and a guard may have {MAX_LENGTH}"

    return GuardFault(MAX_LENGTH, length - MAX_LENGTH, "guard-too-long", message, "compare a classifier's signal instead")


def too_deep(place: Stretch) -> GuardFault:
    """
    Report that the text is nested too deeply.
    """
    message = "this guard is nested too deeply"
    help = f"brackets may stand {MAX_DEPTH} deep, and calculations need fewer operators in a row"

    return GuardFault(*place, "guard-too-deep", message, help)


def foreign(place: Stretch, construct: str, help: str = "") -> GuardFault:
    """
    Report that *construct* is CEL that guards do not have, with its replacement.
    """
    return GuardFault(*place, "not-in-subset", f"a guard cannot use {construct}", help or _INSTEAD.get(construct, _SUBSET))


def foreign_call(place: Stretch, name: str, *, is_method: bool) -> GuardFault:
    """
    Report that guards do not have the function, method or macro called *name*.
    """
    what = "the macro" if name in _MACROS else "the method" if is_method else "the function"
    help = f"write text.{name}(...)" if name in get_args(TextTest) else _INSTEAD_OF_CALL.get(name, "")

    return foreign(place, f"{what} {name}()", help)


def inexact(place: Stretch, nearest: float) -> GuardFault:
    """
    Report that a whole number lies between two doubles, so that a comparison would be with another one.
    """
    return foreign(place, "a whole number that a double cannot hold", f"the nearest that it can is {nearest:.0f}")


def mismatch(place: Stretch, message: str, help: str = "") -> GuardFault:
    """
    Report that types do not go together.
    """
    return GuardFault(*place, "type-mismatch", message, help)


def wrong_kind(place: Stretch, what: str, wanted: Kind, expr: Expr) -> GuardFault:
    """
    Report that one part of a guard has a type that does not fit there.
    """
    help = _as_condition(expr) if wanted is Kind.BOOL else ""

    return mismatch(place, f"{what} must be {wanted.value}, and this is {expr.kind.value}", help)


def compared(place: Stretch, op: Comparison, left: Expr, right: Expr) -> GuardFault:
    """
    Report that two types are compared.
    """
    why = {"==": "which is never true", "!=": "which is always true"}.get(op, "and neither comes before the other")

    return mismatch(place, f"this guard compares {left.kind.value} with {right.kind.value}, {why}", _alike(op, left, right))


def not_a_condition(place: Stretch, expr: Expr) -> GuardFault:
    """
    Report that the whole guard is neither true nor false.
    """
    message = f"this guard is {expr.kind.value}, and a guard must be true or false"

    return GuardFault(*place, "not-a-condition", message, _as_condition(expr))


def _operand(expr: Expr) -> str:
    text = canonical(expr)

    return f"({text})" if isinstance(expr, Choice | Logic | In) else text


def _as_condition(expr: Expr) -> str:
    text = _operand(expr)
    match expr.kind:
        case Kind.NUMBER:
            return f"compare it: {text} > 0"
        case Kind.TEXT:
            members = expr.signal.members if isinstance(expr, Name) else ()
            return f"compare it: {text} == {worded(members[0] if members else 'a', Kind.TEXT)}"
        case Kind.DURATION:
            return f"compare it: {text} > duration('1s')"
        case Kind.BOOL:
            return ""


_REWRITE: Mapping[tuple[Kind, Kind], str] = {
    (Kind.TEXT, Kind.NUMBER): "write the number without quotes",
    (Kind.TEXT, Kind.BOOL): "write it without quotes",
    (Kind.NUMBER, Kind.TEXT): "write the text in quotes",
    (Kind.TEXT, Kind.DURATION): "write it as a duration",
    (Kind.NUMBER, Kind.DURATION): "write a duration with its unit",
}


def _alike(op: Comparison, left: Expr, right: Expr) -> str:
    """
    Write the comparison as its author may have meant it, if one side is a literal.
    """
    example = op.join((" ", " "))
    if isinstance(left, Compare):
        return "join two comparisons with &&"
    if isinstance(right, Literal):
        wanted, text = (right.type, left.kind), _recast(right, left.kind)
        example = f"{_operand(left)}{example}{text}"
    elif isinstance(left, Literal):
        wanted, text = (left.type, right.kind), _recast(left, right.kind)
        example = f"{text}{example}{_operand(right)}"
    else:
        return ""

    return f"{_REWRITE[wanted]}: {example}" if text else ""


def _recast(literal: Literal, kind: Kind) -> str:
    """
    Write what stands in *literal* as a literal of *kind*, or nothing where that makes no sense.
    """
    plain = str(literal.value) if literal.type is Kind.TEXT else worded(literal.value, literal.type)
    match literal.type, kind:
        case Kind.NUMBER, Kind.TEXT:
            return worded(plain, kind)
        case Kind.NUMBER, Kind.DURATION:
            return f"duration('{plain}s')"
        case Kind.TEXT, Kind.NUMBER if _NUMBER.fullmatch(plain):
            return plain
        case Kind.TEXT, Kind.BOOL if plain in {"true", "false"}:
            return plain
        case Kind.TEXT, Kind.DURATION:
            return f"duration({worded(plain, Kind.TEXT)})"
        case _:
            return ""


def bad_duration(place: Stretch, why: str) -> GuardFault:
    """
    Report that a duration's text cannot be read.
    """
    help = "write a number and a unit, h, m, s, ms or us: duration('4s'), duration('1m30s'), duration('250ms')"

    return GuardFault(*place, "bad-duration", why, help)


def bad_pattern(place: Stretch, why: str, help: str = "") -> GuardFault:
    """
    Report that what stands in matches() is no pattern.
    """
    return GuardFault(*place, "bad-pattern", why, help)


def unknown_member(place: Stretch, value: str, signal: Signal) -> GuardFault:
    """
    Report that *signal* never has *value*.
    """
    message = f"{value!r} is not a value of '{signal.name}'"
    help = f"{_meant(value, signal.members)}it is one of: {', '.join(signal.members)}"

    return GuardFault(*place, "unknown-member", message, help)


def unknown_signal(place: Stretch, name: str, visible: Mapping[str, Signal]) -> GuardFault:
    """
    Report that a guard cannot read *name* at its place, with the names near it that it can read.
    """
    names = _names(tuple(visible))
    remark = _elsewhere(name, names) or _undeclared_budget(name, visible)
    if remark:
        return GuardFault(*place, "unknown-signal", f"'{name}' cannot be read here", remark)

    return GuardFault(*place, "unknown-signal", f"unknown signal '{name}'", _unknown_help(name, names, visible))


def _unknown_help(name: str, names: _NameIndex, visible: Mapping[str, Signal]) -> str:
    if hint(name):
        return hint(name)
    members = sorted(signal.name for signal in visible.values() if name in signal.members)
    if members:
        return f"write text in quotes: '{name}' is a value of {', '.join(members)}"

    return _meant(name, names.like(name)) + _readable(name, names, visible)


# Texts of a walk under the names that authors try.
_TEXTS = frozenset(
    f"{head}{tail}"
    for head in ("request.", "output.", "")
    for tail in ("prompt", "text", "content", "message", "messages", "question", "conversation")
)


def _elsewhere(name: str, names: _NameIndex) -> str:
    prefix, here = name.partition(".")[0], names.tops
    if name == "error.class":
        return "edges of `on_error` are chosen by their `class:`; guards stand on `next`, where the node has just succeeded"
    if name in _TEXTS:
        return (
            "guards do not see the text; let a classifier read it (use: features, use: model, or use: python with your own "
            "function) and compare the signals it writes"
        )
    if prefix == "output" and "output" not in here:
        return "the node that this edge leaves writes no outputs"
    if prefix == "signals" and "signals" not in here:
        return "no node of this graph writes signals; a `classifier` would"
    if prefix == "thresholds" and "thresholds" not in here:
        return "this graph declares no thresholds"

    return ""


def _meant(word: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = _closest(word, tuple(known)) or next((one for one in known if one.endswith(f".{word}")), "")

    return f"did you mean '{close}'? " if close else ""


@lru_cache(maxsize=256)
def _closest(word: str, known: tuple[str, ...]) -> str:
    # The same misspelling is often found a thousand times over.
    return next(iter(difflib.get_close_matches(word, known, 1, 0.7)), "")


def _undeclared_budget(name: str, visible: Mapping[str, Signal]) -> str:
    prefix, _, rest = name.partition(".")
    scope = rest.partition(".")[0]
    if prefix != "budget" or scope not in get_args(ScopeKind) or f"budget.{scope}.pressure" in visible:
        return ""

    return f"this graph declares no budget '{scope}'; write one under `budgets:`, such as {scope}: {{calls: 500}}"


class _NameIndex(NamedTuple):
    """
    The readable names of one place, by prefix and by last word.

    A large graph has thousands of names, and the nodes of one role read the same: to go through them all, or compare them
    all, for every misspelt one would take minutes.
    """

    every: tuple[str, ...]
    tops: frozenset[str]
    by_prefix: Mapping[str, list[str]]
    by_ending: Mapping[str, list[str]]

    def like(self, name: str) -> Sequence[str]:
        """
        Return the candidates for *name*: those of its own prefix, or those that end as it does.
        """
        prefix, _, last = name.rpartition(".")

        return self.by_prefix.get(prefix) or self.by_ending.get(last) or self.every


@lru_cache(maxsize=8)
def _names(every: tuple[str, ...]) -> _NameIndex:
    by_prefix: dict[str, list[str]] = {}
    by_ending: dict[str, list[str]] = {}
    for name in every:
        prefix, _, last = name.rpartition(".")
        by_ending.setdefault(last, []).append(name)
        while prefix:
            by_prefix.setdefault(prefix, []).append(name)
            prefix = prefix.rpartition(".")[0]

    return _NameIndex(every, frozenset(name.partition(".")[0] for name in every), by_prefix, by_ending)


def _readable(name: str, names: _NameIndex, visible: Mapping[str, Signal]) -> str:
    prefix = name.rpartition(".")[0]
    while prefix:
        if prefix in names.by_prefix:
            return _listed(prefix, [visible[known] for known in names.by_prefix[prefix]])
        prefix = prefix.rpartition(".")[0]

    return f"names here start with: {_few(names.tops)}" if names.tops else "no name can be read here"


def _listed(prefix: str, near: Sequence[Signal]) -> str:
    rests = {signal.name.removeprefix(f"{prefix}."): signal.writer for signal in near}
    if all("." in rest for rest in rests):
        return f"names here that start with {prefix}: {_few({rest.partition('.')[0] for rest in rests})}"
    by_writer: dict[str, list[str]] = {}
    for rest, writer in rests.items():
        by_writer.setdefault(writer, []).append(rest)

    return "; ".join(f"{writer} writes {prefix}: {_few(those)}" for writer, those in sorted(by_writer.items()))


def _few(words: Iterable[str]) -> str:
    words = sorted(words)

    return ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")
