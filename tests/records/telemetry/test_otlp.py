"""
Spans as OTLP: copies of prototypes beside what the SDK makes, and an export that loses nothing without a word.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from meshwalk.budgets.vaults import MemoryVault
from meshwalk.engine import Engine
from meshwalk.plan import Plan
from meshwalk.records.telemetry import Telemetry
from meshwalk.records.telemetry.collector import Sent
from meshwalk.records.telemetry.export import Encoded, Export, Pace, Sampled
from meshwalk.records.telemetry.otlp import Encoder, OtlpSender
from meshwalk.records.telemetry.spans import SpanTree, route_attributes
from meshwalk.trace import Message, Reply, Request, Traversal, Usage
from tests.support.plans import plan_of
from tests.support.random_plans import plans
from tests.support.random_walks import SESSIONS, SEVERAL, walks_of
from tests.support.records import answered, climbed, failed, refused, triage, walked


RESOURCE, SCOPE = Resource({"service.name": "router"}), InstrumentationScope("meshwalk", "1")


def spans_in(encoded: Encoded) -> list[dict[str, Any]]:
    """
    Return all that the spans of a request say, with the ids that are drawn for hops told by where their spans stand.
    """
    request = ExportTraceServiceRequest.FromString(encoded.body)
    spans = [
        MessageToDict(span) for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans
    ]
    places = {span["spanId"]: place for place, span in enumerate(spans)}
    for span in spans:
        span["parentSpanId"] = places.get(span.get("parentSpanId", ""), span.get("parentSpanId"))
        span["attributes"] = sorted(span["attributes"], key=str)
        if span["name"] == "meshwalk.hop":
            del span["spanId"]

    return spans


def by_the_sdk(traversal: Traversal, plan: Plan) -> list[dict[str, Any]]:
    tree = SpanTree(traversal, plan, attributes=route_attributes(traversal), resource=RESOURCE, scope=SCOPE)

    request = encode_spans(list(tree.spans()))

    return spans_in(Encoded(request.SerializeToString(), 0))


class TestEncoder:
    @pytest.mark.slow
    @settings(max_examples=60)
    @given(plans(), SEVERAL, SESSIONS)
    def test_a_copy_says_what_the_sdk_says(self, plan: Plan, replies: list[Reply], sessions: list[str]) -> None:
        """
        Whatever walks came before, each one's spans say what the SDK's encoder makes of them, attribute by attribute.
        """
        encoder = Encoder(RESOURCE, SCOPE)

        for record in walks_of(plan, replies, sessions):
            assert by_the_sdk(record, plan) == spans_in(encoder.encode([Sampled(record, plan)]))

    def test_a_batch_is_one_request(self) -> None:
        """
        The spans of several walks, of whatever kinds, go out together, under one resource.
        """
        plan = triage()
        batch = [
            walked(script, plan=plan, number=number) for number, script in enumerate((answered, climbed, failed, answered))
        ]
        encoded = Encoder(RESOURCE, SCOPE).encode([Sampled(record, plan) for record in batch])
        (resource,) = ExportTraceServiceRequest.FromString(encoded.body).resource_spans

        assert ["service.name"] == [attribute.key for attribute in resource.resource.attributes]
        assert sum(len(by_the_sdk(record, plan)) for record in batch) == len(resource.scope_spans[0].spans)

    def test_what_is_not_text_is_another_kind(self) -> None:
        """
        Outputs of other names or types are never written over those of a prototype.
        """
        plan = triage()
        refusal = walked(refused, plan=plan, task="forbidden")
        encoder = Encoder(RESOURCE, SCOPE)
        for record in (refusal, walked(answered, plan=plan), refusal):
            assert by_the_sdk(record, plan) == spans_in(encoder.encode([Sampled(record, plan)]))

    @pytest.mark.parametrize(
        "odd",
        [
            Reply("a", usage=Usage(1, 2), model="\ud800"),
            Reply("a", usage=Usage(1, 2), model="m", finish_reason="\ud800"),
            Reply("a", usage=Usage(1 << 63, 2), model="m"),
        ],
        ids=["model", "reason", "tokens"],
    )
    def test_an_odd_first_walk_spoils_no_other(self, odd: Reply, caplog: pytest.LogCaptureFixture) -> None:
        """
        What the SDK cannot encode of one walk is told of all others of its kind.
        """
        plan = plan_of(_ONE_CALL)
        (first, _), usual = walks_of(plan, [odd], ["s"]), walks_of(plan, [Reply("a", usage=Usage(1, 2), model="m")], ["s"])
        encoder = Encoder(RESOURCE, SCOPE)
        for record in (first, *usual, *usual):
            assert by_the_sdk(record, plan) == spans_in(encoder.encode([Sampled(record, plan)]))

        assert all(record.name.startswith("opentelemetry") for record in caplog.records)


_ONE_CALL = """
    meshwalk: 1
    name: one-call
    start: only
    backends:
      b0: {kind: simulated, context_tokens: 1000, usd_per_mtok: {input: 1, output: 2}}
    nodes:
      only: {role: primary, backend: b0, max_tokens: 9, next: done}
    """


class Collector:
    """
    Take requests, and say what it is told to say.
    """

    def __init__(self, *, well: bool = True) -> None:
        self.well = well
        self.spans = 0
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()

    def post(self, request: Encoded) -> Sent:
        self.asked.set()
        self.open.wait(10)
        if not self.well:
            return Sent(failure="not well")
        self.spans += len(spans_in(request))

        return Sent()


def exporting(collector: Collector, pace: Pace = Pace(delay=0.0)) -> Export:
    return Export(OtlpSender(collector.post, lambda: None, RESOURCE, SCOPE), pace)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.open.set()


class TestExport:
    @pytest.mark.anyio
    async def test_everything_arrives(self, collector: Collector) -> None:
        """
        What was recorded before telemetry is closed has been sent when it is.
        """
        plan, record = triage(), walked(answered)
        telemetry = Telemetry(exports=[exporting(collector, Pace())])
        for _ in range(300):
            telemetry.record(record, plan)
        await telemetry.aclose()

        assert (300 * len(by_the_sdk(record, plan)), 0, 0) == (collector.spans, telemetry.dropped, telemetry.failed)

    @pytest.mark.anyio
    async def test_what_has_no_room_is_counted(self, collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
        """
        While the collector does not answer, a bounded number waits, and the rest is dropped, counted, and told of once.
        """
        plan, record = triage(), walked(answered)
        collector.open.clear()
        telemetry = Telemetry(exports=[exporting(collector, Pace(capacity=10, batch=1, delay=0.0))])
        telemetry.record(record, plan)
        collector.asked.wait(10)
        for _ in range(25):
            telemetry.record(record, plan)
        collector.open.set()
        with caplog.at_level(logging.WARNING):
            await telemetry.aclose()

        assert (15, 11 * len(by_the_sdk(record, plan))) == (telemetry.dropped, collector.spans)
        assert 1 == caplog.text.count("spans are dropped: the queue for their export is full (1")

    @pytest.mark.anyio
    async def test_what_cannot_be_encoded_is_counted(self, collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
        """
        A record that no span can tell of is lost by itself, and whoever hands it over hears nothing.
        """
        plan = triage()
        good, odd = walked(answered, plan=plan), walked(answered, plan=plan)
        odd.trace_id = "no id"
        export = exporting(collector)
        for record in (good, good, odd):
            export.put(Sampled(record, plan))
            export.flush()
        export.close()

        assert (1, 0) == (export.failed, export.dropped)
        assert any("cannot be encoded" in record.message for record in caplog.records)

    async def test_what_is_not_taken_is_counted(self, collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
        """
        What the collector refuses is counted and told of, and what comes later goes out.
        """
        plan, record = triage(), walked(answered)
        telemetry = Telemetry(exports=[exporting(collector)])
        collector.well = False
        with caplog.at_level(logging.WARNING):
            telemetry.record(record, plan)
            await telemetry.flush()
        collector.well = True
        telemetry.record(record, plan)
        await telemetry.aclose()

        assert (1, len(by_the_sdk(record, plan))) == (telemetry.failed, collector.spans)
        assert "spans cannot be exported" in caplog.text

    @pytest.mark.parametrize(("sampler", "sent"), [(ALWAYS_ON, 4), (TraceIdRatioBased(0.0), 0)], ids=["all", "none"])
    @pytest.mark.anyio
    async def test_sampling_is_decided_before_it_waits(self, collector: Collector, sampler: Any, sent: int) -> None:
        """
        What the sampler does not want is not even put in the queue.
        """
        plan, record = triage(), walked(answered)
        telemetry = Telemetry(exports=[exporting(collector)], sampler=sampler)
        telemetry.record(record, plan)
        await telemetry.aclose()

        assert sent == min(4, collector.spans)

    @pytest.mark.parametrize(
        ("said", "pace"),
        [
            ({}, Pace()),
            ({"MAX_QUEUE_SIZE": "7", "MAX_EXPORT_BATCH_SIZE": "40", "SCHEDULE_DELAY": "250"}, Pace(7, 10, 0.25)),
            ({"MAX_QUEUE_SIZE": "many", "MAX_EXPORT_BATCH_SIZE": "1"}, Pace(batch=1)),
        ],
        ids=["nothing", "numbers", "nonsense"],
    )
    def test_pace_is_the_batch_processors(self, said: dict[str, str], pace: Pace) -> None:
        """
        The SDK's own variables say how much waits, how much goes at once, and how soon.
        """
        assert pace == Pace.from_environment({f"OTEL_BSP_{name}": value for name, value in said.items()})


def test_plan_without_calls() -> None:
    """
    A walk that calls nobody has its spans, too.
    """
    plan = plan_of(
        """
        meshwalk: 1
        name: g
        start: look
        nodes:
          look: {role: classifier, use: features, next: sorry}
          sorry: {role: refusal, reason: no}
        """
    )
    records: list[Traversal] = []
    engine = Engine(plan, {}, records.append, vault=MemoryVault())
    for _ in range(2):
        anyio.run(engine.walk, Request((Message("user", "x"),)))
    encoder = Encoder(RESOURCE, SCOPE)

    for record in records:
        assert by_the_sdk(record, plan) == spans_in(encoder.encode([Sampled(record, plan)]))
