"""
The faults of prompts and system messages.

Each function is named for its fault and returns it.
"""
# ruff: noqa: D103 (a docstring would say the sentence a second time)

from __future__ import annotations

from meshwalk.model.problems import Problem, Span


def bad_placeholder(span: Span, node: str, message: str, remedy: str) -> Problem:
    return Problem(span, "bad-placeholder", f"in the prompt of '{node}', {message}", remedy)


def answer_not_quoted(span: Span, node: str, answer: str) -> Problem:
    return Problem(
        span,
        "answer-not-quoted",
        f"node '{node}' judges the answer of '{answer}', and its prompt does not show it",
        f"write {{{{ answer.{answer} }}}} in the prompt, or leave '{answer}' out of 'of'",
    )


def without_question(span: Span, node: str) -> Problem:
    return Problem(
        span,
        "prompt-without-question",
        f"the prompt of '{node}' shows the model nothing that the caller asked",
        "write instructions under system:, sent before the caller's messages, or show {{ prompt }} or {{ conversation }}",
        "warning",
    )


def single_braces(span: Span, node: str, written: str, name: str) -> Problem:
    known = name in ("prompt", "conversation") or "." in name

    return Problem(
        span,
        "single-braces",
        f"in the prompt of '{node}', '{written}' is sent as it stands here",
        f"write {{{{ {name if known else 'prompt'} }}}} to fill it in",
        "warning",
    )


def placeholder_in_system(span: Span, node: str) -> Problem:
    return Problem(
        span,
        "placeholder-in-system",
        f"the system message of '{node}' is sent word for word, and '{{{{' opens a placeholder",
        "write what changes with the request into prompt:, and leave system: the same for all",
    )
