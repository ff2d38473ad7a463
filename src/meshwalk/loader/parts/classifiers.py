"""
Classifiers: the keys of each use, the signals it gives, and the weights that a graph names.

The keys of a `use` are checked here and not by the shape, so that each fault has its place and remedy.  A stored plan names no
files and no addresses; the keys needed only to run are required of an author's graph alone (`complete_classifiers`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from meshwalk.loader.messages import classifier_faults, faults
from meshwalk.loader.parts.addresses import address_fault
from meshwalk.loader.parts.fit import Findings, Part, fit, part_of, respelt
from meshwalk.loader.parts.prices import unread_file
from meshwalk.loader.schema.graph import ClassifierShape, SignalShape
from meshwalk.loader.schema.values import why_no_identifier
from meshwalk.loader.yaml.document import Series
from meshwalk.model import Attribute, Node
from meshwalk.model.problems import Problem, Span
from meshwalk.model.signals import FEATURES, written
from meshwalk.model.trust import GraphFiles, OutsideFolderError


# The time limit of a service or a function whose node states none.
DEADLINE_US = 1_000_000

_MAX_BYTES = 64 << 20


class _Use(NamedTuple):
    """
    The keys of one use: needed, optional, needed only to run, and those that only stored plans have.
    """

    needed: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    to_run: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()

    @property
    def keys(self) -> frozenset[str]:
        return frozenset((*self.needed, *self.taken, *self.to_run))


_ASKING = (
    *("system", "prompt", "max_tokens", "temperature", "top_p", "seed", "stop", "deadline", "attempt_timeout", "min_time"),
    *("retries", "backoff", "hedge", "confidence", "on_error"),
)
_USES: Mapping[str, _Use] = {
    "features": _Use(),
    # A stored plan declares the heads in place of the file.
    "weights": _Use(to_run=("weights",), stored=("writes",)),
    "model": _Use(needed=("backend", "labels"), taken=_ASKING),
    "http": _Use(needed=("writes",), taken=("key_env", "deadline", "on_error"), to_run=("url",)),
    "python": _Use(needed=("function", "writes"), taken=("deadline", "on_error")),
}
_EVERYONES = frozenset({"role", "use", "description", "visits", "next"})


def check_classifier(
    shape: ClassifierShape, lost: frozenset[str], part: Part, problems: list[Problem]
) -> dict[str, Attribute] | None:
    """
    Check a classifier's keys against its use, and return the signals it declares; None if they are not fully known.
    """
    if "use" in lost:
        return None
    use = _USES[shape.use]
    table = part.table
    strange = set(ClassifierShape.known_keys()) - use.keys - _EVERYONES - set(use.stored)
    problems += (_misplaced(table.key_spans[key], part.subject, key, shape.use) for key in table.entries if key in strange)
    lacking = [key for key in use.needed if key not in table.entries]
    if not table.merged:
        problems += (faults.missing_key(part.span, part.subject, key, _remedy(key)) for key in lacking)
    if shape.url is not None and "url" in use.keys and (problem := address_fault(shape.url, part, "url")):
        problems.append(problem)
    if shape.use == "model":
        _check_labels(shape, part, problems)
        if shape.confidence is not None and shape.confidence.missing is None and "confidence" not in lost:
            problems.append(classifier_faults.confidence_without_missing(table.key_spans["confidence"], part.subject))
    writes = _writes(part, problems) if "writes" in use.keys | set(use.stored) else {}

    return None if lacking or lost & use.keys else writes


def classifier_fields(fields: Mapping[str, Any], shape: ClassifierShape, writes: Mapping[str, Attribute]) -> dict[str, Any]:
    """
    Return the fields of a classifier node, among them those of every node that calls.
    """
    deadline = shape.deadline
    if deadline is None and shape.use in ("http", "python"):
        deadline = DEADLINE_US
    calls = shape.use == "model"

    return {
        **(fields if calls else {"role": shape.role, "visits": shape.visits}),
        "use": shape.use,
        "deadline_us": deadline,
        "weights": shape.weights,
        "url": shape.url,
        "key_env": shape.key_env,
        "function": shape.function,
        "labels": tuple(shape.labels or ()),
        "writes": writes,
    }


def _misplaced(span: Span, subject: str, key: str, use: str) -> Problem:
    owners = tuple(name for name, other in _USES.items() if key in other.keys)

    return classifier_faults.key_of_other_use(span, subject, key, use, owners)


def _remedy(key: str) -> str:
    return {
        "backend": "name the backend whose model answers",
        "labels": "list what the model may answer: labels: [simple, hard]",
        "writes": "declare the signals it gives: writes: {risk: {type: number, range: [0, 1]}}",
        "function": "name it as package.module:function",
        "weights": "name the file that `meshwalk train-classifier` wrote",
        "url": 'for example url: "http://127.0.0.1:8080/classify" or url: "${TRIAGE_URL}"',
    }[key]


def _check_labels(shape: ClassifierShape, part: Part, problems: list[Problem]) -> None:
    seen: set[str] = set()
    for position, label in enumerate(shape.labels or ()):
        labels = part.table.entries["labels"]
        span = labels.items[position].span if isinstance(labels, Series) else labels.span
        folded = " ".join(label.casefold().split())
        if not any(map(str.isalnum, folded)):
            problems.append(classifier_faults.label_without_word(span, part.subject, label))
        elif folded in seen:
            problems.append(classifier_faults.label_taken(span, part.subject, label))
        seen.add(folded)


def _writes(part: Part, problems: list[Problem]) -> dict[str, Attribute]:
    piece = part.table.entries.get("writes")
    if piece is None:
        return {}
    subject = f"'writes' of {part.subject}"
    table = part_of(piece, subject, part.table.key_spans["writes"], problems)
    if table is None:
        return {}
    if not table.table.entries:
        problems.append(faults.empty_part(table.span, subject))
    signals = {}
    for name, inner in table.table.entries.items():
        span = table.table.key_spans[name]
        if why := why_no_identifier(name):
            problems.append(faults.bad_name(span, "a signal", name, why))
        declared = part_of(inner, f"signal '{name}'", span, problems)
        if declared is not None:
            signals[name] = _signal(name, span, declared, problems)

    return signals


def _signal(name: str, span: Span, part: Part, problems: list[Problem]) -> Attribute:
    part = respelt(part, SignalShape.known_keys(), problems)
    fitted = fit(SignalShape, part, problems)
    shape = fitted.shape
    if "type" not in fitted.lost:
        for key, type, value in (("enum", "string", shape.enum), ("range", "number", shape.range)):
            if value and shape.type != type:
                problems.append(faults.key_of_other_type(part.table.key_spans[key], part.subject, key, shape.type, type))

    return Attribute(name, shape.type, span, tuple(shape.enum or ()), shape.range, None, shape.description or "")


# ---- what is needed to run ------------------------------------------------------------------------------------------


def complete_classifiers(
    nodes: Mapping[str, Node], files: GraphFiles, findings: Findings
) -> tuple[dict[str, Node], dict[str, str]]:
    """
    Read the weights that *nodes* name: return the nodes with the signals of their heads, and the files' hashes.
    """
    completed, hashes = {}, {}
    for name, node in nodes.items():
        completed[name] = node
        use = _USES[node.use or "features"] if node.role == "classifier" else _Use()
        for key in use.to_run:
            if key not in node.places:
                findings.problems.append(faults.missing_key(node.span, f"node '{name}'", key, _remedy(key)))
                findings.broken.add(name)
        for key in use.stored:
            if key in node.places:
                findings.problems.append(_misplaced(node.places[key], f"node '{name}'", key, node.use or ""))
        if node.role == "classifier" and node.use == "weights" and node.weights is not None:
            completed[name], hashes[f"nodes.{name}.weights"] = _learnt(node, node.weights, files, findings)

    return completed, hashes


def _learnt(node: Node, file: str, files: GraphFiles, findings: Findings) -> tuple[Node, str]:
    # Few graphs have trained weights.
    from meshwalk.model.weights import NoWeights, read_weights  # noqa: PLC0415

    span = node.places["weights"]
    try:
        with files.open(file) as opened:
            text = opened.read(_MAX_BYTES)
    except (OSError, OutsideFolderError, ValueError) as error:
        findings.problems.append(unread_file(span, file, files, error))
        findings.broken.add(node.name)
        return node, ""
    try:
        heads = [head.name for head in read_weights(text).heads]
    except NoWeights as error:
        findings.problems.append(classifier_faults.bad_weights(span, file, str(error)))
        findings.broken.add(node.name)
        return node, ""
    for head in heads:
        if why := why_no_identifier(head):
            findings.problems.append(classifier_faults.bad_head(span, head, why))
    writes = {head: Attribute(head, "number", span, range=(0.0, 1.0)) for head in heads}

    return replace(node, writes=writes), hashlib.sha256(text).hexdigest()


# ---- several classifiers --------------------------------------------------------------------------------------------


def compare_signals(nodes: Mapping[str, Node], findings: Findings) -> None:
    """
    Check that classifiers which give a signal of one name declare it alike.
    """
    first: dict[str, tuple[Attribute, str]] = {}
    problems = findings.problems
    # A broken node's declarations may not be what its author meant.
    intact = [node for node in nodes.values() if node.name not in findings.broken]
    signals = [(node, signal) for node in intact for signal in written(node)]
    for node, signal in signals:
        features = FEATURES.get(signal.name)
        if features is not None and (signal.type, signal.range) != ("number", features):
            problems.append(classifier_faults.name_of_feature(signal.span, signal.name, node.name))
            continue
        known, other = first.setdefault(signal.name, (signal, node.name))
        if (known.type, set(known.enum), known.range) != (signal.type, set(signal.enum), signal.range):
            problems.append(classifier_faults.signals_differ(signal.span, signal.name, node.name, other))
