"""
The CEL specification's own tests, asked of our guards.

A test is run if our checker takes its expression, and then the compiled guard and the slow evaluator must both say what the
specification says.  A value that is no condition is asked for with `(expression) == value`.  Where the specification wants an
error, the guard must be undetermined, or refused for its types; a name that nothing binds is a signal without a value.

Nothing here is sorted by its name: what is left out, and why, is what the checker says of the expression.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from meshwalk.guards import Expr, GuardFault, GuardFaults, check, compile_test, evaluate
from meshwalk.guards.tree import worded
from meshwalk.model import Value as Known
from meshwalk.model.signals import Kind, Signal
from tests.guards.textproto import Message, Value, parse


# Why a test is left out, by the construct that the checker names; the first that fits counts.
REASONS = (
    ("bytes", "bytes"),
    ("an unsigned number", "uint"),
    ("null", "null"),
    ("a whole number that a double cannot hold", "int64 past the doubles"),
    ("a list, except", "lists outside `in`"),
    ("`in` without a list", "`in` of a map"),
    ("a map or a message", "maps and messages"),
    ("division", "/ and %"),
    ("the remainder", "/ and %"),
    ("indexing", "indexing"),
    ("texts joined", "text +"),
    ("the macro", "macros"),
    ("the function dyn()", "dyn"),
    ("the function", "other functions"),
    ("the method", "other functions"),
    ("a field of a value", "fields of values"),
    ("a leading dot", "leading dots"),
    ("optional values", "optional values"),
)
MIXED = "mixed types"
UNKNOWN = "unknown values"

# Bindings of other types have no signal to stand for them.
_BINDINGS = {
    "bytes_value": "bytes",
    "uint64_value": "uint",
    "null_value": "null",
    "list_value": "lists outside `in`",
    "map_value": "maps and messages",
    "object_value": "maps and messages",
}
_ERRORS = ("eval_error", "any_eval_errors")


@dataclass(frozen=True)
class Case:
    """
    Hold one test of the specification.

    Args:
        value: What the expression gives; None for an error.
    """

    name: str
    expr: str
    bindings: dict[str, Message]
    value: Message | None
    unknown: bool


@dataclass
class Report:
    """
    Say what became of a file's tests.
    """

    run: list[str] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return len(self.run) + self.excluded.total() + len(self.differences)

    def __str__(self) -> str:
        rows = [f"{count:5}  {reason}" for reason, count in self.excluded.most_common()]

        return "\n".join([f"{len(self.run):5}  run", *rows, *self.differences])


def run_file(path: Path) -> Report:
    """
    Run every test in the file at *path*.
    """
    return run_text(path.read_text(encoding="utf-8"))


def run_text(text: str) -> Report:
    """
    Run every test in *text*.
    """
    report = Report()
    for case in _cases(parse(text)):
        outcome = _Outcome(case)
        if outcome.reason:
            report.excluded[outcome.reason] += 1
        elif outcome.difference:
            report.differences.append(f"{case.name}: {case.expr}: {outcome.difference}")
        else:
            report.run.append(case.name)

    return report


def _cases(file: Message) -> Iterator[Case]:
    for section in _messages(file.get("section", ())):
        for test in _messages(section.get("test", ())):
            bindings = {_text(bound["key"]): _message(_message(bound["value"])["value"]) for bound in _bindings(test)}
            value = None if any(error in test for error in _ERRORS) else _expected(test)
            name = f"{_text(section['name'])}/{_text(test['name'])}"
            yield Case(name, _text(test["expr"]), bindings, value, unknown="unknown" in test or "any_unknowns" in test)


def _bindings(test: Message) -> Iterator[Message]:
    return _messages(test.get("bindings", ()))


def _expected(test: Message) -> Message:
    if "typed_result" in test:
        return _message(_message(test["typed_result"])["result"])

    # A test that says nothing expects `true`.
    return _message(test["value"]) if "value" in test else {"bool_value": ["true"]}


def _messages(values: Iterable[Value]) -> Iterator[Message]:
    for value in values:
        assert not isinstance(value, bytes | str)
        yield value


def _message(values: Iterable[Value]) -> Message:
    return next(_messages(values))


def _text(values: Iterable[Value]) -> str:
    return b"".join(value for value in values if isinstance(value, bytes)).decode()


class _Outcome:
    """
    Run one test; without a *reason* and a *difference* it went as the specification says.
    """

    def __init__(self, case: Case) -> None:
        self.reason = UNKNOWN if case.unknown else ""
        self.difference = ""
        self._signals: dict[str, Signal] = {}
        self._values: dict[str, Known] = {}
        for name, value in case.bindings.items():
            self._bind(name, value)
        if not self.reason:
            self._run(case)

    def _bind(self, name: str, value: Message) -> None:
        ((type, values),) = value.items()
        if type in _BINDINGS:
            self.reason = _BINDINGS[type]
            return
        kind, known = _known(type, values)
        self._values[name] = known
        self._signals[name] = Signal(name, kind, name, "the test")

    def _run(self, case: Case) -> None:
        text, wanted = _condition(case)
        tree, faults = self._check(text)
        if tree is None and {fault.code for fault in faults} == {"not-a-condition"}:
            # An error is wanted of a value: then nothing can be said of it either.
            tree, faults = self._check(f"({case.expr}) == ({case.expr})")
        if tree is None:
            self._refused(case, faults)
            return
        compiled, slow = self._ask(tree)
        if (compiled, slow) != (wanted, wanted):
            self.difference = f"compiled says {compiled}, evaluated says {slow}, the specification {wanted}"

    def _check(self, text: str) -> tuple[Expr | None, tuple[GuardFault, ...]]:
        try:
            return check(text, self._signals).tree, ()
        except GuardFaults as caught:
            unbound = {text[one.offset : one.offset + one.length] for one in caught.faults if one.code == "unknown-signal"}
            if not unbound or len(unbound) < len(caught.faults):
                return None, caught.faults
            self._signals |= {name: Signal(name, Kind.BOOL, name, "nobody", optional=True) for name in unbound}
            return self._check(text)

    def _refused(self, case: Case, faults: tuple[GuardFault, ...]) -> None:
        constructs = [found[1] for fault in faults if (found := re.match("a guard cannot use (.*)", fault.message))]
        if constructs:
            self.reason = next((reason for start, reason in REASONS if constructs[0].startswith(start)), "")
        elif {fault.code for fault in faults} <= {"type-mismatch", "unknown-signal"}:
            # For the specification a type fault may be an error of the evaluation.
            self.reason = MIXED if case.value is not None else ""
            return
        if not self.reason:
            self.difference = "; ".join(f"refused: {fault.message} [{fault.code}]" for fault in faults)

    def _ask(self, tree: Expr) -> tuple[bool | None, Known | None]:
        slots = {name: index for index, name in enumerate(self._signals)}
        values = [self._values.get(name) for name in slots]

        return compile_test(tree, slots)(values), evaluate(tree, self._values.get)


def _condition(case: Case) -> tuple[str, bool | None]:
    """
    Return the guard that asks what *case* asks, and what it must say.
    """
    if case.value is None:
        return case.expr, None
    if "bool_value" in case.value:
        return case.expr, case.value["bool_value"] == ["true"]

    return f"({case.expr}) == {_literal(case.value)}", True


def _known(type: str, values: list[Value]) -> tuple[Kind, Known]:
    (value,) = values
    match type, value:
        case "string_value", bytes():
            return Kind.TEXT, value.decode()
        case "bool_value", str():
            return Kind.BOOL, value == "true"
        case "int64_value" | "double_value", str():
            return Kind.NUMBER, float(value)
        case _:
            raise ValueError(f"a {type} is bound, which the specification did not have")


def _literal(value: Message) -> str:
    """
    Write an expected value as CEL; one that guards do not have is there to be refused.
    """
    ((type, values),) = value.items()
    match type:
        case "null_value":
            return "null"
        case "bytes_value":
            return "b''"
        case "uint64_value":
            return f"{values[0]!s}u"
        case "int64_value":
            return str(values[0])
        case "list_value":
            listed = _message(values).get("values", ())
            return f"[{', '.join(_literal(item) for item in _messages(listed))}]"
        case "string_value" | "bool_value" | "double_value":
            kind, known = _known(type, values)
            return worded(known, kind)
        case _:
            return "{}"
