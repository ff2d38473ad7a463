"""
The client for collectors: its settings, what it sends again, and when it gives up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from meshwalk.model.problems import SetupError
from meshwalk.records.telemetry.collector import CollectorClient, Sent, Settings
from meshwalk.records.telemetry.export import Encoded


REQUEST = Encoded(ExportTraceServiceRequest().SerializeToString(), 0)
PREFIX = "OTEL_EXPORTER_OTLP_"


class Collector(TraceServiceServicer):
    """
    A collector that fails with each of *codes* in turn, and then takes everything.
    """

    def __init__(self, codes: Sequence[grpc.StatusCode] = (), retry_after_us: int | None = None) -> None:
        self.codes = list(codes)
        self.retry_after_us = retry_after_us
        self.metadata: list[dict[str, str | bytes]] = []
        self.called = threading.Event()

    def Export(  # noqa: N802
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        assert not request.resource_spans
        self.metadata.append(dict(context.invocation_metadata()))
        self.called.set()
        if self.codes:
            if self.retry_after_us is not None:
                info = RetryInfo()
                info.retry_delay.FromMicroseconds(self.retry_after_us)
                context.set_trailing_metadata((("google.rpc.retryinfo-bin", info.SerializeToString()),))
            context.abort(self.codes.pop(0), "not now\n" + "!" * 1_000)

        return ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def target(collector: Collector) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def client(target: str) -> Iterator[CollectorClient]:
    client = CollectorClient(Settings(target))
    yield client
    client.close()


class TestSettings:
    def test_nothing_set(self) -> None:
        """
        Without variables the collector is the local one, without TLS.
        """
        assert Settings("localhost:4317") == Settings.from_environment({})

    def test_those_of_traces_come_first(self) -> None:
        """
        A variable for traces takes precedence over the one for all signals.
        """
        settings = Settings.from_environment(
            {
                f"{PREFIX}ENDPOINT": "http://all:1",
                f"{PREFIX}TRACES_ENDPOINT": "http://traces:2",
                f"{PREFIX}HEADERS": "key=a%20b,other=c",
                f"{PREFIX}TRACES_TIMEOUT": "2.5",
                f"{PREFIX}TIMEOUT": "7",
                f"{PREFIX}COMPRESSION": "gzip",
            }
        )

        headers = (("key", "a b"), ("other", "c"))
        assert Settings("traces:2", None, headers, 2.5, grpc.Compression.Gzip) == settings

    @pytest.mark.parametrize(
        ("endpoint", "insecure", "target", "secure"),
        [
            ("https://there:443", "", "there:443", True),
            ("https://there:443", "true", "there:443", True),
            ("http://there:4317", "false", "there:4317", False),
            ("there:4317", "", "there:4317", True),
            ("there:4317", "TRUE", "there:4317", False),
        ],
    )
    def test_tls(self, endpoint: str, insecure: str, target: str, secure: bool) -> None:
        """
        The scheme of the endpoint decides on TLS, and without one the variable `…_INSECURE`.
        """
        settings = Settings.from_environment({f"{PREFIX}ENDPOINT": endpoint, f"{PREFIX}INSECURE": insecure})

        assert (target, secure) == (settings.target, settings.credentials is not None)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("COMPRESSION", "zip", "OTEL_EXPORTER_OTLP_COMPRESSION is 'zip'; use gzip or none"),
            ("TIMEOUT", "soon", "OTEL_EXPORTER_OTLP_TIMEOUT is 'soon'; use a number of seconds above 0"),
            ("TIMEOUT", "nan", "OTEL_EXPORTER_OTLP_TIMEOUT is 'nan'"),
            ("TIMEOUT", "-1", "OTEL_EXPORTER_OTLP_TIMEOUT is '-1'"),
        ],
    )
    def test_invalid(self, name: str, value: str, message: str) -> None:
        """
        A value that means nothing is an error that names the variable.
        """
        with pytest.raises(SetupError, match=message):
            Settings.from_environment({f"{PREFIX}{name}": value})

    def test_certificate_that_is_not_there(self, tmp_path: Path) -> None:
        """
        A file that cannot be read is named by its variable.
        """
        environment = {f"{PREFIX}ENDPOINT": "https://there:1", f"{PREFIX}CERTIFICATE": str(tmp_path / "gone.pem")}
        with pytest.raises(SetupError, match=r"OTEL_EXPORTER_OTLP_CERTIFICATE names a file that cannot be read .*gone\.pem"):
            Settings.from_environment(environment)

    def test_provider_that_is_not_there(self) -> None:
        """
        Credentials by a provider that is not installed are an error.
        """
        environment = {f"{PREFIX}ENDPOINT": "https://there:1", "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER": "vault"}
        with pytest.raises(SetupError, match="no provider of OTLP credentials called 'vault' is installed"):
            Settings.from_environment(environment)


class TestPost:
    def test_headers_travel(self, target: str, collector: Collector) -> None:
        """
        Every request carries the headers, and the client's name.
        """
        client = CollectorClient(Settings(target, headers=[("key", "a b")]))

        assert Sent() == client.post(REQUEST)
        assert "a b" == collector.metadata[0]["key"]
        assert str(collector.metadata[0]["user-agent"]).startswith("OTel-OTLP-Exporter-meshwalk/")
        client.close()

    @pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
    def test_is_sent_again_when_the_collector_says(
        self, code: grpc.StatusCode, collector: Collector, client: CollectorClient
    ) -> None:
        """
        A collector that names a delay is asked again after it, though it be exhausted.
        """
        collector.codes, collector.retry_after_us = [code, code], 1_000

        assert Sent() == client.post(REQUEST)
        assert 3 == len(collector.metadata)

    @pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED])
    def test_final_error(self, code: grpc.StatusCode, collector: Collector, client: CollectorClient) -> None:
        """
        Other errors are final; the collector's words are shortened, on one line.
        """
        collector.codes = [code]
        sent = client.post(REQUEST)

        assert f"{code}, " + repr("not now\n" + "!" * 192) == sent.failure
        assert 1 == len(collector.metadata)

    def test_delay_past_the_time_limit(self, target: str, collector: Collector) -> None:
        """
        A request whose next try would come too late is given up at once.
        """
        collector.codes, collector.retry_after_us = [grpc.StatusCode.UNAVAILABLE], 60_000_000
        client = CollectorClient(Settings(target, timeout_seconds=30))

        assert client.post(REQUEST).failure.startswith("StatusCode.UNAVAILABLE")
        client.close()

    def test_close_ends_the_wait_for_another_try(self, target: str, collector: Collector) -> None:
        """
        A client that is closed while it waits gives the request up, and takes no more.
        """
        collector.codes, collector.retry_after_us = [grpc.StatusCode.UNAVAILABLE], 60_000_000
        client = CollectorClient(Settings(target, timeout_seconds=90))
        with ThreadPoolExecutor(1) as elsewhere:
            sent = elsewhere.submit(client.post, REQUEST)
            assert collector.called.wait(10)
            client.close()

            assert sent.result(timeout=10).failure
        assert client.post(REQUEST).failure
