"""
The limits of a walk, in the units people think in.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from meshwalk.model import Limits


@pytest.mark.parametrize("deadline", [1.5, timedelta(seconds=1.5)])
@pytest.mark.parametrize("cost_usd", [0.1, Decimal("0.1")])
def test_limits_are_given_in_seconds_and_dollars(deadline: float | timedelta, cost_usd: float | Decimal) -> None:
    """
    Seconds become whole microseconds, and dollars whole nano-dollars.
    """
    limits = Limits.of(deadline=deadline, cost_usd=cost_usd, hops=3, calls=2)

    assert Limits(hops=3, deadline_us=1_500_000, cost_nano_usd=100_000_000, calls=2) == limits


def test_what_is_not_given_is_no_limit() -> None:
    """
    Limits without a word are those that bound nothing.
    """
    assert Limits() == Limits.of()
