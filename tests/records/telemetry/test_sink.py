from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import get_tracer_provider

from meshwalk.model.problems import SetupError
from meshwalk.plan import Plan
from meshwalk.records.telemetry import Telemetry
from meshwalk.records.telemetry.environment import exporters
from tests.support.records import SPAN_IDS, answered, cancelled, climbed, failed, refused, triage, walked


pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def plan() -> Plan:
    return triage()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Keep the settings of whoever runs the tests out of them.
    """
    for name in (
        "SDK_DISABLED",
        "TRACES_EXPORTER",
        "TRACES_SAMPLER",
        "TRACES_SAMPLER_ARG",
        "SERVICE_NAME",
        "RESOURCE_ATTRIBUTES",
    ):
        monkeypatch.delenv(f"OTEL_{name}", raising=False)
    for name in ("ENDPOINT", "TRACES_ENDPOINT", "PROTOCOL", "TRACES_PROTOCOL"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


class Receiver(TraceServiceServicer):
    """
    Take spans over OTLP, as a collector does.
    """

    def __init__(self) -> None:
        self.resources: list[ResourceSpans] = []

    def Export(  # noqa: N802 (the service's own word)
        self,
        request: ExportTraceServiceRequest,
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> ExportTraceServiceResponse:
        self.resources.extend(request.resource_spans)

        return ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Span]:
        return [span for resource in self.resources for scope in resource.scope_spans for span in scope.spans]

    def of(self, trace_id: str) -> dict[bytes, Span]:
        """
        Return the spans of one trace by their ids.
        """
        return {span.span_id: span for span in self.spans if span.trace_id.hex() == trace_id}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """
    Serve a receiver, and point the environment at it.
    """
    receiver = Receiver()
    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    yield receiver
    server.stop(None).wait()


class TestOverTheWire:
    async def test_trees_arrive_whole(self, receiver: Receiver, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Walks of every outcome arrive as whole trees, in the caller's trace, at the times they took.
        """
        monkeypatch.setenv("OTEL_SERVICE_NAME", "router-7")
        traversals = {
            f"{number:032x}": walked(script, plan=plan, number=number, task="forbidden" if script is refused else "any")
            for number, script in enumerate((answered, climbed, refused, failed, cancelled), 1)
        }
        for trace_id, traversal in traversals.items():
            traversal.trace_id, traversal.parent_span_id = trace_id, "00f067aa0ba902b7"
        telemetry = Telemetry.from_environment()
        for traversal in traversals.values():
            telemetry.record(traversal, plan)
        await telemetry.flush()
        await telemetry.aclose()

        for trace_id, traversal in traversals.items():
            found = receiver.of(trace_id)
            root = found[bytes.fromhex(traversal.span_id)]
            hops = [span for span in found.values() if span.name == "meshwalk.hop"]
            calls = [span for span in found.values() if span.kind == Span.SPAN_KIND_CLIENT]

            assert bytes.fromhex("00f067aa0ba902b7") == root.parent_span_id
            assert all(span.parent_span_id in found for span in found.values() if span is not root)
            assert {root.span_id} == {hop.parent_span_id for hop in hops}
            assert {hop.span_id for hop in hops} >= {call.parent_span_id for call in calls}
            assert (len(traversal.path), len(list(traversal.attempts()))) == (len(hops), len(calls))
            assert (
                traversal.began_unix_us * 1_000,
                (traversal.began_unix_us + traversal.latency_us) * 1_000,
            ) == (root.start_time_unix_nano, root.end_time_unix_nano)
        assert len(receiver.spans) == sum(len(receiver.of(trace_id)) for trace_id in traversals)
        assert [bytes.fromhex(span_id) for span_id in SPAN_IDS] == [
            span.span_id for span in receiver.of(f"{2:032x}").values() if span.kind == Span.SPAN_KIND_CLIENT
        ]
        assert {"router-7"} == {
            attribute.value.string_value
            for resource in receiver.resources
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }

    async def test_closes_at_the_end_of_its_block(self, receiver: Receiver, plan: Plan) -> None:
        """
        Telemetry is its own context, and its repr counts its outputs and what was lost.
        """
        async with Telemetry.from_environment() as telemetry:
            telemetry.record(walked(plan=plan), plan)

        assert 4 == len(receiver.spans)
        assert "<Telemetry to 1 outputs: 0 dropped, 0 failed, 0 rejected>" == repr(telemetry)

    async def test_closing_exports_what_waits(self, receiver: Receiver, plan: Plan) -> None:
        """
        Nothing that was recorded is lost when telemetry is closed, and what comes later goes nowhere.
        """
        telemetry = Telemetry.from_environment()
        telemetry.record(walked(plan=plan), plan)
        await telemetry.aclose()
        await telemetry.aclose()
        telemetry.record(walked(plan=plan), plan)

        assert 4 == len(receiver.spans)

    async def test_endpoint_alone_is_enough(self, receiver: Receiver, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Naming the endpoint asks for OTLP where no exporter is named.
        """
        monkeypatch.delenv("OTEL_TRACES_EXPORTER")
        telemetry = Telemetry.from_environment()
        telemetry.record(walked(plan=plan), plan)
        await telemetry.aclose()

        assert 4 == len(receiver.spans)


def exported(plan: Plan, sampler: Sampler | None = None, **changes: object) -> Sequence[ReadableSpan]:
    """
    Return the spans of an answered walk with *changes*.
    """
    traversal = walked(plan=plan)
    for name, value in changes.items():
        setattr(traversal, name, value)
    exporter = InMemorySpanExporter()
    Telemetry(SimpleSpanProcessor(exporter), resource=Resource({}), sampler=sampler).record(traversal, plan)

    return exporter.get_finished_spans()


CALLED = {"parent_span_id": "00f067aa0ba902b7"}


class TestSampling:
    @pytest.mark.parametrize(
        ("sampler", "changes", "count"),
        [
            (None, {}, 4),
            (None, CALLED | {"sampled": True}, 4),
            (None, CALLED | {"sampled": False}, 0),
            (ALWAYS_ON, CALLED | {"sampled": False}, 4),
            (ALWAYS_OFF, CALLED | {"sampled": True}, 0),
            (ParentBased(ALWAYS_OFF), {}, 0),
            (ParentBased(ALWAYS_OFF), CALLED | {"sampled": True}, 4),
            (TraceIdRatioBased(0.5), {"trace_id": "0" * 16 + "7" + "f" * 15}, 4),
            (TraceIdRatioBased(0.5), {"trace_id": "0" * 16 + "8" + "0" * 15}, 0),
        ],
    )
    def test_is_decided_for_the_whole_tree(
        self, sampler: Sampler | None, changes: dict[str, object], count: int, plan: Plan
    ) -> None:
        """
        The caller's flag and the sampler decide once, and a tree is exported whole or not at all.
        """
        assert count == len(exported(plan, sampler, **changes))

    def test_open_span_of_the_program_is_no_parent(self, plan: Plan) -> None:
        """
        Where the walk starts its trace, a span that happens to be open around the sink changes nothing.
        """
        from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

        with use_span(NonRecordingSpan(SpanContext(5, 6, is_remote=True))):
            found = exported(plan)

        assert 4 == len(found)
        assert found[0].parent is None

    def test_environment_names_the_sampler(self, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        `OTEL_TRACES_SAMPLER` is asked where the program gives no sampler.
        """
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")

        assert () == exported(plan)


NO_OTLP = "OTEL_TRACES_EXPORTER asks for 'otlp', and no such exporter is installed"


class TestEnvironment:
    async def test_nothing_said_exports_nothing(self, plan: Plan) -> None:
        """
        Without settings no exporter is opened, and recording is fine.
        """
        telemetry = Telemetry.from_environment()
        telemetry.record(walked(plan=plan), plan)
        await telemetry.flush()

        assert not telemetry.exporting

    @pytest.mark.parametrize(
        "said",
        [
            {},
            {"OTEL_TRACES_EXPORTER": "none"},
            {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
            {"OTEL_TRACES_EXPORTER": "otlp,console", "OTEL_SDK_DISABLED": "TRUE"},
        ],
    )
    def test_no_exporter(self, said: dict[str, str]) -> None:
        """
        Nothing, `none` and a disabled SDK all mean no exporter.
        """
        assert [] == exporters(said)

    def test_console(self, plan: Plan) -> None:
        """
        `console` prints each span as JSON.
        """
        [exporter] = exporters({"OTEL_TRACES_EXPORTER": " console "})
        assert isinstance(exporter, ConsoleSpanExporter)
        exporter.out = io.StringIO()
        Telemetry(SimpleSpanProcessor(exporter)).record(walked(plan=plan), plan)
        printed = exporter.out.getvalue()
        first, _ = json.JSONDecoder().raw_decode(printed)

        assert "meshwalk.route" == first["name"]
        assert "meshwalk" == first["resource"]["attributes"]["service.name"]
        assert 4 == printed.count('"trace_id"')

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            (
                {"OTEL_TRACES_EXPORTER": "smoke"},
                "asks for 'smoke', and no such exporter is installed; use otlp, console or none",
            ),
            (
                {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "pigeon"},
                r"PROTOCOL is 'pigeon', and spans travel by grpc",
            ),
        ],
    )
    def test_what_is_not_there(self, said: dict[str, str], message: str) -> None:
        """
        An exporter or a protocol that does not exist is named, with what does.
        """
        with pytest.raises(SetupError, match=message):
            exporters(said)

    @pytest.fixture
    def bare(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Pretend that no exporter is installed.
        """
        monkeypatch.setattr("meshwalk.records.telemetry.environment.entry_points", lambda **_: ())
        monkeypatch.setitem(sys.modules, "meshwalk.records.telemetry.collector", None)

    @pytest.mark.usefixtures("bare")
    @pytest.mark.parametrize(
        ("protocol", "package"), [("grpc", r"meshwalk\[otlp\]"), ("http/protobuf", "opentelemetry-exporter-otlp-proto-http")]
    )
    def test_otlp_is_an_extra(self, protocol: str, package: str) -> None:
        """
        Asked for OTLP by name without the extra, the error says what to install.
        """
        with pytest.raises(SetupError, match=f"{NO_OTLP}; install {package}"):
            exporters({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": protocol})

    @pytest.mark.usefixtures("bare")
    def test_endpoint_for_others_is_no_error(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        An endpoint that nobody asked meshwalk to use is warned about where the extra is missing.
        """
        with caplog.at_level(logging.WARNING):
            found = exporters({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})

        assert [] == found
        assert [f"no spans are exported: {NO_OTLP}; install meshwalk[otlp]"] == [r.getMessage() for r in caplog.records]

    def test_program_keeps_its_own_provider(self) -> None:
        """
        Telemetry does not put itself in the place of the program's tracer provider.
        """
        before = get_tracer_provider()
        Telemetry.from_environment()

        assert before is get_tracer_provider()
