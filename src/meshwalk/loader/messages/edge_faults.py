"""
The faults of edges, each as a function, so that all wording stands together.
"""
# ruff: noqa: D103 (a docstring would say the sentence a second time)

from __future__ import annotations

from typing import Any

from meshwalk.loader.messages.faults import quoted, wrong_type
from meshwalk.model.problems import Problem, Span


def guarded_last_edge(span: Span, node: str) -> Problem:
    return Problem(
        span,
        "guarded-last-edge",
        f"the last edge of '{node}' has a guard, so a walk could find no way on",
        "add a last edge without 'when'",
    )


def unguarded_edge_not_last(span: Span, node: str, count: int) -> Problem:
    after = "the edge after it is" if count == 1 else f"the {count} edges after it are"

    return Problem(
        span,
        "unguarded-edge-not-last",
        f"this edge of '{node}' has no guard, so {after} never looked at",
        "give it a 'when', or move it to the end",
    )


def catch_all_not_last(span: Span, node: str) -> Problem:
    return Problem(
        span,
        "catch-all-not-last",
        f"this edge of '{node}' takes every class, so the edges after it are never taken",
        "give it a 'class', or move it to the end",
    )


def class_taken(span: Span, node: str, word: str) -> Problem:
    return Problem(
        span, "class-taken", f"an earlier edge of '{node}' takes every {quoted(word)} already", "remove it here or there"
    )


def no_edges(span: Span, node: str, section: str, value: Any) -> Problem:
    what = f"'{section}' of node '{node}'"
    if value == []:
        return Problem(span, "list-too-short", f"{what} has nothing in it", "name a node, or leave the key out")
    remedy = "put it in a list: - {to: …}" if isinstance(value, dict) else ""
    if value == "" or (isinstance(value, str) and not value.strip()):
        return Problem(span, "empty-text", f"{what} is empty", "name a node")

    return wrong_type(span, what, value, "a node's name or a list of edges", remedy or "name a node, in quotes if need be")


def no_edge(span: Span, subject: str, value: Any) -> Problem:
    remedy = f"write - {{to: {value}}}" if isinstance(value, str) and value.isidentifier() else "write - {to: …}"

    return wrong_type(span, subject, value, "a table with the key 'to'", remedy)
