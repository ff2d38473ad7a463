"""
Backends: from shapes to the model, with the hashes of the files they name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from meshwalk.loader.messages import backend_faults, faults
from meshwalk.loader.parts.addresses import address_fault, without_secrets
from meshwalk.loader.parts.calls import faults_of_calls, shape_of_calls
from meshwalk.loader.parts.fit import Findings, Fitted, Part, choose, fit, guessed, part_of, respelt, with_key_found
from meshwalk.loader.parts.other_names import remedies_for_backend
from meshwalk.loader.parts.prices import Prices, price_of, unread_file
from meshwalk.loader.parts.traffic import listed_endpoints, read_endpoints, traffic_of
from meshwalk.loader.schema.backends import (
    BACKEND_KEYS,
    BACKEND_SHAPES,
    AnyBackendShape,
    CacheShape,
    LocalShape,
    OpenAIShape,
    PythonShape,
    RecordedShape,
    SimulatedShape,
)
from meshwalk.loader.schema.graph import NODE_KEYS
from meshwalk.loader.schema.traffic import Sticky
from meshwalk.loader.yaml.document import Piece, Scalar, Table
from meshwalk.model import (
    PACKAGED_TEMPLATE,
    SERVED_TEMPLATE,
    AnyBackendSpec,
    CacheSpec,
    Endpoint,
    LocalSpec,
    OpenAISpec,
    Price,
    PythonSpec,
    RecordedSpec,
    SimulatedSpec,
    Template,
)
from meshwalk.model.problems import Problem, Span
from meshwalk.model.trust import GraphFiles, OutsideFolderError


def read_backend(
    name: str, span: Span, piece: Piece, prices: Prices, findings: Findings, *, stored: bool = False
) -> AnyBackendSpec | None:
    """
    Read one backend, or report why there is nothing to read and note its name as broken.

    Args:
        stored: Whether the graph is a stored plan's, which names its templates, or is older than they are.
    """
    problems = findings.problems
    part = part_of(piece, f"backend '{name}'", span, problems)
    if part is None:
        findings.broken.add(name)
        return None
    part = without_secrets(part, problems)
    elsewhere = remedies_for_backend(part.table.entries.keys() - set(BACKEND_KEYS), NODE_KEYS)
    part = respelt(part, BACKEND_KEYS, problems, elsewhere)
    part = with_key_found(part, "kind", BACKEND_SHAPES, BACKEND_KEYS, problems)
    kind = choose(part, "kind", BACKEND_SHAPES, problems)
    if kind is None:
        findings.broken.add(name)
        guess = guessed(part, "kind", BACKEND_SHAPES)
        if guess is None:
            return None
        part, kind = guess
    shape = BACKEND_SHAPES[kind]
    row = _row(part.table)
    preset = {"kind": kind, **listed_endpoints(part.table)}
    if row is not None:
        preset["usd_per_mtok"] = None
    fitted = fit(shape, part, problems, preset=preset, elsewhere=elsewhere | _whose(part.table, shape))
    _check(fitted, part, problems)
    price = _price(fitted.shape, part, problems) if row is None else prices.of(row.value, row.span, name, problems)
    endpoints = read_endpoints(part, problems) if isinstance(fitted.shape, OpenAIShape) else ()
    if fitted.lost or (row is not None and price is None):
        findings.broken.add(name)

    spec = _spec(name, span, fitted.shape, price, endpoints)

    return spec if stored or spec.template is not None else replace(spec, template=_usual_template(spec))


def _usual_template(spec: AnyBackendSpec) -> Template | None:
    """
    Return what the chat template of a backend may add that declares none; there is none where no model reads one.
    """
    if isinstance(spec, LocalSpec):
        return PACKAGED_TEMPLATE if spec.model is None else SERVED_TEMPLATE

    return SERVED_TEMPLATE if isinstance(spec, OpenAISpec) else None


def _row(table: Table) -> Scalar | None:
    """
    Return the name of a row of the table of prices, if one stands in place of a price.
    """
    named = table.scalar("usd_per_mtok")

    return named if named is not None and isinstance(named.value, str) else None


def _price(shape: AnyBackendShape, part: Part, problems: list[Problem]) -> Price | None:
    if shape.usd_per_mtok is None:
        return None
    inner = part.table.entries["usd_per_mtok"]
    assert isinstance(inner, Table)

    return price_of(shape.usd_per_mtok, Part(inner, f"'usd_per_mtok' of {part.subject}", part.span), problems)


def _whose(table: Table, shape: type[AnyBackendShape]) -> dict[str, str]:
    remedies = {}
    for key in table.entries.keys() - set(shape.known_keys()):
        owners = [kind for kind, other in BACKEND_SHAPES.items() if key in other.known_keys()]
        if owners:
            remedies[key] = f"'{key}' is for: {', '.join(owners)}"

    return remedies


def _check(fitted: Fitted[AnyBackendShape], part: Part, problems: list[Problem]) -> None:
    shape = fitted.shape
    if isinstance(shape, OpenAIShape):
        problems += faults_of_calls(shape, part)
    if isinstance(shape, OpenAIShape) and shape.base_url is not None:
        problem = address_fault(shape.base_url, part)
        if problem is not None:
            problems.append(problem)
    if isinstance(shape, SimulatedShape) and shape.latency is not None and shape.latency.p99 is not None:
        latency = part.table.entries["latency"]
        if shape.latency.p99 < shape.latency.p50 and isinstance(latency, Table):
            problems.append(faults.quantiles_crossed(latency.place("p99"), part.subject))


def _spec(
    name: str, span: Span, shape: AnyBackendShape, price: Price | None, endpoints: tuple[Endpoint, ...]
) -> AnyBackendSpec:
    common: dict[str, Any] = {
        "name": name,
        "span": span,
        "price": price,
        "context_tokens": shape.context_tokens,
        "tokenizer": shape.tokenizer,
        "traffic": None if isinstance(shape, CacheShape) else traffic_of(shape, _sticky(shape)),
        "description": shape.description or "",
        "tokens_per_byte": shape.tokens_per_byte,
        "template": None if shape.template is None else Template(shape.template.per_request, shape.template.per_message),
    }
    match shape:
        case OpenAIShape():
            return OpenAISpec(
                **common,
                model=shape.model,
                base_url=shape.base_url,
                key_env=shape.key_env,
                endpoints=endpoints,
                **shape_of_calls(shape),
            )
        case LocalShape():
            return LocalSpec(**common, model=shape.model, threads=shape.threads)
        case RecordedShape():
            return RecordedSpec(**common, model=shape.model, data=shape.data)
        case PythonShape():
            return PythonSpec(**common, function=shape.function)
        case SimulatedShape():
            return SimulatedSpec(**common, **_pretence(shape))
        case CacheShape():
            return CacheSpec(**common, of=shape.of, ttl_us=shape.ttl, entries=shape.entries, size_bytes=shape.size)


def _sticky(shape: AnyBackendShape) -> Sticky | None:
    return shape.sticky if isinstance(shape, OpenAIShape) else None


def _pretence(shape: SimulatedShape) -> dict[str, Any]:
    p50 = 0 if shape.latency is None else shape.latency.p50
    p99 = None if shape.latency is None else shape.latency.p99
    fields: dict[str, Any] = {
        "latency_p50_us": p50,
        "latency_p99_us": p50 if p99 is None else p99,
        "output_tokens": shape.output_tokens,
        "confidence": shape.confidence,
        "seed": shape.seed,
    }
    if shape.failure is not None:
        fields |= {"failure_rate": shape.failure.rate, "failure_class": shape.failure.class_}

    return fields


# ---- caches ----------------------------------------------------------------------------------------------------------


def resolve_caches(
    backends: dict[str, AnyBackendSpec], section: Piece | None, hashes: dict[str, str], findings: Findings
) -> None:
    """
    Complete each cache among *backends* from the backend behind it, or report that there is none.

    Args:
        hashes: Of the files that backends name; a cache counts with the other's tokenizer, so its hash is noted for both.
    """
    for name, spec in backends.items():
        if not isinstance(spec, CacheSpec) or name in findings.broken:
            continue
        inner = backends.get(spec.of)
        if inner is None or isinstance(inner, CacheSpec):
            if isinstance(inner, CacheSpec) or spec.of not in findings.broken:
                findings.problems.append(_no_inner(spec, section, backends))
            findings.broken.add(name)
            continue
        if inner.name in findings.broken:
            findings.broken.add(name)
        # Hashes tell of a tokenizer where a stored plan does not name its file.
        key, inner_key = (f"backends.{one}.tokenizer" for one in (name, inner.name))
        if spec.tokenizer is None and key not in hashes and inner_key in hashes:
            hashes[key] = hashes[inner_key]
        if spec.price not in (None, inner.price):
            # A miss costs as much as a call of the other backend.
            message = f"backend '{name}' keeps the replies of '{inner.name}', and has another price than that"
            findings.problems.append(Problem(spec.span, "unknown-key", message, "leave usd_per_mtok: out; hits cost nothing"))
            findings.broken.add(name)
            continue
        backends[name] = replace(
            spec,
            price=inner.price if spec.price is None else spec.price,
            context_tokens=inner.context_tokens if spec.context_tokens is None else spec.context_tokens,
            tokenizer=inner.tokenizer if spec.tokenizer is None else spec.tokenizer,
            template=spec.template or inner.template,
            tokens_per_byte=inner.tokens_per_byte if spec.tokens_per_byte is None else spec.tokens_per_byte,
        )


def _no_inner(spec: CacheSpec, section: Piece | None, backends: Mapping[str, AnyBackendSpec]) -> Problem:
    table = section.entries[spec.name] if isinstance(section, Table) else None
    span = table.place("of") if isinstance(table, Table) else spec.span
    able = [name for name, other in backends.items() if not isinstance(other, CacheSpec)]

    fault = backend_faults.cache_of_cache if spec.of in backends else backend_faults.cache_of_nothing

    return fault(span, spec.name, spec.of, able)


# ---- the files a graph names ----------------------------------------------------------------------------------------


def hash_files(
    backends: Mapping[str, AnyBackendSpec], section: Piece | None, files: GraphFiles, problems: list[Problem]
) -> dict[str, str]:
    """
    Return the SHA-256 of each file that *backends* name, by the key that names it; a file that is not there is a fault.
    """
    hashes = {}
    for name, spec in backends.items():
        table = section.entries[name] if isinstance(section, Table) else None
        for key in _files(spec):
            named = table.scalar(key) if isinstance(table, Table) else None
            if named is None or not isinstance(named.value, str):
                continue
            try:
                with files.open(named.value) as file:
                    hashes[f"backends.{name}.{key}"] = hashlib.file_digest(file, "sha256").hexdigest()
            except (OSError, OutsideFolderError, ValueError) as error:
                problems.append(unread_file(named.span, named.value, files, error))

    return hashes


def _files(spec: AnyBackendSpec) -> tuple[str, ...]:
    match spec:
        case RecordedSpec():
            return ("data", "tokenizer")
        case LocalSpec():
            return ("model", "tokenizer")
        case _:
            return ("tokenizer",)
