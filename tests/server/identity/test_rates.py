"""
The requests a minute of each tenant.
"""

from __future__ import annotations

import pytest

from meshwalk.model.serving import RIGHTS, TenantRules
from meshwalk.server.identity import Caller
from meshwalk.server.identity.rates import RequestRates
from meshwalk.wire.errors import TooManyRequests


def caller(tenant: str, requests_per_minute: int | None) -> Caller:
    return Caller("key", tenant, frozenset(RIGHTS), TenantRules(requests_per_minute=requests_per_minute))


def test_a_minutes_worth_at_once_and_then_one_by_one() -> None:
    """
    A tenant sends as many as it may in a minute; the next is told when there is room, and taken then.
    """
    now = [0.0]
    rates = RequestRates(clock=lambda: now[0])
    for _ in range(30):
        rates.take(caller("acme", 30))

    with pytest.raises(TooManyRequests, match="may send 30 requests a minute") as refused:
        rates.take(caller("acme", 30))
    assert refused.value.retryable
    assert 2.0 == refused.value.retry_after
    now[0] += 2.0
    rates.take(caller("acme", 30))
    with pytest.raises(TooManyRequests):
        rates.take(caller("acme", 30))


def test_tenants_are_counted_apart() -> None:
    """
    Another tenant, and one without a limit, are not refused.
    """
    rates = RequestRates(clock=lambda: 0.0)
    rates.take(caller("acme", 1))
    with pytest.raises(TooManyRequests):
        rates.take(caller("acme", 1))

    rates.take(caller("beta", 1))
    for _ in range(1_000):
        rates.take(caller("gamma", None))


def test_quiet_saves_no_more_than_a_minute() -> None:
    """
    A long quiet does not add up to a longer burst.
    """
    now = [0.0]
    rates = RequestRates(clock=lambda: now[0])
    rates.take(caller("acme", 2))
    now[0] += 3_600
    rates.take(caller("acme", 2))
    rates.take(caller("acme", 2))

    with pytest.raises(TooManyRequests):
        rates.take(caller("acme", 2))
