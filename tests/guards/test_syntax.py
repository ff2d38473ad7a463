"""
The CEL library is asked twice, through one small door.
"""

from __future__ import annotations

import pytest

from meshwalk.guards import GuardFaults, check, syntax
from meshwalk.guards.syntax import Apply, Leaf, Refused, Term, checker, shape, typed_shape
from meshwalk.guards.tokens import tokenise
from meshwalk.model.signals import Kind
from tests.guards.guard_samples import VISIBLE


class _Contrary:
    """
    Read what the real checker reads, and refuse every type.
    """

    def __init__(self, index: int | None) -> None:
        self._index = index

    def parse(self, shape: str) -> Term:
        return checker().parse(shape)

    def judge(self, shape: str) -> None:
        raise Refused(f"found no matching overload in {shape}", self._index)


@pytest.mark.parametrize(("index", "offset", "length"), [(1, 13, 1), (None, 0, 17)])
def test_guard_needs_both_checkers(monkeypatch: pytest.MonkeyPatch, index: int | None, offset: int, length: int) -> None:
    """
    A guard that we take and the library does not is refused, where the library says.
    """
    contrary = _Contrary(index)
    monkeypatch.setattr(syntax, "checker", lambda: contrary)

    with pytest.raises(GuardFaults) as caught:
        check("request.size > 81", VISIBLE)

    (fault,) = caught.value.faults

    assert (offset, length, "type-mismatch") == fault[:3]
    assert "found no matching overload in n > n" in fault.message


def test_shape_hides_names_and_values() -> None:
    """
    The library sees one short word a token, so guards that differ in names only share a shape.
    """
    tokens = tokenise("output . confidence >= 0.8 && !request.team.contains('x')").tokens

    assert "x >= x && ! x . f ( x )" == shape(tokens)


def test_typed_shape_shows_kinds() -> None:
    """
    For types each name and literal stands for its kind, and functions keep their names.
    """
    tokens = tokenise("size('x') > 1 && has(elapsed)").tokens
    kinds = {2: Kind.TEXT, 5: Kind.NUMBER, 9: Kind.DURATION}

    assert "size_ ( t ) > n && has_ ( d )" == typed_shape(tokens, kinds)


def test_form_knows_its_tokens() -> None:
    """
    A part of a form spans its tokens, the brackets round its operands included.
    """
    form = checker().parse("( x + x ) > x")

    assert Apply(0, 6, "_>_", 5, (Apply(1, 3, "_+_", 2, (Leaf(1, 1), Leaf(3, 3))), Leaf(6, 6))) == form


@pytest.mark.parametrize("typed", ["n", "n == t", "t + t", "d > n", "b ? n : t", "size_ ( n ) > n", "- d < d"])
def test_judge_refuses_what_is_no_typed_condition(typed: str) -> None:
    """
    The library refuses types that do not go together, and anything that is no condition.
    """
    with pytest.raises(Refused):
        checker().judge(typed)


@pytest.mark.parametrize(("broken", "index"), [("x x", 1), ("( x", 2), ("f ( x , )", 4), ("x >", 2)])
def test_refusal_names_the_token(broken: str, index: int) -> None:
    """
    A refusal of the grammar says at which token, one past the last for the end.
    """
    with pytest.raises(Refused) as caught:
        checker().parse(broken)

    assert index == caught.value.index
