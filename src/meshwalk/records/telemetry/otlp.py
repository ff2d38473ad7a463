"""
Spans as OTLP messages.

`spans` says what the spans of a traversal contain, and the SDK's encoder makes messages of them.  That takes several times as
long as the walk itself, and for compact traces most bytes are the same each time.  So the first spans of each kind, encoded
by the SDK, become a template for those that follow, which are written as bytes.  `Traversal.template_key` identifies a kind,
and every value that differs within it has a place in the template; a test compares all of it with the SDK's encoding.

Writing by a template takes a few microseconds, so it is done when the walk ends (`try_encode`).  A record kept for the sending
thread would cost more, in memory that the following walks cannot reuse.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from meshwalk.records.queue import LossLog
from meshwalk.records.telemetry import names
from meshwalk.records.telemetry.collector import MAX_QUOTED, Sent
from meshwalk.records.telemetry.export import Encoded, Sampled
from meshwalk.records.templates import Path, Template, Text, calls_of, open_outputs, opening, summed, unpacked
from meshwalk.trace import CompactTrace, TemplateKey


# The bound on the spans of all templates: each takes about six kilobytes and a millisecond to make, and walks over graphs of a
# usual size need far fewer.
MAX_SPANS = 2_000


Send = Callable[[Encoded], Sent]

# Written for calls whose time is split; for others these are zeros in all walks of a kind.
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
            expression, kind = differs.attributes.get(attribute.key), attribute.value.WhichOneof("value")
            if expression is not None:
                inside = ("array_value", "values", 0, "string_value") if kind == "array_value" else (kind,)
                places[*at, "attributes", place, "value", *inside] = expression

    return Template(
        ScopeSpans(spans=spans),
        places,
        ("traversal", "trace"),
        setup,
        {"fromhex": bytes.fromhex, "getrandbits": random.getrandbits},
    )


class _Differing(NamedTuple):
    """
    The expressions for the values of a span that differ from walk to walk, with its attributes by name.
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
        prefix, call, hop_id = f"hop{hop}_", f"call{hop}_", f"ids[{8 * hop}:{8 * hop + 8}]"
        outputs: dict[str, str | Text] = {}
        for name, value in open_outputs(trace, line):
            output = f"{prefix}outputs[{name!r}]"
            outputs[names.OUTPUT + name] = Text(f"{output}.encode()") if isinstance(value, str) else output
        lasted = f"{prefix}at_us - {prefix}started_us"
        if line.call is None:
            yield _Differing(hop_id, "root_id", f"{prefix}started_us", f"{prefix}at_us", {names.ENGINE_US: lasted, **outputs})
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
        yield _Differing(hop_id, "root_id", f"{prefix}started_us", f"{prefix}at_us", differing)
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
    The encoder of traversals, with a template for each kind.

    `encode` takes what `try_encode` returns in place of a traversal; two threads may call them.
    """

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        self._resource = resource
        self._scope = scope
        self._templates: dict[TemplateKey | None, tuple[int, Template]] = {}
        self._room = MAX_SPANS
        # The resource and the scope around the spans of a request, as the SDK encodes them.
        self._around: tuple[bytes, bytes] | None = None

    def try_encode(self, item: Sampled) -> Encoded | None:
        """
        Return the spans of *item* if there is a template for its kind.
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
        Return the `ExportTraceServiceRequest` with the spans of *batch*.
        """
        encoded = [item if isinstance(item, Encoded) else self.try_encode(item) or self._by_sdk(item) for item in batch]
        assert self._around is not None, "a batch is never empty, and the SDK encodes the first of a kind"
        resource, scope = self._around
        size = len(scope) + sum([len(item.body) for item in encoded])
        in_scope = opening(_SCOPE_SPANS, size)
        in_resource = opening(_RESOURCE_SPANS, len(resource) + len(in_scope) + size)
        body = b"".join([in_resource, resource, in_scope, scope, *[item.body for item in encoded]])

        return Encoded(body, sum([item.spans for item in encoded]))

    def _by_sdk(self, item: Sampled) -> Encoded:
        """
        Return the spans of *item* as the SDK encodes them, and keep a template for its kind within the bound.
        """
        ended = list(item.spans(self._resource, self._scope))
        made = encode_spans(ended).resource_spans[0]
        spans = list(made.scope_spans[0].spans)
        # The SDK omits values that it cannot encode; a template made of such spans would omit them for the whole kind.
        whole = [len(span.attributes or ()) for span in ended] == [len(span.attributes) for span in spans]
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


_log = logging.getLogger(__name__)


class OtlpSender:
    """
    The way of traversals to a collector: an encoder, and *send*, which takes its requests.

    Attributes:
        rejected: The number of spans that the collector left out of requests that it took otherwise.
    """

    def __init__(self, send: Send, close: Callable[[], None], resource: Resource, scope: InstrumentationScope) -> None:
        self._send = send
        self._close = close
        self._encoder = Encoder(resource, scope)
        self._rejections = LossLog(_log, "the collector rejects spans")
        self.rejected = 0

    def try_encode(self, item: Sampled) -> Encoded | None:
        """
        Return the encoded spans of *item* if a template exists.
        """
        return self._encoder.try_encode(item)

    def send(self, batch: Sequence[Sampled | Encoded]) -> str:
        """
        Send *batch*, and return the reason of a failure, or nothing.
        """
        sent = self._send(self._encoder.encode(batch))
        if not sent.failure:
            self.rejected += sent.rejected
            # The words are the collector's: their length is bounded and line ends are escaped.
            self._rejections.update(self.rejected, repr(sent.message[:MAX_QUOTED]))

        return sent.failure

    def close(self) -> None:
        """
        Close the connection.
        """
        self._rejections.close()
        self._close()
