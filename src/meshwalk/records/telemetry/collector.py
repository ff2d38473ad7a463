"""
A client for collectors: OTLP requests over gRPC, with the settings and retries that OpenTelemetry specifies.

The stock exporter takes the SDK's spans and no encoded requests, does not read which spans a collector rejects, and logs every
try of every batch.  To change that would mean to override its private members, which any release may rename.  This client
depends on the protocol alone: one method of one service, whose messages are generated from the published proto files.  The
settings are the variables `OTEL_EXPORTER_OTLP_*` of the specification, where `…_TRACES_*` takes precedence.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.util.re import parse_env_headers

from meshwalk.model.problems import SetupError
from meshwalk.records.telemetry.export import Encoded


DEFAULT_ENDPOINT = "http://localhost:4317"
DEFAULT_TIMEOUT_SECONDS = 10.0

_METHOD = f"/{trace_service_pb2.DESCRIPTOR.services_by_name['TraceService'].full_name}/Export"

_COMPRESSIONS = {"": grpc.Compression.NoCompression, "none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}

# The codes that the specification of OTLP lists as retryable; RESOURCE_EXHAUSTED is so only with a `RetryInfo`.
_RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)

# A channel reconnects by itself; its default bound of two minutes would lose spans long after a collector is back.
_OPTIONS = (
    ("grpc.primary_user_agent", f"OTel-OTLP-Exporter-meshwalk/{version('meshwalk')}"),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

# The number of characters of a collector's message that are logged.
MAX_QUOTED = 200


class Settings(NamedTuple):
    """
    The connection to a collector.

    Args:
        credentials: None for a connection without TLS.
        timeout_seconds: The limit for one request with all its retries.
    """

    target: str
    credentials: grpc.ChannelCredentials | None = None
    headers: Sequence[tuple[str, str]] = ()
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    compression: grpc.Compression = grpc.Compression.NoCompression

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """
        Read the variables `OTEL_EXPORTER_OTLP_TRACES_*` and `OTEL_EXPORTER_OTLP_*`.

        Raises:
            SetupError: If a value is invalid, or a file that one names cannot be read.
        """
        variables = _Variables(environment)
        endpoint = variables.get("ENDPOINT") or DEFAULT_ENDPOINT
        parts = urlsplit(endpoint)
        secure = parts.scheme == "https" or (parts.scheme != "http" and variables.get("INSECURE").lower() != "true")
        compression = variables.get("COMPRESSION").lower()
        if compression not in _COMPRESSIONS:
            raise SetupError(f"OTEL_EXPORTER_OTLP_COMPRESSION is {compression!r}; use gzip or none")

        return cls(
            parts.netloc or endpoint,
            _credentials(variables) if secure else None,
            tuple(parse_env_headers(variables.get("HEADERS"), liberal=True).items()),
            _timeout_seconds(variables.get("TIMEOUT")),
            _COMPRESSIONS[compression],
        )


class Sent(NamedTuple):
    """
    The result of a request.

    Args:
        failure: The reason why the request was not taken; empty if it was.
        rejected: The number of spans that the collector left out (OTLP, "partial success").
        message: The collector's reason for that.
    """

    failure: str = ""
    rejected: int = 0
    message: str = ""


class CollectorClient:
    """
    A connection to one collector, used by one thread and closed by any.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._closed = threading.Event()
        if settings.credentials is None:
            self._channel = grpc.insecure_channel(settings.target, _OPTIONS, settings.compression)
        else:
            self._channel = grpc.secure_channel(settings.target, settings.credentials, _OPTIONS, settings.compression)
        # Without a serializer a channel sends bytes as they are.
        self._export: grpc.UnaryUnaryMultiCallable[bytes, ExportTraceServiceResponse] = self._channel.unary_unary(
            _METHOD, request_serializer=None, response_deserializer=ExportTraceServiceResponse.FromString
        )

    def post(self, request: Encoded) -> Sent:
        """
        Send *request*, again after each retryable error until the time limit.
        """
        deadline = time.monotonic() + self._settings.timeout_seconds
        attempt = 0
        while True:
            try:
                response: ExportTraceServiceResponse = self._export(
                    request.body, timeout=max(0.0, deadline - time.monotonic()), metadata=tuple(self._settings.headers)
                )
            except grpc.RpcError as error:
                pause = _pause_seconds(error, attempt)
                if pause is None or time.monotonic() + pause > deadline or self._closed.wait(pause):
                    return Sent(failure=_reason(error))
                attempt += 1
            except ValueError as error:
                # A closed channel raises this.
                return Sent(failure=str(error))
            else:
                partial = response.partial_success

                return Sent("", max(0, partial.rejected_spans), partial.error_message)

    def close(self) -> None:
        """
        Close the connection; a request under way ends with an error and is not retried.
        """
        self._closed.set()
        self._channel.close()


class _Variables:
    """
    The variables for traces, with those for all signals as fallback.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def get(self, name: str, prefix: str = "OTEL_EXPORTER_OTLP_") -> str:
        """
        Return the value of a variable; empty if it is not set.
        """
        values = (self._environment.get(f"{start}{name}", "").strip() for start in (f"{prefix}TRACES_", prefix))

        return next(filter(None, values), "")


def _credentials(variables: _Variables) -> grpc.ChannelCredentials:
    provider = variables.get("CREDENTIAL_PROVIDER", "OTEL_PYTHON_EXPORTER_OTLP_GRPC_")
    if provider:
        installed = entry_points(group="opentelemetry_otlp_credential_provider", name=provider)
        if not installed:
            raise SetupError(f"no provider of OTLP credentials called {provider!r} is installed; install it")
        credentials: grpc.ChannelCredentials = next(iter(installed)).load()()
        return credentials
    contents: dict[str, bytes | None] = {}
    for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"):
        path = variables.get(name)
        try:
            contents[name] = Path(path).read_bytes() if path else None
        except OSError as error:
            raise SetupError(f"OTEL_EXPORTER_OTLP_{name} names a file that cannot be read ({error})") from error

    return grpc.ssl_channel_credentials(contents["CERTIFICATE"], contents["CLIENT_KEY"], contents["CLIENT_CERTIFICATE"])


def _timeout_seconds(text: str) -> float:
    try:
        seconds = float(text or DEFAULT_TIMEOUT_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SetupError(f"OTEL_EXPORTER_OTLP_TIMEOUT is {text!r}; use a number of seconds above 0")

    return seconds


def _pause_seconds(error: grpc.RpcError, attempt: int) -> float | None:
    """
    Return the time until the next attempt, or None if the error is final.
    """
    code = error.code()
    retry_info = next((one.value for one in error.trailing_metadata() or () if one.key == "google.rpc.retryinfo-bin"), None)
    if isinstance(retry_info, bytes) and (code in _RETRYABLE or code is grpc.StatusCode.RESOURCE_EXHAUSTED):
        delay = RetryInfo.FromString(retry_info).retry_delay
        return float(delay.seconds + delay.nanos / 1e9)
    if code not in _RETRYABLE:
        return None

    return float(2**attempt) * random.uniform(0.8, 1.2)  # noqa: S311 (jitter)


def _reason(error: grpc.RpcError) -> str:
    # The words are the collector's or the network's, so their length is bounded and line ends are escaped.
    return f"{error.code()}, {(error.details() or '')[:MAX_QUOTED]!r}"
