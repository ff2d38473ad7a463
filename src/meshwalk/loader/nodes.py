"""
Nodes: from shapes to the model, with the places that later rooms point at.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, get_args

from meshwalk import prompts
from meshwalk.loader import faults
from meshwalk.loader.classifiers import check_classifier, classifier_fields
from meshwalk.loader.document import Piece, Scalar, Series, Table
from meshwalk.loader.edges import read_next, read_on_error
from meshwalk.loader.fit import Findings, Fitted, choose, fit, part_of, respelt
from meshwalk.loader.patterns import check_pattern
from meshwalk.loader.shapes import (
    NODE_SHAPES,
    AnswerShape,
    AnyNodeShape,
    ClassifierShape,
    ConfidenceShape,
    PrescreenShape,
    PrimaryShape,
    RefusalShape,
    VerifierShape,
)
from meshwalk.model import DONE, Confidence, ConfidenceSource, Node, Sampling
from meshwalk.problems import Problem, Span


# Of all roles: a key that this role does not take is no misspelling of one it does.
_KEYS = tuple(dict.fromkeys(key for shape in NODE_SHAPES.values() for key in shape.known_keys()))
_READ_ELSEWHERE = {"next": DONE, "on_error": DONE, "writes": None}

_Asking = PrescreenShape | AnswerShape | PrimaryShape | ClassifierShape


def read_node(name: str, span: Span, piece: Piece, attributes: Collection[str], findings: Findings) -> Node | None:
    """
    Read one node, or say why there is nothing to read; a node that is not fully known is noted as broken.

    Args:
        attributes: What a prompt may speak of as `request.<attribute>`.
    """
    problems = findings.problems
    part = part_of(piece, f"node '{name}'", span, findings.problems)
    if part is None:
        findings.broken.add(name)
        return None
    part = respelt(part, _KEYS, problems)
    role = choose(part, "role", NODE_SHAPES, problems)
    following = read_next(name, part.table, problems)
    handling = read_on_error(name, part.table, problems)
    if role is None:
        findings.broken.add(name)
        return None
    shape = NODE_SHAPES[role]
    fitted = fit(shape, part, problems, given=_READ_ELSEWHERE | {"role": role}, elsewhere=_whose(part.table, shape))
    taken = set(shape.known_keys())
    if not (following.whole and handling.whole) or "next" in fitted.lost:
        findings.broken.add(name)
    _check(fitted, name, part.table, attributes, problems)
    fields = _fields(fitted, part.table)
    if isinstance(fitted.shape, ClassifierShape):
        written = check_classifier(fitted.shape, fitted.lost, part, problems)
        if written is None:
            findings.broken.add(name)
        fields = classifier_fields(fields, fitted.shape, written or {})

    return Node(
        name=name,
        span=span,
        next=following.edges if "next" in taken else (),
        on_error=handling.edges if "on_error" in taken else (),
        places=_places(part.table),
        description=fitted.shape.description or "",
        **fields,
    )


def _whose(table: Table, shape: type[AnyNodeShape]) -> dict[str, str]:
    # The remedy for a key that this role does not take and another does.
    found = {}
    for key in table.entries.keys() - set(shape.known_keys()):
        owners = [role for role, other in NODE_SHAPES.items() if key in other.known_keys()]
        if owners:
            found[key] = f"'{key}' is for: {', '.join(owners)}"

    return found


def _places(table: Table) -> dict[str, Span]:
    found = {}
    for key, piece in table.entries.items():
        found[key] = piece.span
        if isinstance(piece, Series) and key not in {"next", "on_error"}:
            found |= {f"{key}.{index}": item.span for index, item in enumerate(piece.items)}

    return found


def _fields(fitted: Fitted[AnyNodeShape], table: Table) -> dict[str, Any]:
    shape = fitted.shape
    match shape:
        case RefusalShape():
            return {"role": shape.role, "reason": shape.reason}
        case VerifierShape():
            of = () if "of" in fitted.lost else tuple(shape.of)
            return {"role": shape.role, "use": shape.use, "of": of, "extract": shape.extract, "visits": shape.visits}
        case PrescreenShape() | AnswerShape() | PrimaryShape() | ClassifierShape():
            return _calling_fields(fitted, shape, table)


def _calling_fields(fitted: Fitted[AnyNodeShape], shape: _Asking, table: Table) -> dict[str, Any]:
    return {
        "role": shape.role,
        "backend": None if "backend" in fitted.lost else shape.backend,
        "prompt": shape.prompt,
        "qualified": shape.qualified.matches if isinstance(shape, PrescreenShape) else None,
        "confidence": _confidence(fitted, shape.confidence, table),
        "sampling": Sampling(
            shape.max_tokens, shape.temperature, shape.top_p, shape.seed, None if shape.stop is None else tuple(shape.stop)
        ),
        "deadline_us": shape.deadline,
        "attempt_timeout_us": shape.attempt_timeout,
        "min_time_us": shape.min_time,
        "retries": shape.retries,
        "visits": shape.visits,
    }


def _confidence(fitted: Fitted[AnyNodeShape], shape: ConfidenceShape | None, table: Table) -> Confidence | None:
    if "confidence" in fitted.lost:
        # It is known to be there; what stands in for it raises no second complaint about `output.confidence`.
        return Confidence("recorded", table.key_spans["confidence"], missing=0.0)
    if shape is None:
        return None

    return Confidence(shape.from_, table.key_spans["confidence"], shape.pattern, shape.missing)


# ---- what needs two values to judge ---------------------------------------------------------------------------------


def _check(fitted: Fitted[AnyNodeShape], name: str, table: Table, attributes: Collection[str], problems: list[Problem]) -> None:
    shape = fitted.shape
    if isinstance(shape, PrescreenShape | AnswerShape | PrimaryShape | ClassifierShape):
        prompt = table.scalar("prompt")
        if shape.prompt is not None and prompt is not None:
            _check_prompt(name, shape.prompt, prompt, attributes, problems)
        _check_confidence(name, table, problems)
        _check_times(name, shape, table, problems)
    if isinstance(shape, PrescreenShape) and "qualified" not in fitted.lost:
        qualified = table.entries["qualified"]
        matches = qualified.scalar("matches") if isinstance(qualified, Table) else None
        if matches is not None:
            check_pattern(matches, f"'qualified.matches' of node '{name}'", problems)


def _check_prompt(name: str, template: str, scalar: Scalar, attributes: Collection[str], problems: list[Problem]) -> None:
    for found in prompts.faults(template, attributes):
        span = scalar.span
        if scalar.exact:
            span = scalar.text_span._replace(column=scalar.text_span.column + found.offset, length=found.length)
        problems.append(faults.bad_placeholder(span, name, found.message, found.help))


def _check_confidence(name: str, table: Table, problems: list[Problem]) -> None:
    inner = table.entries.get("confidence")
    source = inner.scalar("from") if isinstance(inner, Table) else None
    if not isinstance(inner, Table) or source is None:
        return
    pattern = inner.scalar("pattern")
    if source.value != "stated" and source.value in get_args(ConfidenceSource):
        if "pattern" in inner.entries:
            problems.append(faults.pattern_without_stated(inner.key_spans["pattern"], name, source.raw))
    elif source.value == "stated" and "pattern" not in inner.entries:
        problems.append(faults.stated_without_pattern(source.span, name))
    elif pattern is not None and isinstance(pattern.value, str) and pattern.value:
        check_pattern(pattern, f"'confidence.pattern' of node '{name}'", problems, groups=1)


def _check_times(name: str, shape: _Asking, table: Table, problems: list[Problem]) -> None:
    times = {"attempt_timeout": shape.attempt_timeout or 0, "min_time": shape.min_time}
    for key, time in times.items():
        if shape.deadline is not None and time > shape.deadline:
            problems.append(faults.bad_times(table.place(key), name, key, "deadline"))
