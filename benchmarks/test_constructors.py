"""
What `fast_constructor` saves, where a NamedTuple is made several times a request.
"""

from __future__ import annotations

from harness import Compare, at_most
from harness.arms import each
from meshwalk.model import Amount
from meshwalk.model.constructors import fast_constructor


def test_fast_constructor(compare: Compare) -> None:
    """
    How much of the time that the class itself takes does its fast constructor take?
    """
    make_amount = fast_constructor(Amount)

    assert Amount(1, 2, 3, 4, 5) == make_amount((1, 2, 3, 4, 5))

    compare(each(lambda: make_amount((1, 2, 3, 4, 5))), each(lambda: Amount(1, 2, 3, 4, 5)), at_most(0.9))
