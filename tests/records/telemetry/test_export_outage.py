"""
A collector that is away, comes back, or never answers: what that costs, what is counted, and what the log says.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from meshwalk.records.telemetry import Telemetry
from meshwalk.records.telemetry.export import Encoded, Export, Pace, Sampled
from tests.support.records import answered, triage, walked


pytestmark = pytest.mark.anyio

# A route, two hops and a call.
SPANS = 4


class Receiver(TraceServiceServicer):
    def __init__(self) -> None:
        self.span_ids: list[bytes] = []
        self.answer = ExportTraceServiceResponse()

    def Export(  # noqa: N802
        self,
        request: ExportTraceServiceRequest,
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> ExportTraceServiceResponse:
        for resource in request.resource_spans:
            self.span_ids += [span.span_id for scope in resource.scope_spans for span in scope.spans]

        return self.answer


@contextmanager
def receiving(port: int) -> Iterator[Receiver]:
    receiver = Receiver()
    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    assert port == server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    yield receiver
    server.stop(None).wait()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """
    Name a port where nobody listens yet, and point the environment at it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    # Shorter than the first pause before another try, so that each batch is tried once.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")

    return port


async def test_outage_is_told_once_and_then_spans_go_on(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """
    While the collector is away each walk is counted and the log says it once, with the reason; when it is back, spans arrive.
    """
    plan, telemetry = triage(), Telemetry.from_environment()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            telemetry.record(walked(answered, plan=plan), plan)
            await telemetry.flush()
    said = [record.getMessage() for record in caplog.records]
    with receiving(port) as receiver:
        # A channel that found nobody looks again after a while of its own choosing.
        while not receiver.span_ids:
            telemetry.record(walked(answered, plan=plan), plan)
            await telemetry.flush()
        await telemetry.aclose()

    assert 5 <= telemetry.failed
    assert 1 == len(said), said
    assert said[0].startswith("spans cannot be exported (1 so far): StatusCode.UNAVAILABLE, ")
    assert SPANS == len(receiver.span_ids)


async def test_what_a_collector_rejects_is_counted(
    port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Spans that a collector leaves out of what it takes are counted and told of once a burst, in its words, and not sent again.
    """
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20")
    some, all_taken = ExportTraceServiceResponse(), ExportTraceServiceResponse()
    some.partial_success.rejected_spans, some.partial_success.error_message = 3, "too old\n" + "!" * 1_000
    # A collector may say something without rejecting any.
    all_taken.partial_success.error_message = "nearly full"
    plan = triage()
    with receiving(port) as receiver, caplog.at_level(logging.WARNING):
        telemetry = Telemetry.from_environment()
        for answer in (some, some, all_taken, some):
            receiver.answer = answer
            telemetry.record(walked(answered, plan=plan), plan)
            await telemetry.flush()
        await telemetry.aclose()
    said = [record.getMessage() for record in caplog.records]
    begun = [words for words in said if words.startswith("the collector rejects spans")]

    assert (9, 0, 0) == (telemetry.rejected, telemetry.failed, telemetry.dropped)
    assert 4 * SPANS == len(receiver.span_ids)
    assert ["(3 so far)", "(9 so far)"] == [words[len("the collector rejects spans ") :][:10] for words in begun]
    assert all(words.endswith(r"'too old\n" + "!" * 192 + "'") for words in begun)
    assert "nothing is lost any more (the collector rejects spans): 6 were lost, 6 so far" == said[1]
    assert "9 were lost in all (the collector rejects spans)" == said[-1]


async def test_end_does_not_wait_for_a_collector_that_is_away(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where many batches wait for a collector that never answers, the end comes in time, and each walk is counted.
    """
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "10")
    monkeypatch.setenv("OTEL_BSP_EXPORT_TIMEOUT", "200")
    plan, telemetry = triage(), Telemetry.from_environment()
    with socket.create_server(("127.0.0.1", port)):
        for _ in range(50):
            telemetry.record(walked(answered, plan=plan), plan)
        began = time.monotonic()
        await telemetry.aclose()
        took = time.monotonic() - began

    # One try alone has ten seconds.
    assert took < 8
    assert (50, 0) == (telemetry.failed, telemetry.dropped)


class Held:
    """
    Hold the first batch until closed.
    """

    rejected = 0

    def __init__(self) -> None:
        self.sent = self.closed = 0
        self.taken, self._released = threading.Event(), threading.Event()

    def try_encode(self, item: Sampled) -> Encoded | None:
        assert item.traversal.template_key is None

        return None

    def send(self, batch: list[Sampled | Encoded]) -> str:
        self.sent += len(batch)
        self.taken.set()
        self._released.wait(10)

        return "given up"

    def close(self) -> None:
        self.closed += 1
        self._released.set()


def test_what_is_left_at_the_end_is_not_even_tried() -> None:
    """
    Once patience is over the batch on its way is given up, those behind it are not sent, and all are counted.
    """
    plan, held = triage(), Held()
    export = Export(held, Pace(batch=1, delay=0.0, patience=0.01))  # type: ignore[arg-type]
    for _ in range(3):
        export.put(Sampled(walked(answered, plan=plan), plan))
    assert held.taken.wait(10)
    export.close()
    export.close()

    assert (1, 1, 3) == (held.sent, held.closed, export.failed)
