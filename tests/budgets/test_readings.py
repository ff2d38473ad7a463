"""
What guards read off a scope.
"""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from meshwalk.budgets import pressure, used_share
from meshwalk.model import Amount, Caps


PART = st.integers(0, 10**12)
AMOUNTS = st.builds(Amount, PART, PART, PART, PART, PART)
CAPS = st.builds(Caps, *[st.one_of(st.none(), PART)] * 5)
FROM = st.floats(0, 1)


class TestUsedShare:
    @pytest.mark.parametrize(
        ("caps", "used", "share"),
        [
            (Caps(), Amount(5, 5, 5, 5, 5), None),
            (Caps(cost_nano_usd=10), Amount(cost_nano_usd=5), 0.5),
            (Caps(cost_nano_usd=10, calls=4), Amount(cost_nano_usd=5, calls=3), 0.75),
            (Caps(calls=4), Amount(calls=5), 1.25),
            (Caps(calls=0), Amount(), 1.0),
        ],
    )
    def test_examples(self, caps: Caps, used: Amount, share: float | None) -> None:
        """
        The nearest cap counts, an overrun shows, and a cap of nothing is used up.
        """
        assert share == used_share(caps, used)

    @given(caps=CAPS, used=AMOUNTS, more=AMOUNTS)
    def test_never_falls_as_more_is_used(self, caps: Caps, used: Amount, more: Amount) -> None:
        """
        Using more never looks like using less.
        """
        before, after = used_share(caps, used), used_share(caps, Amount._make(map(int.__add__, used, more)))

        assert (before is None) == (after is None) == (caps == Caps())
        assert before is None or after is None or before <= after


class TestPressure:
    @pytest.mark.parametrize(
        ("share", "begin", "expected"),
        [
            (None, 0.8, 0.0),
            (0.8, 0.8, 0.0),
            (0.9, 0.8, 0.5),
            (1.0, 0.8, 1.0),
            (1.5, 0.8, 1.0),
            (1.0, 1.0, 0.0),
            (1.1, 1.0, 1.0),
        ],
    )
    def test_examples(self, share: float | None, begin: float, expected: float) -> None:
        """
        It is 0 up to where the soft limit begins, and 1 at the cap and past it.
        """
        assert expected == pytest.approx(pressure(share, begin))

    @given(share=st.floats(0, 2), begin=FROM)
    def test_stays_between_nothing_and_all(self, share: float, begin: float) -> None:
        """
        Guards may compare it with any threshold in 0..1, and above 0 means that the soft limit is passed.
        """
        value = pressure(share, begin)

        assert 0 <= value <= 1
        assert (value > 0) == (share > begin)

    @pytest.mark.slow
    @given(one=st.floats(0, 2), other=st.floats(0, 2), begin=FROM)
    def test_never_falls_as_more_is_used(self, one: float, other: float, begin: float) -> None:
        """
        A fuller scope is under no less pressure.
        """
        assume(one <= other)

        assert pressure(one, begin) <= pressure(other, begin)
