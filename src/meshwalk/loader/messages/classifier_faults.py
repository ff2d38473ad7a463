"""
The faults of classifiers.

Each function is named for its fault and returns it.
"""
# ruff: noqa: D103 (a docstring would say the sentence a second time)

from __future__ import annotations

from meshwalk.loader.messages.faults import quoted
from meshwalk.model.problems import Problem, Span


def key_of_other_use(span: Span, subject: str, key: str, use: str, owners: tuple[str, ...]) -> Problem:
    return Problem(
        span,
        "key-of-other-use",
        f"{subject} has 'use: {use}', which takes no '{key}'",
        f"'{key}' is for a classifier with use: {' or '.join(owners)}",
    )


def label_taken(span: Span, subject: str, label: str) -> Problem:
    return Problem(
        span,
        "duplicate-label",
        f"the label {quoted(label)} of {subject} is there already, in upper or lower case",
        "a reply must mean one of them",
    )


def label_without_word(span: Span, subject: str, label: str) -> Problem:
    return Problem(
        span, "bad-label", f"the label {quoted(label)} of {subject} has no letter or digit", "a reply is searched for its words"
    )


def confidence_without_missing(span: Span, subject: str) -> Problem:
    return Problem(
        span,
        "missing-key",
        f"'confidence' of {subject} needs the key 'missing'",
        "say what signals.confidence is where the model gives none: missing: 0",
    )


def bad_weights(span: Span, file: str, why: str) -> Problem:
    return Problem(
        span,
        "bad-weights",
        f"the file {quoted(file)} holds no weights of a classifier: {why}",
        "write it with: meshwalk train-classifier DATA -o FILE",
    )


def bad_head(span: Span, head: str, why: str) -> Problem:
    return Problem(
        span,
        "bad-weights",
        f"a head of these weights is called {quoted(head)}, and becomes the name of a signal, but {why}",
        "train it under another name: meshwalk train-classifier DATA -o FILE --head NAME=MODEL",
    )


def name_of_feature(span: Span, name: str, node: str) -> Problem:
    return Problem(
        span,
        "reserved-name",
        f"node '{node}' gives a signal '{name}', which is one of what 'use: features' gives, and declares it otherwise",
        "name it otherwise, or declare it just as those are: a number in their range",
    )


def signals_differ(span: Span, name: str, node: str, other: str) -> Problem:
    return Problem(
        span,
        "signals-differ",
        f"node '{node}' declares signals.{name} otherwise than node '{other}' does",
        "a guard reads one name: give both the same type, enum and range, or two names",
    )
