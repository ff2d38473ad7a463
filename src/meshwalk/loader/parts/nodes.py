"""
Nodes: from shapes to the model, with the places that later checks point at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from meshwalk import prompts
from meshwalk.loader.messages import faults, traffic_faults
from meshwalk.loader.parts.classifiers import check_classifier, classifier_fields
from meshwalk.loader.parts.edges import read_next, read_on_error
from meshwalk.loader.parts.fit import Findings, Fitted, Part, choose, fit, guessed, part_of, respelt, with_key_found
from meshwalk.loader.parts.other_names import remedies_for_node
from meshwalk.loader.parts.patterns import check_pattern
from meshwalk.loader.parts.templates import check_prompt, check_system
from meshwalk.loader.schema.backends import BACKEND_KEYS
from meshwalk.loader.schema.graph import (
    NODE_KEYS,
    NODE_SHAPES,
    USE_SHAPES,
    AnswerShape,
    AnyNodeShape,
    ClassifierShape,
    ConfidenceShape,
    JudgeShape,
    PrescreenShape,
    PrimaryShape,
    RefusalShape,
    ScoreShape,
    VerifierShape,
)
from meshwalk.loader.schema.traffic import BackoffShape
from meshwalk.loader.yaml.document import Piece, Scalar, Series, Table
from meshwalk.model import DONE, Backoff, Confidence, ConfidenceSource, Edge, Node, Sampling
from meshwalk.model.problems import Problem, Span


_Asking = PrescreenShape | AnswerShape | PrimaryShape | JudgeShape | ClassifierShape

# Other names for the text that a model is told to go by.
_SYSTEM_HELP = "did you mean 'system'? It is sent before the caller's messages"
_OF_PROMPTS = {
    **dict.fromkeys(("system_prompt", "system_message", "instructions", "instruction", "developer", "preamble"), _SYSTEM_HELP),
    "messages": "write system: for a message before the caller's, or prompt: for a text in place of them",
    "template": "did you mean 'prompt'? It is sent in place of the caller's messages",
}
# A classifier may have an address and a key; on any other node they are meant for its backend.
_OF_CALLS = {
    "url": "; for a model's address, write base_url: under the backend that the node calls",
    "key_env": "; for a model's key, write key_env: under the backend that the node calls",
}
_READ_ELSEWHERE = {"next": DONE, "on_error": DONE, "writes": None}


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
    # Of all roles: a key that this role does not take is no misspelling of one it does.
    part = respelt(part, NODE_KEYS, problems, remedies_for_node(part.table.entries.keys() - set(NODE_KEYS), BACKEND_KEYS))
    part = with_key_found(part, "role", NODE_SHAPES, NODE_KEYS, problems)
    role = choose(part, "role", NODE_SHAPES, problems)
    if role is None:
        findings.broken.add(name)
        part, role = guessed(part, "role", NODE_SHAPES) or (part, None)
    following = read_next(name, part.table, problems)
    handling = read_on_error(name, part.table, problems)
    shape = None if role is None else _shape(role, part, problems)
    if shape is None:
        findings.broken.add(name)
        return None
    preset = _READ_ELSEWHERE | {"role": role}
    if role in USE_SHAPES:
        preset["use"] = shape.stand_ins["use"]
    fitted = fit(shape, part, problems, preset=preset, elsewhere=_whose(part.table, shape))
    taken = set(shape.known_keys())
    if not (following.whole and handling.whole) or "next" in fitted.lost:
        findings.broken.add(name)
    _check(fitted, name, part.table, attributes, following.edges, problems)
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


def with_quotes(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """
    Return *nodes*, of which each that judges others' answers knows how much of them its prompt shows.
    """
    return {name: _with_quotes(node, nodes) if node.of and node.prompt else node for name, node in nodes.items()}


def _with_quotes(node: Node, nodes: Mapping[str, Node]) -> Node:
    shown = (name for name in prompts.quoted(node.prompt or "") if name in node.of and name in nodes)

    return replace(node, quotes={name: prompts.max_quoted(nodes[name].sampling.max_tokens) for name in shown})


def _shape(role: str, part: Part, problems: list[Problem]) -> type[AnyNodeShape] | None:
    # If `use` is left out, the role's first shape reports it with the rest.
    if role not in USE_SHAPES or "use" not in part.table.entries:
        return NODE_SHAPES[role]
    use = choose(part, "use", USE_SHAPES[role], problems)

    return None if use is None else USE_SHAPES[role][use]


def _whose(table: Table, shape: type[AnyNodeShape]) -> dict[str, str]:
    # The remedy for a key that this role does not take and another does, or the same one put to another use.
    known = set(shape.known_keys())
    remedies = dict(_OF_PROMPTS) if "system" in known else {}
    for key in table.entries.keys() - known:
        owners = [owner for role in NODE_SHAPES for owner in _owners(role, key)]
        if owners:
            remedies[key] = f"'{key}' is for: {', '.join(owners)}{_OF_CALLS.get(key, '')}"

    return remedies_for_node(table.entries.keys() - set(NODE_KEYS), BACKEND_KEYS) | remedies


def _owners(role: str, key: str) -> list[str]:
    if role not in USE_SHAPES:
        return [role] if key in NODE_SHAPES[role].known_keys() else []
    uses = [use for use, shape in USE_SHAPES[role].items() if key in shape.known_keys()]

    return [role] if len(uses) == len(USE_SHAPES[role]) else [f"{role} with use: {use}" for use in uses]


def _places(table: Table) -> dict[str, Span]:
    places = {}
    for key, piece in table.entries.items():
        places[key] = piece.span
        if isinstance(piece, Series) and key not in {"next", "on_error"}:
            places |= {f"{key}.{index}": item.span for index, item in enumerate(piece.items)}

    return places


def _fields(fitted: Fitted[AnyNodeShape], table: Table) -> dict[str, Any]:
    shape = fitted.shape
    match shape:
        case RefusalShape():
            return {"role": shape.role, "reason": shape.reason}
        case VerifierShape():
            of = () if "of" in fitted.lost else tuple(shape.of)
            return {"role": shape.role, "use": shape.use, "of": of, "extract": shape.extract, "visits": shape.visits}
        case JudgeShape():
            of = () if "of" in fitted.lost else tuple(shape.of)
            score = _confidence(fitted, shape.score, table, "score")
            prompt = None if "prompt" in fitted.lost else shape.prompt
            return {**_asking_fields(fitted, shape), "use": shape.use, "of": of, "prompt": prompt, "confidence": score}
        case PrescreenShape() | AnswerShape() | PrimaryShape() | ClassifierShape():
            qualified = shape.qualified.matches if isinstance(shape, PrescreenShape) else None
            confidence = _confidence(fitted, shape.confidence, table, "confidence")
            return {**_asking_fields(fitted, shape), "qualified": qualified, "confidence": confidence}


def _asking_fields(fitted: Fitted[AnyNodeShape], shape: _Asking) -> dict[str, Any]:
    return {
        "role": shape.role,
        "backend": None if "backend" in fitted.lost else shape.backend,
        "system": shape.system,
        "prompt": shape.prompt,
        "sampling": Sampling(
            shape.max_tokens, shape.temperature, shape.top_p, shape.seed, None if shape.stop is None else tuple(shape.stop)
        ),
        "deadline_us": shape.deadline,
        "attempt_timeout_us": shape.attempt_timeout,
        "min_time_us": shape.min_time,
        "retries": shape.retries,
        "backoff": _backoff(shape.backoff),
        "hedge_us": shape.hedge,
        "visits": shape.visits,
        "stream": _stream(shape),
        "first_token_us": shape.first_token if isinstance(shape, AnswerShape | PrimaryShape) else None,
        "between_tokens_us": shape.between_tokens if isinstance(shape, AnswerShape | PrimaryShape) else None,
    }


def _stream(shape: _Asking) -> int | None:
    return shape.stream if isinstance(shape, AnswerShape | PrimaryShape) else None


def _backoff(shape: BackoffShape | None) -> Backoff:
    if shape is None:
        return Backoff()
    first_us, max_us = Backoff()
    # A stated value moves the other one, if that is not stated.
    if shape.first is not None:
        first_us, max_us = shape.first, max(shape.first, max_us)
    if shape.max is not None:
        max_us = shape.max

    return Backoff(min(first_us, max_us), max_us)


def _confidence(
    fitted: Fitted[AnyNodeShape], shape: ConfidenceShape | ScoreShape | None, table: Table, key: str
) -> Confidence | None:
    if key in fitted.lost:
        # It is known to be there; what stands in for it raises no second complaint about `output.confidence`.
        return Confidence("recorded", table.place(key), missing=0.0)
    if shape is None:
        return None
    confidence = Confidence(shape.from_, table.key_spans[key], shape.pattern, shape.missing)
    if isinstance(shape, ConfidenceShape) and shape.from_ == "agreement":
        confidence = replace(confidence, samples=shape.samples or 1, extract=shape.extract or "text")

    return confidence


# ---- checks of two values together ---------------------------------------------------------------------------------


def _check(
    fitted: Fitted[AnyNodeShape],
    name: str,
    table: Table,
    attributes: Collection[str],
    following: Sequence[Edge],
    problems: list[Problem],
) -> None:
    shape = fitted.shape
    if isinstance(shape, PrescreenShape | AnswerShape | PrimaryShape | JudgeShape | ClassifierShape):
        prompt = table.scalar("prompt")
        answers = shape.of if isinstance(shape, JudgeShape) and "of" not in fitted.lost else ()
        if shape.prompt is not None and prompt is not None and not {"prompt", "of"} & fitted.lost:
            serves = isinstance(shape, AnswerShape | PrimaryShape)
            check_prompt(name, prompt, attributes, answers, problems, serves=serves)
        system = table.scalar("system")
        if shape.system is not None and system is not None:
            check_system(name, system, problems)
        _check_confidence(name, table, "score" if isinstance(shape, JudgeShape) else "confidence", problems)
        _check_times(name, shape, table, problems)
    if isinstance(shape, AnswerShape | PrimaryShape):
        _check_stream_times(name, shape, table, problems)
    if isinstance(shape, AnswerShape | PrimaryShape) and shape.stream is not None:
        _check_stream(name, shape, table, following, problems)
    if isinstance(shape, PrescreenShape) and "qualified" not in fitted.lost:
        qualified = table.entries["qualified"]
        matches = qualified.scalar("matches") if isinstance(qualified, Table) else None
        if matches is not None:
            check_pattern(matches, f"'qualified.matches' of node '{name}'", problems)


def _check_stream_times(name: str, shape: AnswerShape | PrimaryShape, table: Table, problems: list[Problem]) -> None:
    for key, time in (("first_token", shape.first_token), ("between_tokens", shape.between_tokens)):
        if time is None:
            continue
        if shape.stream is None:
            message = f"'{key}' of node '{name}' bounds a wait inside a stream, and the node does not stream"
            problems.append(Problem(table.place(key), "not-streamed", message, "add stream: live or {hold_first: N}"))
        elif shape.deadline is not None and time > shape.deadline:
            problems.append(faults.bad_times(table.place(key), name, key, "deadline"))


def _check_stream(
    name: str, shape: AnswerShape | PrimaryShape, table: Table, following: Sequence[Edge], problems: list[Problem]
) -> None:
    if shape.confidence is not None and shape.confidence.from_ == "agreement":
        message = f"node '{name}' compares several samples, which there are only once all of them are whole"
        problems.append(Problem(table.place("stream"), "samples-streamed", message, "leave stream: out, so that it holds"))
    if shape.stream:
        return
    # A reply that is passed on as it comes is served: nothing is left to decide.
    for edge in following:
        if edge.to != DONE or edge.when is not None or edge.answer not in (None, name):
            message = f"node '{name}' has stream: live, so what it says is served, and this edge decides after that"
            remedy = "write next: done, or stream: {hold_first: N} to judge the first N tokens"
            problems.append(Problem(edge.span, "live-and-undecided", message, remedy))
            return


def _check_confidence(name: str, table: Table, key: str, problems: list[Problem]) -> None:
    inner = table.entries.get(key)
    source = inner.scalar("from") if isinstance(inner, Table) else None
    if not isinstance(inner, Table) or source is None:
        return
    if key == "confidence":
        _check_samples(name, inner, source, problems)
    pattern = inner.scalar("pattern")
    if source.value != "stated" and source.value in get_args(ConfidenceSource):
        if "pattern" in inner.entries:
            problems.append(faults.pattern_without_stated(inner.key_spans["pattern"], name, key, source.raw))
    elif source.value == "stated" and "pattern" not in inner.entries:
        problems.append(faults.stated_without_pattern(source.span, name, key))
    elif pattern is not None and isinstance(pattern.value, str) and pattern.value:
        check_pattern(pattern, f"'{key}.pattern' of node '{name}'", problems, groups=1)


def _check_samples(name: str, inner: Table, source: Scalar, problems: list[Problem]) -> None:
    if source.value == "agreement":
        if "samples" not in inner.entries:
            problems.append(faults.agreement_without_samples(source.span, name))
    elif source.value in get_args(ConfidenceSource):
        strange = (key for key in ("samples", "extract") if key in inner.entries)
        problems += [faults.key_of_agreement(inner.key_spans[key], name, key, source.raw) for key in strange]


def _check_times(name: str, shape: _Asking, table: Table, problems: list[Problem]) -> None:
    times = {"attempt_timeout": shape.attempt_timeout or 0, "min_time": shape.min_time}
    for key, time in times.items():
        if shape.deadline is not None and time > shape.deadline:
            problems.append(faults.bad_times(table.place(key), name, key, "deadline"))
    for key, limit in (("deadline", shape.deadline), ("attempt_timeout", shape.attempt_timeout)):
        if shape.hedge is not None and limit is not None and shape.hedge >= limit:
            problems.append(traffic_faults.hedge_too_late(table.place("hedge"), name, key))
            break
    inner = table.entries.get("backoff")
    first_us, max_us = (None, None) if shape.backoff is None else (shape.backoff.first, shape.backoff.max)
    if first_us is not None and max_us is not None and max_us < first_us and isinstance(inner, Table):
        problems.append(traffic_faults.backoff_crossed(inner.place("most"), name))
