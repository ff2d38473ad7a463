"""
Spans as OTLP, and their way to a collector over gRPC.

What the spans of a traversal say stands in `spans`, and the SDK's encoder makes messages of them.  That takes several times
what the walk itself took, and of walks that went straight most of it comes out the same each time.  So the first spans of their
kind, made that way, become the prototypes of those that follow: copies, in which everything that may differ is set in place.
What a kind has in common is in its key, and nothing else is left as it was; a test holds every copy against what the SDK makes.

The channel, its settings, and what is tried again are the stock exporter's; it only gets its messages from here.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from meshwalk.telemetry import names
from meshwalk.telemetry.export import Sampled
from meshwalk.trace import Leg, Straight, Traversal


# How many spans the prototypes hold together: some megabytes, and far more than walks over graphs of a usual size differ in.
MOST_SPANS = 20_000

Kind = tuple[object, ...]
Post = Callable[[ExportTraceServiceRequest], SpanExportResult]

# Of the attributes of a request, those that spans tell.
_ASKED = frozenset({"urgency", "correctness"})

# What differs among the spans of one kind, by name and by how OTLP keeps it, in the order in which `_Fill` gives the values.
_TEXT, _COUNT, _AMOUNT = "string_value", "int_value", "double_value"
_WALK = (
    (names.TRAVERSAL_ID, _TEXT), (names.SESSION, _TEXT), (names.WORKFLOW, _TEXT), (names.TENANT, _TEXT),
    (names.ENGINE_US, _COUNT), (names.COST_USD, _AMOUNT), (names.INPUT_TOKENS, _COUNT), (names.OUTPUT_TOKENS, _COUNT),
    (names.CACHED_TOKENS, _COUNT), (names.REASONING_TOKENS, _COUNT),
)  # fmt: skip
_SPENT = (names.COST_USD, _AMOUNT), (names.RESERVED_USD, _AMOUNT)
_TIMING = (names.QUEUE_US, _COUNT), (names.CONNECT_US, _COUNT), (names.FIRST_BYTE_US, _COUNT)
_HOP = (
    (names.ENGINE_US, _COUNT), *_SPENT, (names.INPUT_TOKENS, _COUNT), (names.OUTPUT_TOKENS, _COUNT),
    (names.CACHED_TOKENS, _COUNT), (names.REASONING_TOKENS, _COUNT),
)  # fmt: skip
_CALL = (
    *_SPENT, (names.USAGE_INPUT, _COUNT), (names.USAGE_OUTPUT, _COUNT), (names.USAGE_CACHED, _COUNT),
    (names.USAGE_REASONING, _COUNT), (names.CACHE_AGE_US, _COUNT),
)  # fmt: skip


def kind_of(traversal: Traversal, straight: Straight) -> Kind:
    """
    Return what the spans of straight walks of one kind have in common.
    """
    facts = straight.facts

    return (
        traversal.source, straight.answer_hop, straight.refused_by, not traversal.parent_span_id, traversal.sampled,
        *map(bool, facts.scopes), facts.sampling.max_tokens, *[value for name, value in facts.attributes if name in _ASKED],
        *[_kind(leg) for leg in straight.legs],
    )  # fmt: skip


def _kind(leg: Leg) -> Kind:
    call = leg.call
    written = [(name, type(value), value if isinstance(value, str) else None) for name, value in leg.outputs.items()]
    if call is None:
        return leg.node, leg.edge, leg.verdicts, *written
    _, _, cached, reasoned = call.usage

    return (
        leg.node, leg.edge, leg.verdicts, call.basis, call.model, call.finish_reason, call.simulated,
        call.cache_age_us is None, not cached, not reasoned, any(call.timing), *written,
    )  # fmt: skip


class _Slot(NamedTuple):
    """
    Say where an attribute stands that differs: among its span's, as what, and among the values that are given for it.
    """

    attribute: int
    field: str
    value: int


class _Prototype(NamedTuple):
    """
    Hold the spans of a kind, parents first, and for each what is to be set in a copy.
    """

    spans: Sequence[Span]
    slots: Sequence[Sequence[_Slot]]


def _prototype(spans: Sequence[Span], straight: Straight) -> _Prototype:
    kept = []
    for span in spans:
        kept.append(Span())
        kept[-1].CopyFrom(span)
    differing: list[Sequence[tuple[str, str]]] = [_WALK]
    for leg in straight.legs:
        written = [(names.OUTPUT + name, value) for name, value in leg.outputs.items() if not isinstance(value, str)]
        outputs = [(name, "bool_value" if isinstance(value, bool) else _AMOUNT) for name, value in written]
        if leg.call is None:
            differing.append([_HOP[0], *outputs])
        else:
            # Most calls have no split of their time to tell, and then none of their kind has.
            timing = _TIMING if any(leg.call.timing) else ()
            differing += [[*_HOP, *outputs, *timing], [*_CALL, *timing]]
    # A refusal's hop has nothing that differs but its times.
    differing += [()] * (len(kept) - len(differing))

    return _Prototype(kept, [_slots(span, parts) for span, parts in zip(kept, differing, strict=True)])


def _slots(span: Span, parts: Sequence[tuple[str, str]]) -> list[_Slot]:
    places = {attribute.key: place for place, attribute in enumerate(span.attributes)}

    return [_Slot(places[name], field, value) for value, (name, field) in enumerate(parts) if name in places]


class Encoder:
    """
    Make OTLP messages of traversals.
    """

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        self._resource = resource
        self._scope = scope
        self._prototypes: dict[Kind, _Prototype] = {}
        self._room = MOST_SPANS
        # A request without spans, as the SDK makes it.
        self._empty: ExportTraceServiceRequest | None = None

    def encode(self, batch: Sequence[Sampled]) -> ExportTraceServiceRequest:
        """
        Return the spans of *batch*, in one request.
        """
        request = ExportTraceServiceRequest()
        if self._empty is not None:
            request.CopyFrom(self._empty)
        for item in batch:
            self._add(request, item)

        return request

    def _add(self, request: ExportTraceServiceRequest, item: Sampled) -> None:
        straight = item.traversal.straight
        plain = straight is not None and item.sampling is None and not _is_away(straight)
        if not plain or straight is None:
            self._add_as_told(request, item)
            return
        kind = kind_of(item.traversal, straight)
        known = self._prototypes.get(kind)
        if known is not None:
            _Fill(request.resource_spans[0].scope_spans[0], known, item.traversal, straight).fill()
            return
        made = self._add_as_told(request, item)
        if len(made) <= self._room:
            self._room -= len(made)
            self._prototypes[kind] = _prototype(made, straight)

    def _add_as_told(self, request: ExportTraceServiceRequest, item: Sampled) -> Sequence[Span]:
        """
        Add the spans of *item* as the SDK encodes them, and return them.
        """
        encoded = encode_spans(list(item.spans(self._resource, self._scope)))
        spans = list(encoded.resource_spans[0].scope_spans[0].spans)
        if self._empty is None:
            self._empty = ExportTraceServiceRequest()
            self._empty.CopyFrom(encoded)
            del self._empty.resource_spans[0].scope_spans[0].spans[:]
            request.CopyFrom(self._empty)
        request.resource_spans[0].scope_spans[0].spans.extend(spans)

        return spans


def _is_away(straight: Straight) -> bool:
    return any(view.away for call in straight.calls for view in (*call.granted_views, *call.views))


class _Fill:
    """
    Add the spans of a straight walk to *among*, as copies of *prototype*.
    """

    __slots__ = ("_began_ns", "_next", "_root_id", "_straight", "_trace_id", "_traversal")

    def __init__(self, among: ScopeSpans, prototype: _Prototype, traversal: Traversal, straight: Straight) -> None:
        self._traversal = traversal
        self._straight = straight
        self._trace_id = bytes.fromhex(traversal.trace_id)
        self._root_id = bytes.fromhex(traversal.span_id)
        self._began_ns = traversal.began_unix_us * 1_000
        self._next = _copies(among, prototype)

    def fill(self) -> None:
        """
        Make the copies say what this very walk did.
        """
        traversal, straight = self._traversal, self._straight
        scopes, latency_us = straight.facts.scopes, straight.latency_us
        read, written, cached, reasoned = traversal.usage
        costs = traversal.engine_us, traversal.cost_nano_usd / 1e9, read, written, cached, reasoned
        parent_id = bytes.fromhex(traversal.parent_span_id)
        self._span(self._root_id, parent_id, 0, latency_us, (traversal.traversal_id, *scopes, *costs))
        for leg in straight.legs:
            hop_us = leg.at - leg.started_us
            # Zero is no id, and one in 2⁶⁴ is.
            hop_id = (random.getrandbits(64) or 1).to_bytes(8, "big")
            own = [value for value in leg.outputs.values() if not isinstance(value, str)]
            call = leg.call
            if call is None:
                self._span(hop_id, self._root_id, leg.started_us, hop_us, (hop_us, *own))
                continue
            spent = call.cost_nano_usd / 1e9, (call.cost_bound or 0) / 1e9, *call.usage
            own_us = hop_us - call.latency_us
            self._span(hop_id, self._root_id, leg.started_us, hop_us, (own_us, *spent, *own, *call.timing))
            values = (*spent, call.cache_age_us, *call.timing)
            self._span(bytes.fromhex(call.span_id), hop_id, call.at, call.latency_us, values)
        if straight.refused_by:
            self._span((random.getrandbits(64) or 1).to_bytes(8, "big"), self._root_id, latency_us, 0, ())

    def _span(self, span_id: bytes, parent_id: bytes, started_us: int, latency_us: int, values: Sequence[Any]) -> None:
        span, slots = next(self._next)
        span.trace_id, span.span_id, span.parent_span_id = self._trace_id, span_id, parent_id
        span.start_time_unix_nano = start_ns = self._began_ns + started_us * 1_000
        span.end_time_unix_nano = start_ns + latency_us * 1_000
        attributes = span.attributes
        for attribute, field, value in slots:
            setattr(attributes[attribute].value, field, values[value])


def _copies(among: ScopeSpans, prototype: _Prototype) -> Iterator[tuple[Span, Sequence[_Slot]]]:
    for span, slots in zip(prototype.spans, prototype.slots, strict=True):
        copy = among.spans.add()
        copy.CopyFrom(span)
        yield copy, slots


_STOCK_LOG = logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter")


class _Hush(logging.Filter):
    """
    Let the stock exporter say why the first batch of a burst failed, and no more: it speaks of every try of every batch.

    It is hushed in the thread that is inside, so that another exporter of the program is heard as before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failing = False
        self._thread: int | None = None

    def __enter__(self) -> None:
        self._thread = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._thread = None

    def filter(self, record: logging.LogRecord) -> bool:
        """
        Tell whether *record* is to be heard.
        """
        return record.thread != self._thread or (record.levelno >= logging.ERROR and not self.failing)


class Exporter(OTLPSpanExporter):
    """
    Send requests that are made already, by the stock exporter's own means; what it takes otherwise are the SDK's spans.
    """

    def __init__(self) -> None:
        super().__init__()
        self._hush = _Hush()
        _STOCK_LOG.addFilter(self._hush)

    def post(self, request: ExportTraceServiceRequest) -> SpanExportResult:
        """
        Send *request*; what may go better the next time is tried again, within the exporter's time limit.
        """
        with self._hush:
            result: SpanExportResult = self._export(request)  # type: ignore[arg-type]  # see `_translate_data`
        self._hush.failing = result is not SpanExportResult.SUCCESS

        return result

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """
        Let go of the connection.
        """
        super().shutdown(timeout_millis, **kwargs)
        _STOCK_LOG.removeFilter(self._hush)

    def _translate_data(self, data: Any) -> Any:
        return data if isinstance(data, ExportTraceServiceRequest) else super()._translate_data(data)

    def _count_data(self, data: Any) -> int:
        if isinstance(data, ExportTraceServiceRequest):
            return sum(len(scope.spans) for resource in data.resource_spans for scope in resource.scope_spans)
        count: int = super()._count_data(data)

        return count


class OtlpSender:
    """
    Send traversals by *post*, which takes requests as an `Exporter` does.
    """

    def __init__(self, post: Post, close: Callable[[], None], resource: Resource, scope: InstrumentationScope) -> None:
        self._post = post
        self._close = close
        self._encoder = Encoder(resource, scope)

    def send(self, batch: Sequence[Sampled]) -> str:
        """
        Send *batch*, and return why that failed, or nothing.
        """
        result = self._post(self._encoder.encode(batch))

        return "" if result is SpanExportResult.SUCCESS else "the collector does not take them; the log says more"

    def close(self) -> None:
        """
        Let go of the connection.
        """
        self._close()
