"""
Endpoints and traffic limits of backends, read from a graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshwalk.loader.messages import faults, traffic_faults
from meshwalk.loader.parts.addresses import address_fault, without_secrets
from meshwalk.loader.parts.fit import Part, fit, respelt
from meshwalk.loader.schema.traffic import BreakerShape, EndpointShape, Sticky, TrafficShape
from meshwalk.loader.yaml.document import Piece, Series, Table, plain
from meshwalk.model import Breaker, Endpoint, Traffic
from meshwalk.model.problems import Problem, Span


_ITS_OWN = ("base_url", "key_env")


def listed_endpoints(table: Table) -> Mapping[str, Any]:
    """
    Return what stands for the endpoints of *table* while the rest of their backend is read, if there is a list of them.
    """
    piece = table.entries.get("endpoints")

    return {"endpoints": [{}] * len(piece.items)} if isinstance(piece, Series) and piece.items else {}


def read_endpoints(part: Part, problems: list[Problem]) -> tuple[Endpoint, ...]:
    """
    Read the endpoints of the backend in *part*; those that cannot be read are left out.
    """
    if "endpoints" in part.table.entries:
        beside = [key for key in _ITS_OWN if key in part.table.entries]
        problems += [traffic_faults.beside_endpoints(part.table.key_spans[key], part.subject, key) for key in beside]
    elif "sticky" in part.table.entries:
        problems.append(traffic_faults.one_endpoint(part.table.key_spans["sticky"], part.subject))
    piece = part.table.entries.get("endpoints")
    endpoints: dict[str, Endpoint] = {}
    places: dict[str, Span] = {}
    for index, item in enumerate(piece.items if isinstance(piece, Series) else ()):
        endpoint = _endpoint(index, item, part.subject, problems)
        if endpoint is None:
            continue
        span = item.place("name") if isinstance(item, Table) else item.span
        if endpoint.name in endpoints:
            problems.append(traffic_faults.duplicate_endpoint(span, part.subject, endpoint.name, places[endpoint.name]))
            continue
        endpoints[endpoint.name], places[endpoint.name] = endpoint, span

    return tuple(endpoints.values())


def _endpoint(index: int, item: Piece, backend: str, problems: list[Problem]) -> Endpoint | None:
    subject = f"endpoint {index + 1} of {backend}"
    if not isinstance(item, Table):
        problems.append(faults.wrong_type(item.span, subject, plain(item), "a table of keys"))
        return None
    part = without_secrets(Part(item, subject, item.span), problems)
    part = respelt(part, EndpointShape.known_keys(), problems)
    shape = fit(EndpointShape, part, problems).shape
    if shape.base_url is not None:
        problem = address_fault(shape.base_url, part)
        if problem is not None:
            problems.append(problem)

    return Endpoint(
        shape.name or f"e{index + 1}",
        shape.base_url,
        shape.key_env,
        shape.weight,
        shape.requests_per_minute,
        shape.tokens_per_minute,
        shape.concurrency,
    )


def traffic_of(shape: TrafficShape, sticky: Sticky | None) -> Traffic | None:
    """
    Return the traffic that *shape* declares; what says nothing but what holds anyway declares none.
    """
    queue = shape.queue
    traffic = Traffic(
        requests_per_minute=shape.requests_per_minute,
        tokens_per_minute=shape.tokens_per_minute,
        concurrency=shape.concurrency,
        queue=Traffic().queue if queue is None else queue.length,
        queue_wait_us=None if queue is None else queue.wait,
        sticky=sticky,
        breaker=None if shape.breaker is None else _breaker(shape.breaker),
    )

    return None if traffic == Traffic() else traffic


def _breaker(shape: BreakerShape) -> Breaker:
    unsaid = Breaker()

    return Breaker(
        failures=shape.failures,
        share=shape.share,
        window_us=unsaid.window_us if shape.window is None else shape.window,
        min_calls=shape.calls,
        open_us=unsaid.open_us if shape.open is None else shape.open,
    )
