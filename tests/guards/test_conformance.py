"""
Guards agree with the CEL specification's own tests, as far as these lie in the subset.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.guards.conformance import MIXED, REASONS, UNKNOWN, run_file, run_text
from tests.guards.textproto import parse


# How many tests of each file are run today.  Fewer would mean that the language has lost something.
LEAST = {"basic": 26, "comparisons": 95, "lists": 4, "logic": 16, "macros": 0, "string": 27}


@pytest.fixture(scope="session")
def suite(shared_data: Path) -> Path:
    """
    Give the folder of the specification's files; other files put there are run, too.
    """
    folder = shared_data / "cel-conformance"
    if not folder.is_dir():
        pytest.skip("the CEL specification's tests are not here: shared/data has no folder cel-conformance")

    return folder


def test_every_file_agrees(suite: Path) -> None:
    """
    No test that lies in the subset goes otherwise than the specification says, and each other one has a known reason.
    """
    reports = {path.stem: run_file(path) for path in sorted(suite.glob("*.textproto"))}
    known = {reason for _, reason in REASONS} | {MIXED, UNKNOWN}

    assert set(LEAST) <= reports.keys()
    for name, report in reports.items():
        assert [] == report.differences, f"{name}\n{report}"
        assert report.excluded.keys() <= known, f"{name}\n{report}"


@pytest.mark.parametrize("name", LEAST)
def test_as_many_are_run(suite: Path, name: str) -> None:
    """
    Each test of a file is run or left out for a reason, and no fewer are run than were.
    """
    path = suite / f"{name}.textproto"
    report = run_file(path)

    assert path.read_text(encoding="utf-8").count("\n  test {") == report.total, report
    assert LEAST[name] <= len(report.run), report


def _suite(*tests: str) -> str:
    return 'name: "ours"\nsection { name: "s" ' + " ".join(f'test {{ name: "t" {test} }}' for test in tests) + " }"


@pytest.mark.parametrize(
    "test",
    [
        'expr: "1 < 2"',
        'expr: "1 < 2" value { bool_value: true }',
        "expr: \"size('abc')\" value: { int64_value: 3 }",
        "expr: \"x == 'a' ? 1 : 2\" bindings { key: 'x' value: { value: { string_value: 'a' } } } value { int64_value: 1 }",
        'expr: "x || true" disable_check: true value { bool_value: true }',
        'expr: "x" disable_check: true eval_error { errors { message: "undeclared" } }',
        'expr: "!0 && \'a\'" eval_error { errors { message: "no matching overload" } }',
        'expr: "1.5" typed_result { result { double_value: 1.5 } deduced_type { primitive: DOUBLE } }',
    ],
)
def test_test_in_the_subset_is_run(test: str) -> None:
    """
    Values, conditions, bindings, unbound names and errors are asked as the specification means them.
    """
    report = run_text(_suite(test))

    assert (["s/t"], Counter(), []) == (report.run, report.excluded, report.differences)


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ('expr: "[1].all(e, e > 0)"', "macros"),
        ('expr: "1u" value { uint64_value: 1 }', "uint"),
        ('expr: "dyn(1u) == 1"', "dyn"),
        ("expr: \"'a' + 'b'\" value { string_value: 'ab' }", "text +"),
        ('expr: "[1, 2]" value { list_value { values: [{ int64_value: 1 }, { int64_value: 2 }] } }', "lists outside `in`"),
        ("expr: \"{'a': 1}\" value { map_value { } }", "maps and messages"),
        ("expr: \"b'a'\" value { bytes_value: 'a' }", "bytes"),
        ('expr: "null" value { null_value: NULL_VALUE }', "null"),
        ('expr: "9223372036854775807 == 9223372036854775806" value { bool_value: false }', "int64 past the doubles"),
        ('expr: "x == x" bindings { key: "x" value { value { null_value: NULL_VALUE } } }', "null"),
        ('expr: "1 / 0 == 1" eval_error { }', "/ and %"),
        ("expr: \"'a' && false\" disable_check: true value { bool_value: false }", MIXED),
        ('expr: "x" unknown { exprs: 1 }', UNKNOWN),
    ],
)
def test_test_outside_the_subset_is_left_out(test: str, reason: str) -> None:
    """
    What guards do not have is left out for the reason that the checker gives.
    """
    report = run_text(_suite(test))

    assert ([], Counter([reason]), []) == (report.run, report.excluded, report.differences)


@pytest.mark.parametrize(
    ("test", "difference"),
    [
        ('expr: "1 < 2" value { bool_value: false }', "compiled says True, evaluated says True, the specification False"),
        ('expr: "1 + 1" value { int64_value: 3 }', "compiled says False"),
        ('expr: "true" eval_error { }', "compiled says True, evaluated says True, the specification None"),
        ('expr: "1 <" value { bool_value: true }', "refused: this guard ends where more is expected [guard-syntax]"),
        ("expr: \"duration('4x') == duration('4s')\"", "refused: '4x' is not a duration [bad-duration]"),
    ],
)
def test_difference_is_seen(test: str, difference: str) -> None:
    """
    A test that goes otherwise is reported, with what was said and what should have been.
    """
    report = run_text(_suite(test))

    assert (1, []) == (report.total, report.run)
    assert report.differences[0].startswith("s/t: ")
    assert difference in report.differences[0]


def test_text_format_is_read() -> None:
    """
    Comments, both brackets, separators, lists, joined texts and every escape are read as protocol buffers have them.
    """
    text = """
    # a comment
    a: 1, b { c: -2.5e+1; d < e: NULL_VALUE > }
    a: [2, 3]
    s: "x\\n\\x41\\101\\u00e9" 'it''s' "\\"\\xff"
    [type.googleapis.com/x.Y] { }
    """

    read = parse(text)

    assert ["1", "2", "3"] == read["a"]
    assert [{"c": ["-2.5e+1"], "d": [{"e": ["NULL_VALUE"]}]}] == read["b"]
    assert [b'x\nAA\xc3\xa9its"\xff'] == read["s"]
    assert [{}] == read["[type.googleapis.com/x.Y]"]


@pytest.mark.parametrize("text", ["a {", 'a: "b', "a: %"])
def test_broken_text_format_is_refused(text: str) -> None:
    """
    A text that breaks off is no empty suite.
    """
    with pytest.raises(ValueError, match="text"):
        parse(text)
