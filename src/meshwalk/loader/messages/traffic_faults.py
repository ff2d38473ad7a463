"""
The faults of backends' traffic limits and of nodes' retries and hedges.
"""
# ruff: noqa: D103 (a docstring would say the sentence a second time)

from __future__ import annotations

from meshwalk.loader.messages.faults import quoted
from meshwalk.model.problems import Problem, Span


def beside_endpoints(span: Span, subject: str, key: str) -> Problem:
    return Problem(
        span,
        "beside-endpoints",
        f"'{key}' of {subject} stands beside 'endpoints', and each of them has its own",
        f"write '{key}' into an endpoint, or leave 'endpoints' out",
    )


def duplicate_endpoint(span: Span, subject: str, name: str, first: Span) -> Problem:
    return Problem(
        span,
        "duplicate-endpoint",
        f"another endpoint of {subject}, in line {first.line}, is called {quoted(name)}",
        "give each endpoint a name of its own; one without a name is called e1, e2, … by its place",
    )


def one_endpoint(span: Span, subject: str) -> Problem:
    return Problem(
        span,
        "one-endpoint",
        f"'sticky' of {subject} keeps callers at one of several endpoints, and it has only one",
        "list several under 'endpoints', or leave it out",
    )


def hedge_too_late(span: Span, node: str, limit: str) -> Problem:
    return Problem(
        span,
        "hedge-too-late",
        f"'hedge' of node '{node}' is no shorter than its '{limit}', so the second call is never made",
        f"make it shorter than '{limit}', or leave it out",
    )


def backoff_crossed(span: Span, node: str) -> Problem:
    return Problem(
        span,
        "out-of-range",
        f"'backoff.most' of node '{node}' is shorter than its 'backoff.first'",
        "no retry waits longer than 'most'",
    )


def bad_address(span: Span, subject: str, why: str, key: str) -> Problem:
    return Problem(
        span, "bad-address", f"'{key}' of {subject} {why}", 'for example "http://127.0.0.1:11434/v1" or "${LARGE_URL}"'
    )
