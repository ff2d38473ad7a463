"""
A graph in one fixed form, so that what means the same reads the same.

The form is the YAML shape itself as JSON with sorted keys: durations in decimal seconds, guards as their trees print, what was
left out left out.  The loader reads it back, which makes a stored plan enough to replay its records; beside it stand
the hashes of the files the graph names.

What does not decide is left out: descriptions, places, addresses (`base_url`, `key_env`, file paths), how content is
recorded, the version's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from meshwalk.model import (
    PRESSURE_FROM,
    AnyBackendSpec,
    Attribute,
    Backoff,
    Budget,
    CacheSpec,
    Confidence,
    Edge,
    Endpoint,
    Graph,
    LocalSpec,
    Mark,
    Node,
    OpenAISpec,
    PythonSpec,
    RecordedSpec,
    Sampling,
    SimulatedSpec,
    Threshold,
    Traffic,
    pricing,
)


# The guards' canonical text by (node, position in `next`).
GuardTexts = Mapping[tuple[str, int], str]


def form(graph: Graph, guard_texts: GuardTexts) -> dict[str, Any]:
    """
    Return the parts of *graph* that decide: `graph` in the loader's shape, and `hashes` of the files it names.
    """
    body = {
        "meshwalk": 1,
        "name": graph.name,
        "start": graph.start,
        "request": {name: _attribute(attribute) for name, attribute in graph.attributes.items()},
        "thresholds": {name: _threshold(threshold) for name, threshold in graph.thresholds.items()},
        "limits": _limits(graph),
        "budgets": {scope: _budget(budget) for scope, budget in graph.budgets.items()},
        "prices": _prices(graph),
        "backends": {name: _backend(spec) for name, spec in graph.backends.items()},
        "nodes": {name: _node(node, guard_texts) for name, node in graph.nodes.items()},
    }

    # An empty list says that callers may set nothing, which is not what leaving it out says.
    return {"graph": {**_stated(body), "sampling": sorted(graph.allowed_sampling)}, "hashes": dict(graph.hashes)}


def shape(whole: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a form without its threshold values.
    """
    graph = dict(whole["graph"])
    if "thresholds" in graph:
        graph["thresholds"] = {
            name: {key: value for key, value in threshold.items() if key != "value"}
            for name, threshold in graph["thresholds"].items()
        }

    return {**whole, "graph": graph}


def text(whole: Mapping[str, Any]) -> bytes:
    """
    Print a form as JSON with sorted keys.
    """
    return _escaped(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS))


def parts(text: bytes) -> tuple[bytes, dict[str, str]]:
    """
    Split a printed form into the graph, as text for the loader, and the hashes.

    Raises:
        ValueError: If *text* is not such a form.
    """
    whole = orjson.loads(text)
    if not isinstance(whole, dict) or whole.keys() != {"graph", "hashes"}:
        raise ValueError("this is not the canonical form of a graph")

    return _escaped(orjson.dumps(whole["graph"])), whole["hashes"]


# JSON takes these raw and YAML does not, or takes them for ends of lines; all are in the Basic Multilingual Plane.
_NOT_RAW = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def _escaped(text: bytes) -> bytes:
    return _NOT_RAW.sub(lambda match: f"\\u{ord(match[0]):04x}", text.decode()).encode()


def _stated(entries: Mapping[str, Any]) -> dict[str, Any]:
    # A key left out and a key set to nothing mean the same; 0 and False are something.
    return {key: value for key, value in entries.items() if value is not None and value not in ("", (), [], {})}


def _us(duration: int | None) -> str | None:
    # Exact: whole seconds and six decimals, as an author would write them.
    return None if not duration else f"{duration // 1_000_000}.{duration % 1_000_000:06}".rstrip("0").rstrip(".") + "s"


def _usd(nano_usd: int | None) -> float | None:
    return None if nano_usd is None else nano_usd / 1e9


def _attribute(attribute: Attribute) -> dict[str, Any]:
    entries = _stated(
        {"type": attribute.type, "enum": list(attribute.enum), "range": attribute.range and list(attribute.range)}
    )
    if attribute.default is not None:
        entries["default"] = attribute.default

    return entries


def _threshold(threshold: Threshold) -> dict[str, Any]:
    return _stated({"value": threshold.value, "range": threshold.range and list(threshold.range)})


def _limits(graph: Graph) -> dict[str, Any]:
    limits = graph.limits

    return _stated(
        {
            "hops": limits.hops,
            "deadline": _us(limits.deadline_us),
            "cost_usd": _usd(limits.cost_nano_usd),
            "input_bytes": limits.input_bytes,
            "output_tokens": limits.output_tokens,
            "input_tokens": limits.input_tokens,
            "calls": limits.calls,
            "pressure_from": _pressure_from(graph.pressure_from),
        }
    )


def _budget(budget: Budget) -> dict[str, Any]:
    caps = budget.caps

    return _stated(
        {
            "cost_usd": _usd(caps.cost_nano_usd),
            "input_tokens": caps.input_tokens,
            "output_tokens": caps.output_tokens,
            "calls": caps.calls,
            "hops": caps.hops,
            "window": _us(budget.window_us),
            "pressure_from": _pressure_from(budget.pressure_from),
            "required": budget.required or None,
            "away": budget.away if budget.away != "closed" else None,
        }
    )


def _prices(graph: Graph) -> dict[str, Any]:
    # A name that follows from the prices is found again with them.
    return {"version": graph.prices} if graph.prices != pricing.version_of(graph.backends) else {}


def _pressure_from(share: float) -> float | None:
    return share if share != PRESSURE_FROM else None


def _backend(spec: AnyBackendSpec) -> dict[str, Any]:
    price = spec.price and _stated(
        {
            "input": _usd(spec.price.input_nano_per_mtok),
            "output": _usd(spec.price.output_nano_per_mtok),
            "cached_input": _usd(spec.price.cached_nano_per_mtok),
            "reasoning": _usd(spec.price.reasoning_nano_per_mtok),
            "cache_write": _usd(spec.price.cache_write_nano_per_mtok),
            "above": [_mark(mark) for mark in spec.price.above],
        }
    )
    common = {
        "context_tokens": spec.context_tokens,
        "usd_per_mtok": price,
        "tokens_per_byte": spec.tokens_per_byte,
        "template": None if spec.template is None else spec.template._asdict(),
        **_traffic(spec.traffic or Traffic()),
    }
    particular: dict[str, Any]
    match spec:
        case OpenAISpec():
            # Their order is nobody's; each has its name.
            endpoints = [_endpoint(endpoint) for endpoint in sorted(spec.endpoints)]
            particular = {"kind": "openai", "model": spec.model, "endpoints": endpoints, **_calls(spec)}
        case LocalSpec():
            particular = {"kind": "local"}
        case RecordedSpec():
            particular = {"kind": "recorded", "model": spec.model}
        case SimulatedSpec():
            particular = {
                "kind": "simulated",
                "latency": _stated({"p50": _us(spec.latency_p50_us), "p99": _us(spec.latency_p99_us)}),
                "output_tokens": spec.output_tokens,
                "failure": {"rate": spec.failure_rate, "class": spec.failure_class},
                "confidence": spec.confidence,
                "seed": spec.seed,
            }
        case PythonSpec():
            particular = {"kind": "python", "function": spec.function}
        case CacheSpec():
            particular = {
                "kind": "cache",
                "of": spec.of,
                "ttl": _us(spec.ttl_us),
                "entries": spec.entries,
                "size": spec.size_bytes,
            }

    return _stated(particular | common)


def _mark(mark: Mark) -> dict[str, Any]:
    plain_in, plain_out, cached, reasoning, written = mark.rates

    return _stated(
        {
            "input_tokens": mark.input_tokens,
            "input": _usd(plain_in),
            "output": _usd(plain_out),
            "cached_input": _usd(cached),
            "reasoning": _usd(reasoning),
            "cache_write": _usd(written),
        }
    )


def _calls(spec: OpenAISpec) -> dict[str, Any]:
    """
    Return the settings of calls to a server that affect its answers or how they are read.
    """
    tags = spec.thoughts

    return {
        "max_tokens_name": spec.max_tokens_name,
        "leave_out": list(spec.leave_out),
        "extra": orjson.loads(spec.extra) if spec.extra else None,
        "headers": dict(spec.headers),
        "roles": dict(spec.roles),
        "stream_options": None if spec.stream_options else False,
        "thoughts": None if tags is None else _stated(tags._asdict()),
        "takes": ["text", *spec.takes] if spec.takes else None,
        "image_tokens": spec.image_tokens,
        "cost": "reported" if spec.settles_reported else None,
    }


def _stream(tokens: int | None) -> str | dict[str, int] | None:
    if not tokens:
        return None if tokens is None else "live"

    return {"hold_first": tokens}


def _traffic(traffic: Traffic) -> dict[str, Any]:
    breaker = traffic.breaker

    return {
        "requests_per_minute": traffic.requests_per_minute,
        "tokens_per_minute": traffic.tokens_per_minute,
        "concurrency": traffic.concurrency,
        "queue": _stated(
            {"length": traffic.queue if traffic.queue != Traffic().queue else None, "wait": _us(traffic.queue_wait_us)}
        ),
        "sticky": traffic.sticky,
        # Whole even where it says nothing of its own: that it is there says something.
        "breaker": breaker
        and {
            "failures": breaker.failures,
            "share": breaker.share,
            "window": _us(breaker.window_us),
            "calls": breaker.min_calls,
            "open": _us(breaker.open_us),
        },
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return _stated(
        {
            "name": endpoint.name,
            "weight": endpoint.weight if endpoint.weight != 1 else None,
            "requests_per_minute": endpoint.requests_per_minute,
            "tokens_per_minute": endpoint.tokens_per_minute,
            "concurrency": endpoint.concurrency,
        }
    )


def _backoff(backoff: Backoff) -> dict[str, Any] | None:
    # Without a pause is not without a word about it.
    return None if backoff == Backoff() else {"first": _us(backoff.first_us) or "0s", "most": _us(backoff.max_us) or "0s"}


def _node(node: Node, guard_texts: GuardTexts) -> dict[str, Any]:
    confidence = node.confidence and _confidence(node.confidence)
    scores = node.role == "verifier"

    return _stated(
        {
            "role": node.role,
            "use": node.use,
            "backend": node.backend,
            "of": list(node.of),
            "labels": list(node.labels),
            "function": node.function,
            "writes": {name: _attribute(signal) for name, signal in node.writes.items()},
            "extract": node.extract if scores and node.use != "model" else None,
            "system": node.system,
            "prompt": node.prompt,
            "qualified": node.qualified and {"matches": node.qualified},
            "confidence": None if scores else confidence,
            "score": confidence if scores else None,
            **_sampling(node.sampling),
            "deadline": _us(node.deadline_us),
            "attempt_timeout": _us(node.attempt_timeout_us),
            "min_time": _us(node.min_time_us),
            "retries": node.retries or None,
            "stream": _stream(node.stream),
            "first_token": _us(node.first_token_us),
            "between_tokens": _us(node.between_tokens_us),
            "backoff": _backoff(node.backoff),
            "hedge": _us(node.hedge_us),
            "visits": node.visits if node.visits != 1 else None,
            "next": [_edge(edge, guard_texts.get((node.name, position))) for position, edge in enumerate(node.next)],
            "on_error": [_edge(edge, None) for edge in node.on_error],
            "reason": node.reason,
        }
    )


def _confidence(confidence: Confidence) -> dict[str, Any]:
    entries = {"from": confidence.source, "pattern": confidence.pattern, "missing": confidence.missing}
    if confidence.source == "agreement":
        entries |= {"samples": confidence.samples, "extract": confidence.extract}

    return _stated(entries)


def _sampling(sampling: Sampling) -> dict[str, Any]:
    return {name: list(value) if name == "stop" and value else value for name, value in sampling._asdict().items()}


def _edge(edge: Edge, when: str | None) -> dict[str, Any]:
    return _stated(
        {
            "to": edge.to,
            "when": when,
            "class": sorted(edge.classes),
            "answer": edge.answer,
            "else": edge.otherwise,
            "id": edge.id,
        }
    )
