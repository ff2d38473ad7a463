"""
The guard language as its two tables: what there is and what it means, and what there is not and what to write instead.

The README prints the same rows.
"""

from __future__ import annotations

from typing import get_args

import pytest

from meshwalk.guards import Checked, GuardFaults, check, compile_test, evaluate
from meshwalk.guards.tree import Arithmetic, Comparison, Connective, Expr, TextTest, parts
from meshwalk.model import Value
from tests.guards.guard_samples import SLOTS, VISIBLE


# `request.team`, `signals.depth` and `hop.small.agree` have no value.
KNOWN: dict[str, Value] = {
    "request.task": "reasoning",
    "request.size": 800.0,
    "request.urgent": True,
    "signals.tokens": 12.0,
    "elapsed": 1_500_000,
    "deadline.left": 4_000_000,
    "hop.small.confidence": 0.31,
}
UNDETERMINED = None

SUPPORTED = [
    # names and literals
    ("request.urgent", True),
    ("thresholds.confident == 0.8", True),
    ("request.size == 800 && request.size == 8e2 && request.size == 0x320 && request.size == 800.0", True),
    ("signals.depth > 0", UNDETERMINED),
    ("request.task == 'reasoning' && request.task == \"reasoning\" && request.task == r'reasoning'", True),
    ("request.task == '''reasoning''' && '\\u0041\\x42\\103' == 'ABC'", True),
    ("true && !false", True),
    ("request.urgent // always so", True),
    # durations
    ("duration('1h') == duration('60m') && duration('1.5s') == duration('1s500ms')", True),
    ("duration('-250000us') == duration('-0.25s')", True),
    ("elapsed + duration('1s') < deadline.left", True),
    ("deadline.left - elapsed >= duration('2500ms')", True),
    # comparisons
    ("request.size != 800", False),
    ("output.confidence < thresholds.confident", True),
    ("output.confidence <= 0.31 && output.confidence >= 0.31", True),
    ("output.confidence > 0.31", False),
    ("'a' < 'b' && 'B' < 'a' && 'a' < 'ab'", True),
    ("false < true && request.urgent == true", True),
    # arithmetic
    ("request.size * 2 + 1 - 600 == 1001", True),
    ("-signals.tokens == 0 - 12", True),
    ("request.size * 0.5 == 400", True),
    ("1e308 * 10 > 1e308", True),
    # connectives: what settles them does so beside an undetermined part
    ("request.urgent && hop.small.agree", UNDETERMINED),
    ("request.size == 0 && hop.small.agree", False),
    ("hop.small.agree || request.urgent", True),
    ("!hop.small.agree", UNDETERMINED),
    ("(true || false) && false", False),
    # choice
    ("request.urgent ? signals.tokens > 10 : signals.depth > 10", True),
    ("hop.small.agree ? true : true", UNDETERMINED),
    ("(request.urgent ? 0.2 : 0.9) < output.confidence", True),
    # lists
    ("request.task in ['reasoning', 'retrieval']", True),
    ("request.size in [1, 2, 800]", True),
    ("elapsed in [duration('1s'), duration('2s')]", False),
    ("request.urgent in [false]", False),
    ("request.task in []", False),
    ("request.team in ['a']", UNDETERMINED),
    ("request.size in [signals.tokens, 800,]", True),
    # presence
    ("has(request.team)", False),
    ("has(output.confidence) && output.confidence < 0.5", True),
    ("!has(request.team) || request.team == 'a'", True),
    # text
    ("request.task.startsWith('rea')", True),
    ("request.task.endsWith('ing')", True),
    ("request.task.contains('son')", True),
    ("request.task.matches('^rea.*g$')", True),
    ("matches(request.task, 's.n')", True),
    ("request.task.matches('^son')", False),
    ("request.task.matches(r'\\w{9}')", True),
    ("request.team.matches('a')", UNDETERMINED),
    ("size(request.task) == 9 && request.task.size() == 9 && size('é\U0001f600') == 2", True),
]

FOREIGN = "not-in-subset"
REFUSED = [
    ("request.size / 2 > 1", FOREIGN, "division", "multiply"),
    ("request.size % 2 == 0", FOREIGN, "the remainder %", "attribute"),
    ("request.task + '!' == 'reasoning!'", FOREIGN, "texts joined with +", "compare the parts"),
    (
        "request.task.matches(request.team)",
        "bad-pattern",
        "matches() takes a pattern that is written out",
        "text.matches('^a.*')",
    ),
    ("request.task.matches('rea(?=s)')", "bad-pattern", "it looks ahead or behind", "put a group"),
    ("matches(request.task, '(rea')", "bad-pattern", "a ( is never closed", ""),
    ("['a', 'b'].exists(x, x == request.task)", FOREIGN, "the macro exists()", "name in ['a', 'b']"),
    ("['a', 'b'].all(x, x == request.task)", FOREIGN, "the macro all()", "&& or ||"),
    ("[1].exists_one(x, x > 0)", FOREIGN, "the macro exists_one()", "&& or ||"),
    ("size([1].map(x, x)) == 1", FOREIGN, "the macro map()", "&& or ||"),
    ("size([1].filter(x, x > 0)) == 1", FOREIGN, "the macro filter()", "&& or ||"),
    ("['a'] == ['a']", FOREIGN, "a list, except to the right of `in`", "in ['a', 'b']"),
    ("size(['a', 'b']) == 2", FOREIGN, "a list, except to the right of `in`", "in ['a', 'b']"),
    ("request.task in request.team", FOREIGN, "`in` without a list", "text.contains('a')"),
    ("request.task[0] == 'r'", FOREIGN, "indexing", "a name of its own"),
    ("{'a': 1} == {'a': 1}", FOREIGN, "a map or a message", "a signal of its own"),
    ("request.team == null", FOREIGN, "null", "has(name)"),
    ("request.?team == 'a'", FOREIGN, "optional values", "has(name)"),
    ("request.size == 800u", FOREIGN, "an unsigned number", "leave the u out"),
    ("request.size == 9007199254740993", FOREIGN, "a whole number that a double cannot hold", "9007199254740992"),
    ("request.task == b'reasoning'", FOREIGN, "bytes", "without the b"),
    ("int(request.size) == 800", FOREIGN, "the function int()", "as it is"),
    ("string(request.size) == '800'", FOREIGN, "the function string()", "as it is"),
    ("dyn(request.size) == 800", FOREIGN, "the function dyn()", "as it is"),
    ("type(request.size) == 1", FOREIGN, "the function type()", "as it is"),
    ("timestamp('2026-01-01T00:00:00Z') == 1", FOREIGN, "the function timestamp()", "deadline.left"),
    ("elapsed.getSeconds() > 1", FOREIGN, "the method getSeconds()", "duration('4s')"),
    ("startsWith(request.task, 'r')", FOREIGN, "the function startsWith()", "text.startsWith(...)"),
    ("request.task.lowerAscii() == 'a'", FOREIGN, "the method lowerAscii()", "guards have"),
    (".request.size > 1", FOREIGN, "a leading dot", "leave the dot out"),
    ("request.size == '800'", "type-mismatch", "compares a number with text", "without quotes"),
    ("elapsed * 2 > duration('1s')", "type-mismatch", "* does not take a duration and a number", "durations take + and -"),
    ("elapsed > 4", "type-mismatch", "compares a duration with a number", "elapsed > duration('4s')"),
    ("request.urgent ? 1 : 'a' == 'b'", "type-mismatch", "both values of ?: must have one type", ""),
    ("elapsed > duration('4 seconds')", "bad-duration", "'4 seconds' is not a duration", "duration('4s')"),
    ("request.task == 'reasonin'", "unknown-member", "'reasonin' is not a value of 'request.task'", "did you mean 'reasoning'"),
    ("request.sise > 1", "unknown-signal", "unknown signal 'request.sise'", "did you mean 'request.size'"),
    ("request.size + 1", "not-a-condition", "this guard is a number", "compare it"),
    ("request.urgent and true", "guard-syntax", "'and' is not expected here", "&&"),
]


@pytest.mark.parametrize(("text", "verdict"), SUPPORTED)
def test_what_there_is(text: str, verdict: bool | None) -> None:
    """
    Each construct is taken and means what its row says, compiled or not.
    """
    checked = check(text, VISIBLE)

    assert verdict is compile_test(checked.tree, SLOTS)([KNOWN.get(slot) for slot in SLOTS])
    assert verdict is evaluate(checked.tree, KNOWN.get)


@pytest.mark.parametrize(("text", "code", "construct", "instead"), REFUSED)
def test_what_there_is_not(text: str, code: str, construct: str, instead: str) -> None:
    """
    Each construct outside is refused by its name, with what to write instead.
    """
    with pytest.raises(GuardFaults) as caught:
        check(text, VISIBLE)
    fault = caught.value.faults[0]

    assert code == fault.code
    assert construct in fault.message
    assert instead in fault.help


def _used(expr: Expr) -> set[str]:
    word = getattr(expr, "op", None) or getattr(expr, "method", None) or ""

    return {type(expr).__name__, word}.union(*(_used(below) for below in parts(expr)))


def test_table_is_complete() -> None:
    """
    Every kind of node and every operator that a tree can hold stands in the table of what there is.
    """
    trees = [checked.tree for checked in _checked()]
    operators = {*get_args(Arithmetic), *get_args(Comparison), *get_args(Connective), *get_args(TextTest)}

    assert {kind.__name__ for kind in get_args(Expr)} | operators <= set[str]().union(*(_used(tree) for tree in trees))


def _checked() -> list[Checked]:
    return [check(text, VISIBLE) for text, _ in SUPPORTED]
