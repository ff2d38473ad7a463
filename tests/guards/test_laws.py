"""
Laws that hold for every guard: one spelling, one meaning, and no text that breaks the checker.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwalk.guards import Expr, GuardFault, GuardFaults, canonical, check
from tests.guards.guard_samples import OPEN, VISIBLE, trees


CODES = {
    "guard-syntax",
    "guard-too-long",
    "guard-too-deep",
    "not-in-subset",
    "unknown-signal",
    "unknown-member",
    "type-mismatch",
    "bad-duration",
    "not-a-condition",
}


@settings(max_examples=400, deadline=None)
@given(tree=trees())
def test_canonical_text_gives_the_same_tree(tree: Expr) -> None:
    """
    What `canonical` writes is taken by both checkers, means the same tree, and is written the same again.
    """
    text = canonical(tree)
    checked = check(text, OPEN)

    assert tree == checked.tree
    assert text == checked.canonical


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("request.size>1", "request.size > 1"),
        ("request . size\n > // how much\n 1.0", "request.size > 1"),
        ("request.size > 1e0", "request.size > 1"),
        ("request.size > 0x1F", "request.size > 31"),
        ("request.size > .5e-7", "request.size > 5e-08"),
        ("request.size > 9.1e15", "request.size > 9100000000000000"),
        ("request.size > 18014398509481984", "request.size > 1.8014398509481984e+16"),
        ("request.size > -(-1)", "request.size > 1"),
        ("request.size > - -1", "request.size > 1"),
        ("!(!(request.urgent))", "request.urgent"),
        ("((request.urgent)) && (true && (false))", "request.urgent && true && false"),
        ("(request.urgent || true) && false", "(request.urgent || true) && false"),
        ("request.urgent ? true : (false ? true : false)", "request.urgent ? true : false ? true : false"),
        ("(request.urgent ? true : false) ? true : false", "(request.urgent ? true : false) ? true : false"),
        ("1 - (2 - 3) * 4 < 0", "1 - (2 - 3) * 4 < 0"),
        ("(1 < 2) == (2 < 3)", "1 < 2 == (2 < 3)"),
        ("!(request.size > 1)", "!(request.size > 1)"),
        ('request.team == "it\'s"', "request.team == 'it\\'s'"),
        ("request.team in ['a','b',]", "request.team in ['a', 'b']"),
        ("request.team.size() > 1", "size(request.team) > 1"),
        ("(request.urgent ? 'a' : 'b').contains('a')", "(request.urgent ? 'a' : 'b').contains('a')"),
        ("elapsed > duration('1m0.5s')", "elapsed > duration('60.5s')"),
        ("elapsed > duration('-250ms')", "elapsed > duration('-0.25s')"),
    ],
)
def test_one_spelling(text: str, expected: str) -> None:
    """
    Spacing, needless parentheses and ways to write a number are no part of a guard.
    """
    assert expected == check(text, VISIBLE).canonical


def test_what_a_guard_reads() -> None:
    """
    A checked guard lists its slots and its names; a threshold has a name and no slot.
    """
    checked = check("output.confidence >= thresholds.confident && has(elapsed) && elapsed > duration('1s')", VISIBLE)

    assert ("elapsed", "hop.small.confidence") == checked.reads
    assert ("elapsed", "output.confidence", "thresholds.confident") == checked.names


def test_nodes_know_their_place() -> None:
    """
    A node points at its own characters, brackets of its operands included, in code points.
    """
    text = "request.team == '😀' && (request.size + 1) > 2"
    second = check(text, VISIBLE).tree.parts[1]  # type: ignore[union-attr]

    assert "(request.size + 1) > 2" == text[second.offset : second.offset + second.length]


def test_same_guard_is_checked_once() -> None:
    """
    The same text over the same signals is the same checked guard.
    """
    assert check("request.size > 77", dict(VISIBLE)) is check("request.size > 77", dict(VISIBLE))


_WORDS = [*VISIBLE, "size", "has", "duration", "startsWith", "all", "in", "null", "1", "2.5", "3u", "'a'", "'4s'", "b'x'", "//"]
_MARKS = ["&&", "||", "==", *"!-+*/%<?:.,()[]{}='\n"]
_TOKENS = st.lists(st.sampled_from(_WORDS + _MARKS), max_size=30)
_REPEATED = st.builds(
    str.__mul__, st.sampled_from(["(", "[", "!", "-", "1+", "1?1:", "f(", "a.", "'", "\\"]), st.integers(1, 2000)
)


def _found(text: str) -> tuple[GuardFault, ...]:
    try:
        check(text, VISIBLE)
    except GuardFaults as caught:
        return caught.faults

    return ()


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(text=st.one_of(st.text(max_size=60), _TOKENS.map(" ".join), _TOKENS.map("".join), _REPEATED))
def test_any_text_is_checked_or_refused(text: str) -> None:
    """
    Whatever an author writes is a guard or a list of faults, each with a known code and a place in the text.
    """
    for fault in _found(text):
        assert fault.code in CODES
        assert 0 <= fault.offset <= fault.offset + fault.length <= len(text) + 1


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(tree=trees(), cut=st.integers(0, 200), put=st.sampled_from(_WORDS + _MARKS))
def test_damaged_guard_is_checked_or_refused(tree: Expr, cut: int, put: str) -> None:
    """
    A guard with a word thrown in somewhere is a guard in its one spelling, or its faults lie in its text.
    """
    whole = canonical(tree)
    text = f"{whole[:cut]} {put} {whole[cut:]}"
    found = _found(text)

    assert all(fault.offset + fault.length <= len(text) + 1 for fault in found)
    if not found:
        spelt = check(text, VISIBLE).canonical
        assert spelt == check(spelt, VISIBLE).canonical
