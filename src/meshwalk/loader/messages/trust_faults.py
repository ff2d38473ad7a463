"""
The faults of what a graph names beyond its own text: every sentence, code and remedy in one place.

Each function is named for its fault, and its body is what is said.
"""
# ruff: noqa: D103 (a docstring would say the sentence a second time)

from __future__ import annotations

from meshwalk.loader.messages.faults import quoted
from meshwalk.model.problems import Problem, Span


def file_outside(span: Span, name: str, folder: str) -> Problem:
    return Problem(
        span,
        "file-outside",
        f"the file {quoted(name)} lies outside the graph's folder, {quoted(folder)}",
        "put it into that folder, or, where the graph is as good as your own code, pass --allow-files (Trust(files=True))",
    )


def not_allowed(span: Span, subject: str, what: str, name: str, flag: str) -> Problem:
    return Problem(
        span,
        "not-allowed",
        f"{subject} names the {what} {quoted(name)}, which is not allowed here",
        f"name one that is, or allow it by its beginning: {flag} {name}",
    )


def metadata_address(span: Span, subject: str, host: str) -> Problem:
    return Problem(
        span,
        "metadata-address",
        f"{subject} would call {host}, where clouds keep the credentials of a machine",
        "name the host of a model",
        severity="warning",
    )
