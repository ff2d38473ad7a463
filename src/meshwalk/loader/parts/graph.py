"""
The whole graph: its header and sections, each part on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from meshwalk.loader.messages import faults
from meshwalk.loader.parts.backends import hash_files, read_backend, resolve_caches
from meshwalk.loader.parts.budgets import limits_of, read_budgets
from meshwalk.loader.parts.classifiers import compare_signals, complete_classifiers
from meshwalk.loader.parts.fit import Findings, Fitted, Part, fit, part_of, respelt, spelt_out
from meshwalk.loader.parts.nodes import read_node, with_quotes
from meshwalk.loader.parts.prices import Prices, check_use, read_prices
from meshwalk.loader.parts.trust import check_trust
from meshwalk.loader.schema.budgets import WalkLimitsShape
from meshwalk.loader.schema.graph import AttributeShape, GraphShape, HeaderShape, RecordShape, ThresholdShape
from meshwalk.loader.schema.values import why_no_identifier
from meshwalk.loader.yaml.document import Document, Piece, Scalar, Table, plain
from meshwalk.model import DONE, AnyBackendSpec, Attribute, Budget, Graph, Node, Recording, Sampling, Threshold
from meshwalk.model.problems import GraphError, Problem, Span, in_file_order
from meshwalk.model.reserved import RESERVED_ATTRIBUTES
from meshwalk.model.signals import accepts
from meshwalk.model.spelling import did_you_mean
from meshwalk.model.trust import GraphFiles


_GRAPH = "the graph"
_SECTIONS = frozenset(GraphShape.known_keys()) - frozenset(HeaderShape.known_keys())
_BUILT_IN = ("urgency", "correctness")
# A file with more unknown keys is no graph with slips in it.
_MAX_HELPED = 50
_OF_THE_TEXT = ("yaml-tag", "control-character")


class _Named(NamedTuple):
    """
    One part of a section: its name, the name's place, and its value.
    """

    name: str
    span: Span
    piece: Piece


def build(document: Document, *, file: str, files: GraphFiles, hashes: Mapping[str, str] | None) -> Graph:
    """
    Build the graph that *document* holds.

    Raises:
        GraphError: If it is no table of keys at all.
    """
    root = document.root
    if not isinstance(root, Table):
        raise GraphError([*document.problems, faults.not_a_graph(root.span)])
    findings = Findings(document.problems, set())
    problems = findings.problems
    top = root.span._replace(length=1)
    root = respelt(Part(root, _GRAPH, top), GraphShape.known_keys(), problems).table
    header, lost = _header(root, problems)
    of_requests, of_thresholds, of_backends, of_nodes = (Findings(problems, set()) for _ in range(4))
    attributes = _attributes(root, of_requests)
    thresholds = _thresholds(root, of_thresholds)
    prices = read_prices(root, files, problems, stored=hashes is not None)
    backends = _backends(root, prices, of_backends)
    nodes = _nodes(root, {*attributes, *_BUILT_IN, *of_requests.broken}, of_nodes)
    named = {"request": of_requests, "thresholds": of_thresholds, "backends": of_backends, "nodes": of_nodes}
    findings.broken.update(*(one.broken for one in named.values()))
    _check_ids(nodes, problems)
    allowance = _allowance(root, problems)
    budgets = _budgets(root, findings)
    section = root.entries.get("backends")
    if hashes is None:
        hashed = hash_files(backends, section, files, problems)
        nodes, learnt = complete_classifiers(nodes, files, findings)
        hashed |= learnt
    else:
        hashed = dict(hashes)
        # The version that stored the plan took these, and its walks are to be replayed.
        problems[:] = [problem for problem in problems if problem.code != faults.FOREIGN_PATTERN]
    compare_signals(nodes, findings)
    resolve_caches(backends, section, hashed, findings)
    recording = _recording(root, problems)
    check_trust(backends.values(), nodes.values(), recording, root.key_spans.get("record", top), files.trust, problems)
    if prices.table is not None:
        hashed["prices"] = prices.table.digest
        check_use(prices, problems)

    return Graph(
        name=header.name,
        file=file,
        span=Span(file, 1, 1),
        start="" if "start" in lost else header.start,
        start_span=root.place("start"),
        nodes=nodes,
        backends=backends,
        attributes=attributes,
        thresholds=thresholds,
        limits=limits_of(allowance),
        limits_span=root.key_spans.get("limits"),
        pressure_from=allowance.pressure_from,
        budgets=budgets,
        allowed_sampling=Sampling._fields if header.sampling is None else tuple(header.sampling),
        recording=recording,
        version=header.version or "",
        prices=prices.version_for(backends),
        description=header.description or "",
        hashes=hashed,
        broken=frozenset(findings.broken),
        broken_in={section: frozenset(one.broken) for section, one in named.items()},
        problems=in_file_order(_causes(problems)),
        folder=files.folder,
    )


def _causes(problems: Sequence[Problem]) -> list[Problem]:
    """
    Leave out further problems of a value whose text cannot be taken.
    """
    unread = {problem.span[:3] for problem in problems if problem.code in _OF_THE_TEXT}

    return [problem for problem in problems if problem.code in _OF_THE_TEXT or problem.span[:3] not in unread]


def _header(root: Table, problems: list[Problem]) -> Fitted[HeaderShape]:
    top = root.span._replace(length=1)
    table = Table(root.span)
    table.key_spans = root.key_spans
    table.merged = root.merged
    table.entries = {key: piece for key, piece in root.entries.items() if key not in _SECTIONS}
    if "nodes" not in root.entries and not root.merged:
        problems.append(faults.missing_key(top, _GRAPH, "nodes"))

    known = GraphShape.known_keys()
    strange = [key for key in table.entries if key not in known][:_MAX_HELPED]
    elsewhere = {key: did_you_mean(key, known) or f"it takes: {', '.join(known)}" for key in strange}

    return fit(HeaderShape, Part(table, _GRAPH, top), problems, elsewhere=elsewhere)


def _section(root: Table, key: str, problems: list[Problem]) -> Table | None:
    piece = root.entries.get(key)
    match piece:
        case None | Table():
            return piece
        case Scalar(value=None):
            problems.append(faults.no_value(root.key_spans[key], _GRAPH, key))
        case _:
            problems.append(faults.wrong_type(piece.span, f"'{key}' of {_GRAPH}", plain(piece), "a table of keys"))

    return None


def _named(root: Table, section: str, what: str, findings: Findings) -> Iterator[_Named]:
    """
    Yield the parts of a section whose names guards can use.
    """
    table = _section(root, section, findings.problems)
    if table is None:
        return
    for name, piece in table.entries.items():
        span = table.key_spans[name]
        why = why_no_identifier(name)
        if why:
            findings.problems.append(faults.bad_name(span, what, name, why))
            findings.broken.add(name)
        # A part with a bad name is still read, so that its other faults are reported in the same run.
        yield _Named(name, span, piece)


def _attributes(root: Table, findings: Findings) -> dict[str, Attribute]:
    attributes = {}
    for name, span, piece in _named(root, "request", "an attribute", findings):
        if name in _BUILT_IN:
            findings.problems.append(faults.built_in(span, name))
            continue
        if name in RESERVED_ATTRIBUTES:
            # It is known all the same, so that guards that read it are not faulted too.
            findings.problems.append(faults.reserved_attribute(span, name))
        part = part_of(piece, f"attribute '{name}'", span, findings.problems)
        if part is None:
            findings.broken.add(name)
            continue
        part = respelt(part, AttributeShape.known_keys(), findings.problems)
        fitted = fit(AttributeShape, part, findings.problems)
        if fitted.lost:
            findings.broken.add(name)
        shape = fitted.shape
        attributes[name] = Attribute(
            name, shape.type, span, tuple(shape.enum or ()), shape.range, shape.default, shape.description or ""
        )
        if "type" not in fitted.lost:
            _check_attribute(attributes[name], part, findings.problems)

    return attributes


def _check_attribute(attribute: Attribute, part: Part, problems: list[Problem]) -> None:
    for key, type, value in (("enum", "string", attribute.enum), ("range", "number", attribute.range)):
        if value and attribute.type != type:
            problems.append(faults.key_of_other_type(part.table.key_spans[key], part.subject, key, attribute.type, type))
            return
    why = "" if attribute.default is None else accepts(attribute, attribute.default)
    if why:
        problems.append(faults.bad_default(part.table.place("default"), part.subject, why))


def _thresholds(root: Table, findings: Findings) -> dict[str, Threshold]:
    thresholds = {}
    for name, span, piece in _named(root, "thresholds", "a threshold", findings):
        part = part_of(spelt_out(piece, "value", object), f"threshold '{name}'", span, findings.problems)
        if part is None:
            findings.broken.add(name)
            continue
        part = respelt(part, ThresholdShape.known_keys(), findings.problems)
        fitted = fit(ThresholdShape, part, findings.problems)
        if fitted.lost:
            findings.broken.add(name)
        shape = fitted.shape
        thresholds[name] = Threshold(name, shape.value, span, shape.range, shape.description or "")
        if shape.range and "value" not in fitted.lost and not shape.range[0] <= shape.value <= shape.range[1]:
            findings.problems.append(
                faults.outside_own_range(part.table.place("value"), part.subject, shape.value, shape.range)
            )

    return thresholds


def _backends(root: Table, prices: Prices, findings: Findings) -> dict[str, AnyBackendSpec]:
    backends = {}
    for name, span, piece in _named(root, "backends", "a backend", findings):
        spec = read_backend(name, span, piece, prices, findings, stored=prices.stored)
        if spec is not None:
            backends[name] = spec

    return backends


def _nodes(root: Table, attributes: set[str], findings: Findings) -> dict[str, Node]:
    nodes = {}
    for name, span, piece in _named(root, "nodes", "a node", findings):
        if name == DONE:
            findings.problems.append(faults.node_named_done(span))
            findings.broken.add(name)
            continue
        node = read_node(name, span, piece, attributes, findings)
        if node is not None:
            nodes[name] = node
    nodes = with_quotes(nodes)
    written = root.entries.get("nodes")
    if isinstance(written, Table) and not written.entries:
        findings.problems.append(faults.no_nodes(root.place("nodes")))

    return nodes


def _check_ids(nodes: Mapping[str, Node], problems: list[Problem]) -> None:
    seen: dict[str, Span] = {}
    for node in nodes.values():
        for edge in (*node.next, *node.on_error):
            if edge.id is None:
                continue
            if edge.id in seen:
                problems.append(faults.duplicate_id(edge.span, edge.id, seen[edge.id]))
            seen.setdefault(edge.id, edge.span)


def _allowance(root: Table, problems: list[Problem]) -> WalkLimitsShape:
    table = _section(root, "limits", problems)
    if table is None:
        return WalkLimitsShape()

    return fit(WalkLimitsShape, Part(table, "limits", root.key_spans["limits"]), problems).shape


def _budgets(root: Table, findings: Findings) -> dict[str, Budget]:
    table = _section(root, "budgets", findings.problems)
    if table is None:
        return {}

    return read_budgets(Part(table, "'budgets'", root.key_spans["budgets"]), findings)


def _recording(root: Table, problems: list[Problem]) -> Recording:
    table = _section(root, "record", problems)
    if table is None:
        return Recording()
    shape = fit(RecordShape, Part(table, "record", root.key_spans["record"]), problems).shape

    return Recording(shape.content, tuple(shape.redact))
