"""
A wait is read wherever providers say it.
"""

from __future__ import annotations

from typing import Any

import pytest

from meshwalk.backends.openai.waits import wait_us


NOW = "Tue, 03 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"Retry-After": "2"}, {"error": {"message": "try again in 9s"}}, 2.0),
        ({}, {"error": {"details": [{"retryDelay": "34s"}]}}, 34.0),
        ({}, [{"error": {"details": [{"retryDelay": {"seconds": 3}}]}}], 3.0),
        ({}, {"error": {"message": "please try again in 7.66s"}}, 7.66),
        ({}, {"error": {"message": "Try again in 1m26.4s."}}, 86.4),
        ({}, {"error": {"message": "retry after 2 minutes and 5 seconds"}}, 125.0),
        ({}, {"error": {"message": "try again in 20ms"}}, 0.02),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, {}, 360.0),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "6m0s"}, {}, None),
        ({"Date": NOW, "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1793700030"}, {}, 30.0),
        ({"Date": NOW, "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1793700030000"}, {}, 30.0),
        ({"Date": NOW, "x-ratelimit-remaining": "0", "x-ratelimit-reset": "2026-11-03T10:00:30Z"}, {}, 30.0),
        ({}, {"error": {"metadata": {"headers": {"Retry-After": "4"}}}}, 4.0),
        ({}, {"error": {"message": "there are 5 seconds in it"}}, None),
        ({"Retry-After": "soon"}, "busy", None),
    ],
)  # fmt: skip
def test_a_wait_is_what_a_provider_says(headers: dict[str, str], body: Any, expected: float | None) -> None:
    """
    The header first, then the longest of the details, the words and the resets of what has nothing left.
    """
    assert (None if expected is None else round(expected * 1e6)) == wait_us(headers, body)
