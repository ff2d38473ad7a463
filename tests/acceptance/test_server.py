"""
A real server process: what it leaves behind when it is killed, and the spans it sends to a real collector.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from contextlib import asynccontextmanager
from pathlib import Path
from queue import Queue

import grpc
import pytest
from anyio import to_thread
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from meshwalk.records.store import TraceReader
from meshwalk.review.replay import replay_all
from meshwalk.wire.client import Client


pytestmark = pytest.mark.anyio

GRAPH = """
meshwalk: 1
name: desk
start: intake
request:
  task: {type: string, enum: [prose, proof], default: prose}
backends:
  little: {kind: simulated, confidence: 0.2, usd_per_mtok: {input: 1, output: 2}}
  great: {kind: simulated, latency: {p50: 5ms, p99: 10ms}, usd_per_mtok: {input: 10, output: 20}}
nodes:
  intake:
    role: classifier
    use: features
    next:
      - {to: sorry, when: "request.task == 'proof'"}
      - {to: small}
  small:
    role: answer
    backend: little
    max_tokens: 64
    confidence: {from: recorded}
    next: [{to: done, when: output.confidence > 0.5}, {to: large}]
  large: {role: primary, backend: great, max_tokens: 64, next: done}
  sorry: {role: refusal, reason: we do not prove}
"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    file = tmp_path / "desk.yaml"
    file.write_text(GRAPH, encoding="utf-8")

    return file


@asynccontextmanager
async def server(graph: Path, traces: Path, **environment: str) -> AsyncIterator[tuple[subprocess.Popen[str], str]]:
    """
    Run `meshwalk serve` on a free port; give the process and its address.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [sys.executable, "-m", "meshwalk", "serve", str(graph), "--listen", "127.0.0.1:0", "--json"]
    command += ["--traces", str(traces)]
    # Starting takes no time worth awaiting; what it says is awaited.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean | environment) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        try:
            ready = await to_thread.run_sync(process.stdout.readline)
            yield process, json.loads(ready)["address"]
        finally:
            process.kill()


@pytest.mark.process
@pytest.mark.slow
async def test_a_killed_server_loses_at_most_the_last_second(graph: Path, tmp_path: Path) -> None:
    """
    Another process reads the store while the server writes; after `kill -9` every walk answered over a second ago is there.
    """
    traces = tmp_path / "traces"
    answered: dict[str, float] = {}
    async with server(graph, traces) as (process, address):
        async with Client(address) as client:
            began = time.monotonic()
            while time.monotonic() < began + 2:
                done = await client.route("Say hello.")
                answered[done.traversal_id] = time.monotonic()
            with TraceReader(traces) as reader:
                seen_while_writing = len(reader.list(limit=100_000))
            process.kill()
            killed = time.monotonic()
        process.wait()
    with TraceReader(traces) as reader:
        stored = {traversal.traversal_id for traversal in reader.traversals()}
        report = replay_all(reader)
    old = {traversal_id for traversal_id, at in answered.items() if at < killed - 1}

    assert old
    assert 0 < seen_while_writing
    assert old <= stored
    assert (len(stored), 0) == (report.unchanged, report.mismatched)


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """
    Take what an exporter sends.
    """

    def __init__(self) -> None:
        self.spans: Queue[Span] = Queue()

    def Export(  # noqa: N802
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        assert context.is_active()
        for of_resource in request.resource_spans:
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    self.spans.put(span)

        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, int]]:
    taking = Collector()
    listening = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(taking, listening)  # type: ignore[no-untyped-call]
    port = listening.add_insecure_port("127.0.0.1:0")
    listening.start()
    yield taking, port
    listening.stop(None).wait()


@pytest.mark.process
async def test_spans_arrive_whole(graph: Path, tmp_path: Path, collector: tuple[Collector, int]) -> None:
    """
    A collector gets every span of an answered and of a refused walk: one tree each, under the caller's span, in order of time.
    """
    taking, port = collector
    trace_id, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    exporting = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    async with server(graph, tmp_path / "traces", **exporting) as (_, address):
        async with Client(address) as client:
            answered = await client.route("Say hello.", traceparent=f"00-{trace_id}-{caller}-01")
            refused = await client.route("Prove it.", task="proof", traceparent=f"00-{trace_id}-{caller}-01")
        # A route, three hops and two calls; a route and two hops.
        spans = await to_thread.run_sync(lambda: [taking.spans.get(timeout=20) for _ in range(6 + 3)])
    by_id = {span.span_id: span for span in spans}
    roots = [span for span in spans if span.name == "meshwalk.route"]

    assert (("intake", "small", "large"), ("intake", "sorry")) == (answered.path, refused.path)
    assert {bytes.fromhex(trace_id)} == {span.trace_id for span in spans}
    assert [bytes.fromhex(caller)] * 2 == [root.parent_span_id for root in roots]
    assert 9 == len(by_id)
    for span in spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        if span not in roots:
            parent = by_id[span.parent_span_id]
            assert parent.start_time_unix_nano <= span.start_time_unix_nano
            assert span.end_time_unix_nano <= parent.end_time_unix_nano
