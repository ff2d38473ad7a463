"""
The faults of how a backend's server is called: every sentence, code and remedy in one place.

Each function is named for its fault and returns it.
"""
# ruff: noqa: D103 (a docstring would say the sentence a second time)

from __future__ import annotations

from meshwalk.loader.messages.faults import quoted
from meshwalk.model.problems import Problem, Span


def own_field(span: Span, subject: str, field: str) -> Problem:
    return Problem(
        span,
        "reserved-field",
        f"'extra' of {subject} sets {quoted(field)}, which a call sets itself",
        "leave it out; a node, a request or a key of its own says it",
    )


def needed_field(span: Span, subject: str, field: str) -> Problem:
    return Problem(
        span,
        "reserved-field",
        f"'leave_out' of {subject} takes {quoted(field)} away, without which there is no call",
        "leave it in",
    )


def bad_header(span: Span, subject: str, name: str) -> Problem:
    return Problem(
        span,
        "bad-header",
        f"{subject} has a header {quoted(name)} that HTTP does not take",
        "a name has letters, digits and '-', and a value printable ASCII and ${NAME}",
    )


def own_header(span: Span, subject: str, name: str) -> Problem:
    return Problem(
        span, "reserved-field", f"{subject} sets the header {quoted(name)}, which a call sets itself", "leave it out"
    )


def takes_no_text(span: Span, subject: str) -> Problem:
    return Problem(span, "takes-no-text", f"{subject} does not take text, and every call sends some", "add text")


def unbounded_images(span: Span, subject: str) -> Problem:
    return Problem(
        span,
        "unbounded-images",
        f"{subject} takes images, and nothing says how many tokens one of them has",
        "add image_tokens: N, the most that the provider counts for an image",
    )
