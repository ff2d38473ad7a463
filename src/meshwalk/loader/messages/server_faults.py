"""
The faults of a server's settings, beside those of every text.
"""
# ruff: noqa: D103 (a docstring would say the sentence a second time)

from __future__ import annotations

from meshwalk.model.problems import Problem, Span


def not_settings(span: Span) -> Problem:
    return Problem(
        span, "not-settings", "a server's settings are a table of keys", "start with 'server: 1' and 'graphs: [graph.yaml]'"
    )
