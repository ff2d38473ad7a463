"""
Patterns are RE2's, whatever they hold, and a fault of one is named at its place.
"""

from __future__ import annotations

import re
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwalk.model.patterns import PatternFault, compile_pattern, stored_pattern
from meshwalk.plan import restore
from tests.support.plans import plan_of


@pytest.mark.parametrize(
    ("pattern", "text", "matched", "group"),
    [
        ("CONF: ([0-9.]+)", "é中 CONF: 0.5", "CONF: 0.5", "0.5"),
        ("^yes", "yes, é", "yes", None),
        ("(a)|b", "b", "b", None),
        ("(?i)É", "é", "é", None),
        (r"\pL+", "é中 x", "é中", None),
        ("no", "yes", None, None),
    ],
)
def test_matches(pattern: str, text: str, matched: str | None, group: str | None) -> None:
    """
    The first match is found, with its first group where that took part, in text of any script.
    """
    match = compile_pattern(pattern).search(text)

    assert (matched, group) == ((None, None) if match is None else match)
    assert (matched is not None) == compile_pattern(pattern).matches(text)


def test_all_matches_and_replacements() -> None:
    """
    Matches come from the left without overlaps, and are replaced as text, not as references to groups.
    """
    pattern = compile_pattern("(a+)b")

    assert ["a", "aa"] == [match.group for match in pattern.find_all("ab aab b")]
    assert "- - b" == pattern.replace("ab aab b", "-")


def test_halves_of_characters_match_as_unknown_ones() -> None:
    """
    Text that is no Unicode is matched all the same.
    """
    assert compile_pattern("a.b").matches("a\ud800b")
    assert "x?" == compile_pattern("é").replace("é\ud800", "x")


@pytest.mark.parametrize(
    ("pattern", "reason", "position", "foreign"),
    [
        ("ab(?=c)", "looks ahead", 2, True),
        ("(?<!a)b", "looks ahead or behind", 0, True),
        (r"(a)\1", "refers back", 3, True),
        ("(?P<x>a)(?P=x)", "refers back", 8, True),
        (r"yes\Z", r"\\Z is \\z", 3, True),
        (r"x\u00e9", "by its number", 1, True),
        ("(?x) a", "no such group", 0, True),
        ("a{1001}", "1000 times", 1, True),
        ("x(?>a)", "never backtracks", 1, True),
        ("a++", "never backtracks", 1, True),
        ("(yes", "never closed", 0, False),
        ("yes)", "closes nothing", 3, False),
        ("ab[c", "never closed", 2, False),
        ("*a", "nothing stands there", 0, False),
        ("a\\", "lone backslash", 1, False),
    ],
)
def test_faults(pattern: str, reason: str, position: int | None, foreign: bool) -> None:
    """
    A fault says what stands where; what Python knows and RE2 does not has a remedy.
    """
    with pytest.raises(PatternFault, match=reason) as caught:
        compile_pattern(pattern)

    assert foreign == caught.value.foreign
    assert foreign == bool(caught.value.remedy)
    assert position is None or position == caught.value.position


@pytest.mark.parametrize("pattern", ["(?:a?){1000}a{900}b", r"(?:\pL{30}|\pN)+x", "(?:[ab]{0,50}){20}[ab]{1000}c"])
def test_a_pattern_may_be_too_large(pattern: str) -> None:
    """
    A pattern that would take long for one text is refused, linear or not.
    """
    with pytest.raises(PatternFault, match="repeats too much"):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "(a|aa)+$", "(.*a){20}$", "(?:a?){300}a{300}b", "(a*)*b"])
def test_time_is_linear(pattern: str) -> None:
    """
    Patterns over which an engine with backtracking takes years are done at once.
    """
    compiled, text = compile_pattern(pattern), "a" * 4_000 + "!"
    before = perf_counter()
    compiled.matches(text)

    # Generous: it is some milliseconds.
    assert perf_counter() - before < 1


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_a_fault(text: str) -> None:
    """
    Nothing else is raised, and a fault's place lies in the text.
    """
    fault = None
    try:
        compile_pattern(text)
    except PatternFault as error:
        fault = error

    assert fault is None or fault.reason
    assert fault is None or fault.position is None or 0 <= fault.position <= len(text)


@given(st.text(alphabet="ab(|)*+?[]^.x-", max_size=12), st.text(alphabet="abx", max_size=12))
def test_common_patterns_match_as_before(pattern: str, text: str) -> None:
    """
    What both engines know, on one line of ASCII, matches at the same places.
    """
    try:
        ours, theirs = compile_pattern(pattern), re.compile(pattern)
    except (PatternFault, re.error):
        return

    assert (theirs.search(text) is not None) == ours.matches(text)


def test_a_stored_pattern_may_be_of_python() -> None:
    """
    A plan that an earlier version stored is still decided by its pattern.
    """
    assert stored_pattern("a(?=b)").matches("ab")
    assert "b" == stored_pattern(r"(?<=a)(b)").replace("abb", "")[1:]
    assert (match := stored_pattern(r"(.)\1", ignore_case=True).search("xaA")) is not None
    assert ("aA", "a") == match


def test_a_stored_plan_with_such_a_pattern_is_restored() -> None:
    """
    What `check` refuses in a new graph is read in a stored plan, so that its walks can be replayed.
    """
    plan = plan_of(
        """
        meshwalk: 1
        name: stated
        start: a
        backends:
          s: {kind: simulated}
        nodes:
          a: {role: answer, backend: s, confidence: {from: stated, pattern: "CONF: ([0-9.]+)"}, next: done}
        """
    )
    earlier = plan.canonical.replace(b"CONF: (", b"(?<=x)CONF: (")
    restored = restore(earlier)

    assert plan.canonical != earlier
    assert earlier == restored.canonical
