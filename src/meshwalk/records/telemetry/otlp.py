"""
Spans as OTLP, and their way to a collector over gRPC.

What the spans of a traversal say stands in `spans`, and the SDK's encoder makes messages of them.  That takes several times
what the walk itself took, and of walks that went straight most of it comes out the same each time.  So the first spans of their
kind, made that way, become the template of those that follow, which are written as bytes.  What a kind has in common is its
`Traversal.template_key`, and whatever else differs has a place; a test holds all that is written against what the SDK makes.

To write them takes a few microseconds, so it is done where the walk ends (`early`): kept for the thread that sends them, the
record itself would cost more, in memory that the walks that follow cannot use again.

The channel, its settings, and what is tried again are the stock exporter's; it only gets its messages from here.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from meshwalk.records.queue import LossLog
from meshwalk.records.telemetry import names
from meshwalk.records.telemetry.export import Encoded, Sampled
from meshwalk.records.templates import Path, Template, Text, calls_of, open_outputs, opening, summed, unpacked
from meshwalk.trace import CompactTrace, TemplateKey


# How many spans the templates write together: each takes about six kilobytes, and a millisecond to be made, and walks over
# graphs of a usual size differ in far less.
MAX_SPANS = 2_000


class Rejected(NamedTuple):
    """
    Say that a collector took a request but for so many *spans*, and *why* in its words (OTLP, "partial success").
    """

    spans: int
    why: str


Post = Callable[[Encoded], SpanExportResult | Rejected]

# Told where a call has such a split of its time; else it is the same zeros for all of a kind.
_TIMING = {names.QUEUE_US: "queue_us", names.CONNECT_US: "connect_us", names.FIRST_BYTE_US: "first_byte_us"}


def _template(spans: Sequence[Span], trace: CompactTrace) -> Template:
    """
    Make of *spans*, those of a first walk, what writes the spans of others of its kind, as fields of a `ScopeSpans`.
    """
    setup = ["trace_id, root_id = fromhex(traversal.trace_id), fromhex(traversal.span_id)"]
    setup += ["began_ns = traversal.began_unix_us * 1000", "session, workflow, tenant = trace.facts.scopes"]
    # Zero is no id, so the last bit of each is set; one draw is cheaper than several.
    hops = len(trace.hops) + bool(trace.refused_by)
    ones = sum(1 << 64 * position for position in range(hops))
    setup += [f"ids = (getrandbits({64 * hops}) | {ones}).to_bytes({8 * hops}, 'big')", *unpacked(trace)]
    last = len(trace.hops) - 1
    setup.append(f"latency_us = hop{last}_at_us" if trace.hops else "latency_us = 0")
    filled = list(_spans(trace))
    places: dict[Path, str | Text] = {}
    for position, (span, differs) in enumerate(zip(spans, filled, strict=True)):
        at = ("spans", position)
        places[*at, "trace_id"] = Text("trace_id", 16)
        places[*at, "span_id"] = Text(differs.span_id, 8)
        if span.parent_span_id:
            places[*at, "parent_span_id"] = Text(differs.parent_id, 8)
        places[*at, "start_time_unix_nano"] = f"began_ns + ({differs.started_us}) * 1000"
        places[*at, "end_time_unix_nano"] = f"began_ns + ({differs.ended_us}) * 1000"
        for place, attribute in enumerate(span.attributes):
            said, held = differs.attributes.get(attribute.key), attribute.value.WhichOneof("value")
            if said is not None:
                inside = ("array_value", "values", 0, "string_value") if held == "array_value" else (held,)
                places[*at, "attributes", place, "value", *inside] = said

    return Template(
        ScopeSpans(spans=spans),
        places,
        ("traversal", "trace"),
        setup,
        {"fromhex": bytes.fromhex, "getrandbits": random.getrandbits},
    )


class _Differing(NamedTuple):
    """
    Hold the expressions of what differs from walk to walk in a span, its attributes by name.
    """

    span_id: str
    parent_id: str
    started_us: str
    ended_us: str
    attributes: Mapping[str, str | Text]


def _spans(trace: CompactTrace) -> Iterator[_Differing]:
    calls = calls_of(trace)
    walk: dict[str, str | Text] = {
        names.TRAVERSAL_ID: Text("traversal.traversal_id.encode()", 32),
        names.SESSION: Text("session.encode()"),
        names.WORKFLOW: Text("workflow.encode()"),
        names.TENANT: Text("tenant.encode()"),
        names.ENGINE_US: " - ".join(["latency_us", *[f"{call}latency_us" for call in calls]]),
        names.COST_USD: f"({summed(calls, 'cost_nano_usd')}) / 1e9",
        names.INPUT_TOKENS: summed(calls, "input_tokens"),
        names.OUTPUT_TOKENS: summed(calls, "output_tokens"),
        names.CACHED_TOKENS: summed(calls, "cached_input_tokens"),
        names.REASONING_TOKENS: summed(calls, "reasoning_tokens"),
    }
    yield _Differing("root_id", "fromhex(traversal.parent_span_id)", "0", "latency_us", walk)
    for hop, line in enumerate(trace.hops):
        own, call, hop_id = f"hop{hop}_", f"call{hop}_", f"ids[{8 * hop}:{8 * hop + 8}]"
        outputs: dict[str, str | Text] = {}
        for name, value in open_outputs(trace, line):
            said = f"{own}outputs[{name!r}]"
            outputs[names.OUTPUT + name] = Text(f"{said}.encode()") if isinstance(value, str) else said
        lasted = f"{own}at_us - {own}started_us"
        if line.call is None:
            yield _Differing(hop_id, "root_id", f"{own}started_us", f"{own}at_us", {names.ENGINE_US: lasted, **outputs})
            continue
        spent = {names.COST_USD: f"{call}cost_nano_usd / 1e9", names.RESERVED_USD: f"({call}cost_bound or 0) / 1e9"}
        timing = {name: f"{call}{field}" for name, field in _TIMING.items()} if any(line.call.timing) else {}
        counted = {
            names.ENGINE_US: f"{lasted} - {call}latency_us",
            names.INPUT_TOKENS: f"{call}input_tokens",
            names.OUTPUT_TOKENS: f"{call}output_tokens",
            names.CACHED_TOKENS: f"{call}cached_input_tokens",
            names.REASONING_TOKENS: f"{call}reasoning_tokens",
        }
        differing = {**counted, **spent, **outputs, **timing}
        yield _Differing(hop_id, "root_id", f"{own}started_us", f"{own}at_us", differing)
        used: dict[str, str | Text] = {
            names.USAGE_INPUT: f"{call}input_tokens",
            names.USAGE_OUTPUT: f"{call}output_tokens",
            names.USAGE_CACHED: f"{call}cached_input_tokens",
            names.USAGE_REASONING: f"{call}reasoning_tokens",
            names.CACHE_AGE_US: f"{call}cache_age_us",
            names.RESPONSE_MODEL: Text(f"{call}model.encode()"),
        }
        if not trace.all_stopped:
            used[names.FINISH_REASONS] = Text(f"{call}finish_reason.encode()")
        span_id, ended_us = f"fromhex({call}span_id)", f"{call}started_us + {call}latency_us"
        yield _Differing(span_id, hop_id, f"{call}started_us", ended_us, {**spent, **used, **timing})
    if trace.refused_by:
        # A refusal's hop has nothing that differs but its times.
        at = 8 * len(trace.hops)
        yield _Differing(f"ids[{at}:{at + 8}]", "root_id", "latency_us", "latency_us", {})


class Encoder:
    """
    Make OTLP messages of traversals.

    What `early` makes, `encode` takes in place of the traversal; they may be called by two threads.
    """

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        self._resource = resource
        self._scope = scope
        self._templates: dict[TemplateKey | None, tuple[int, Template]] = {}
        self._room = MAX_SPANS
        # What the spans of a request stand in: its resource and its scope, as the SDK encodes them.
        self._around: tuple[bytes, bytes] | None = None

    def early(self, item: Sampled) -> Encoded | None:
        """
        Return the spans of *item*, if it is of a kind that has a template.
        """
        traversal, _, sampling = item
        if sampling is not None or (known := self._templates.get(traversal.template_key)) is None:
            return None
        spans, template = known
        try:
            return Encoded(template.write(traversal, traversal.trace), spans)
        except (OverflowError, UnicodeEncodeError):
            return None

    def encode(self, batch: Sequence[Sampled | Encoded]) -> Encoded:
        """
        Return the request that tells of *batch*: an `ExportTraceServiceRequest`.
        """
        encoded = [item if isinstance(item, Encoded) else self.early(item) or self._as_told(item) for item in batch]
        assert self._around is not None, "a batch is never empty, and the first of a kind is told at length"
        resource, scope = self._around
        size = len(scope) + sum([len(item.body) for item in encoded])
        in_scope = opening(_SCOPE_SPANS, size)
        in_resource = opening(_RESOURCE_SPANS, len(resource) + len(in_scope) + size)
        body = b"".join([in_resource, resource, in_scope, scope, *[item.body for item in encoded]])

        return Encoded(body, sum([item.spans for item in encoded]))

    def _as_told(self, item: Sampled) -> Encoded:
        """
        Return the spans of *item* as the SDK encodes them, and keep a template of its kind if there is room.
        """
        told = list(item.spans(self._resource, self._scope))
        made = encode_spans(told).resource_spans[0]
        spans = list(made.scope_spans[0].spans)
        # The SDK leaves out what it cannot encode, and a template of that would leave it out of all others of the kind.
        whole = [len(span.attributes or ()) for span in told] == [len(span.attributes) for span in spans]
        del made.scope_spans[0].spans[:]
        if self._around is None:
            scope = made.scope_spans[0].SerializeToString()
            del made.scope_spans[:]
            self._around = made.SerializeToString(), scope
        key, trace = item.traversal.template_key, item.traversal.trace
        if key is not None and item.sampling is None and whole and len(spans) <= self._room:
            assert isinstance(trace, CompactTrace), "only compact traces share templates"
            self._room -= len(spans)
            self._templates[key] = len(spans), _template(spans, trace)

        return Encoded(ScopeSpans(spans=spans).SerializeToString(), len(spans))


_RESOURCE_SPANS = ExportTraceServiceRequest.DESCRIPTOR.fields_by_name["resource_spans"]
_SCOPE_SPANS = ResourceSpans.DESCRIPTOR.fields_by_name["scope_spans"]


# So much of a collector's words goes into the log.
_QUOTED = 200

_log = logging.getLogger(__name__)
_STOCK_LOG = logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter")


class _QuietFilter(logging.Filter):
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


class _AsIs:
    """
    Stand for *channel*, send bytes as they are, and let *hear* know what is answered.
    """

    def __init__(self, channel: Any, hear: Callable[[ExportTraceServiceResponse], None]) -> None:
        self._channel = channel
        self._hear = hear

    def unary_unary(self, method: str, **options: Any) -> Any:
        """
        Return what calls *method*.
        """
        call = self._channel.unary_unary(method, **{**options, "request_serializer": None})

        def heard(**options: Any) -> ExportTraceServiceResponse:
            answer: ExportTraceServiceResponse = call(**options)
            self._hear(answer)

            return answer

        return heard


class Exporter(OTLPSpanExporter):
    """
    Send requests that are encoded already, by the stock exporter's own means.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stub = lambda channel: TraceServiceStub(_AsIs(channel, self._hear))  # type: ignore[no-untyped-call]
        self._client = self._stub(self._channel)
        self._rejected: Rejected | None = None
        self._hush = _QuietFilter()
        _STOCK_LOG.addFilter(self._hush)

    def post(self, request: Encoded) -> SpanExportResult | Rejected:
        """
        Send *request*; what may go better the next time is tried again, within the exporter's time limit.
        """
        self._rejected = None
        with self._hush:
            result: SpanExportResult = self._export(request)  # type: ignore[arg-type]  # see `_translate_data`
        self._hush.failing = result is not SpanExportResult.SUCCESS

        return self._rejected or result

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """
        Let go of the connection.
        """
        super().shutdown(timeout_millis, **kwargs)
        _STOCK_LOG.removeFilter(self._hush)

    def _hear(self, answer: ExportTraceServiceResponse) -> None:
        # What the stock exporter does not look at.
        partial = answer.partial_success
        if partial.rejected_spans > 0:
            self._rejected = Rejected(partial.rejected_spans, partial.error_message)

    def _translate_data(self, data: Any) -> Any:
        return data.body if isinstance(data, Encoded) else super()._translate_data(data).SerializeToString()

    def _count_data(self, data: Any) -> int:
        return data.spans if isinstance(data, Encoded) else int(super()._count_data(data))


class OtlpSender:
    """
    Send traversals by *post*, which takes requests as an `Exporter` does.

    Attributes:
        rejected: How many spans the collector did not take out of requests that it took otherwise.
    """

    def __init__(self, post: Post, close: Callable[[], None], resource: Resource, scope: InstrumentationScope) -> None:
        self._post = post
        self._close = close
        self._encoder = Encoder(resource, scope)
        self._rejections = LossLog(_log, "the collector rejects spans")
        self.rejected = 0

    def early(self, item: Sampled) -> Encoded | None:
        """
        Return the spans of *item* as they go out, if that takes no time worth speaking of.
        """
        return self._encoder.early(item)

    def send(self, batch: Sequence[Sampled | Encoded]) -> str:
        """
        Send *batch*, and return why that failed, or nothing.
        """
        result = self._post(self._encoder.encode(batch))
        if isinstance(result, Rejected):
            self.rejected += result.spans
            self._rejections.tell(self.rejected, repr(result.why[:_QUOTED]))
            return ""
        self._rejections.tell(self.rejected)

        return "" if result is SpanExportResult.SUCCESS else "the collector does not take them; the log says more"

    def close(self) -> None:
        """
        Let go of the connection.
        """
        self._close()
