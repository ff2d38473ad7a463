"""
A log line that many requests have reason for at once.
"""

from __future__ import annotations

import logging

import pytest

from meshwalk.model.rate_limited_log import RateLimitedLog


def test_a_burst_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """
    Of a thousand warnings the first is written, and the next one after a while says how many there were.
    """
    now = [100.0]
    log = RateLimitedLog(logging.getLogger("meshwalk.test"), seconds=10, clock=lambda: now[0])
    for _ in range(1000):
        log.warning("no room")
    now[0] += 10
    log.warning("no room")
    now[0] += 10
    log.warning("no room")

    assert ["no room", "no room (999 more since the last such line)", "no room"] == caplog.messages
