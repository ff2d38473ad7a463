"""
The faults of a file of cases, beside those of every text.
"""
# ruff: noqa: D103 (a docstring would say the sentence a second time)

from __future__ import annotations

from collections.abc import Iterable

from meshwalk.loader.messages.faults import quoted
from meshwalk.model.problems import Problem, Span
from meshwalk.model.spelling import did_you_mean


def not_cases(span: Span) -> Problem:
    return Problem(span, "not-cases", "a file of cases is a table with the key 'cases'", "start with 'cases:' and a list")


def no_cases(span: Span) -> Problem:
    return Problem(
        span, "no-cases", "'cases' takes a list of cases, and here is none", "write - {name: …, given: …, expect: …}"
    )


def duplicate_case(span: Span, name: str, first: Span) -> Problem:
    return Problem(
        span,
        "duplicate-case",
        f"another case, in line {first.line}, is called {quoted(name)}",
        "name each case otherwise",
    )


def expects_nothing(span: Span, case: str) -> Problem:
    return Problem(span, "expects-nothing", f"{case} expects nothing, so it shows nothing", "add a path, an outcome or a cost")


def unknown_node(span: Span, what: str, name: str, nodes: Iterable[str]) -> Problem:
    nodes = tuple(nodes)

    return Problem(
        span,
        "unknown-node",
        f"{what} names {quoted(name)}, and the graph has no such node",
        did_you_mean(name, nodes) or f"there are: {', '.join(nodes)}",
    )


def done_not_last(span: Span, what: str) -> Problem:
    return Problem(span, "done-not-last", f"{what} goes on after 'done', where a walk ends", "write 'done' last or not at all")


def calls_nothing(span: Span, node: str, role: str) -> Problem:
    remedy = "say what it gives under 'signals'" if role == "classifier" else "leave it out"

    return Problem(span, "calls-nothing", f"node '{node}' is a {role} that calls no backend, so nothing replies to it", remedy)


def serves_nothing(span: Span, node: str) -> Problem:
    return Problem(
        span, "serves-nothing", f"node '{node}' calls no backend, so it has no reply to serve", "name the node that answers"
    )


def unread_confidence(span: Span, node: str, source: str | None) -> Problem:
    why, remedy = {
        "stated": ("reads its confidence in the text", "write it in 'text' as the model would"),
        "agreement": ("takes the agreement of its samples for its confidence", "write 'samples' that agree as far as that"),
    }.get(source or "", ("declares no 'confidence', so nothing reads it", "leave it out, or give the node a 'confidence'"))

    return Problem(span, "unread-confidence", f"node '{node}' {why}", remedy)


def unread_samples(span: Span, node: str) -> Problem:
    return Problem(
        span,
        "unread-samples",
        f"node '{node}' asks for one answer",
        "write it as 'text', or give the node a 'confidence' with from: agreement",
    )


def text_beside_samples(span: Span, node: str) -> Problem:
    return Problem(span, "text-beside-samples", f"the reply of '{node}' has 'samples', which are its texts", "leave 'text' out")


def unknown_attribute(span: Span, name: str, known: Iterable[str]) -> Problem:
    known = tuple(known)

    return Problem(
        span,
        "unknown-attribute",
        f"the graph declares no attribute {quoted(name)}",
        did_you_mean(name, known) or f"there are: {', '.join(known)}",
    )


def bad_attribute(span: Span, name: str, why: str) -> Problem:
    return Problem(span, "bad-attribute", f"attribute {quoted(name)} {why}")


def unknown_signal(span: Span, name: str, known: Iterable[str]) -> Problem:
    known = tuple(known)

    return Problem(
        span,
        "unknown-signal",
        f"no classifier gives a signal {quoted(name)}",
        did_you_mean(name, known) or f"there are: {', '.join(known)}",
    )


def no_classifier(span: Span) -> Problem:
    return Problem(
        span, "unknown-signal", "the graph has no classifier, so nothing gives signals", "leave 'signals' out, or add one"
    )


def bad_signal(span: Span, name: str, why: str) -> Problem:
    return Problem(span, "bad-signal", f"signal {quoted(name)} {why}")


def signal_out_of_range(span: Span, name: str, value: float, low: float, high: float) -> Problem:
    wanted = f"at least {low:g}" if high == float("inf") else f"{low:g} to {high:g}"

    return Problem(span, "out-of-range", f"signal '{name}' is {value:g}, and takes {wanted}")


def unknown_scope(span: Span, what: str, scope: str, known: Iterable[str]) -> Problem:
    known = tuple(known)
    there = f"there are budgets of: {', '.join(known)}" if known else "there are no budgets"

    return Problem(span, "unknown-scope", f"{what} names '{scope}', and the graph has no budget of that scope", there)


def bad_edge_name(span: Span, text: str) -> Problem:
    return Problem(
        span,
        "bad-edge",
        f"{quoted(text)} names no edge",
        "write 'screen -> done', 'edge 2 of screen', 'error edge 1 of primary', or an edge's id",
    )


def no_edge_between(span: Span, node: str, to: str, targets: Iterable[str]) -> Problem:
    return Problem(
        span,
        "unknown-edge",
        f"no edge leads from '{node}' to {quoted(to)}",
        f"its edges lead to: {', '.join(dict.fromkeys(targets)) or 'nowhere'}",
    )


def no_edge_at(span: Span, node: str, kind: str, number: int, count: int) -> Problem:
    has = f"{count or 'no'} {kind}{'' if count == 1 else 's'}"

    return Problem(span, "unknown-edge", f"there is no {kind} {number} of '{node}': it has {has}", "edges count from 1")


def more_than_all(span: Span, key: str, part: int, whole: int) -> Problem:
    of = "input" if key == "cached_input" else "output"

    return Problem(span, "out-of-range", f"'{key}' is {part:,}, and is a part of '{of}', which is {whole:,}")
