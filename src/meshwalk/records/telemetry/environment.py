"""
Exporters, resource and scope as the `OTEL_*` variables configure them.

| variable | meaning here |
|---|---|
| `OTEL_SDK_DISABLED=true` | no spans, whatever else is said |
| `OTEL_TRACES_EXPORTER` | `otlp`, `console`, `none` or any installed exporter, several with commas |
| `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_TRACES_ENDPOINT` | with no exporter named, naming the endpoint asks for `otlp` |
| `OTEL_EXPORTER_OTLP_PROTOCOL`, `…_TRACES_PROTOCOL` | `grpc` (if nothing is said) or `http/protobuf` |
| `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | the resource; the service is called `meshwalk` if nothing is said |
| `OTEL_TRACES_SAMPLER`, `…_ARG` | the sampler, `parentbased_always_on` if nothing is said |
| `OTEL_BSP_*`, `OTEL_EXPORTER_OTLP_*` | read by the batch processor and the exporter themselves |

With nothing said, nothing is exported: a router must not call an address that nobody gave it.  An exporter that is asked
for by name and not installed is an error; an endpoint alone may be there for other programs, so it is only warned about.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import entry_points, version

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from meshwalk.model.problems import SetupError
from meshwalk.records.telemetry.export import Sender


_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_OTLP_GRPC = "otlp_proto_grpc"

# The exporter of each protocol, and the package that provides it.
_OTLP: Mapping[str, tuple[str, str]] = {
    "grpc": (_OTLP_GRPC, "meshwalk[otlp]"),
    "http/protobuf": ("otlp_proto_http", "opentelemetry-exporter-otlp-proto-http"),
}

_log = logging.getLogger(__name__)


def exporters(environment: Mapping[str, str]) -> list[SpanExporter | Sender]:
    """
    Open each exporter that *environment* asks for; OTLP over gRPC is a sender, which takes traversals in place of spans.

    Raises:
        SetupError: If one that is named is not installed, or cannot be opened.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    names = [name.strip() for name in environment.get("OTEL_TRACES_EXPORTER", "").split(",")]
    if not any(names):
        return _for_endpoint(environment)

    return [_named(name, environment) for name in names if name not in ("", "none")]


def resource() -> Resource:
    """
    Return the resource of this service, named by the environment or else `meshwalk`.
    """
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        return resource.merge(Resource({SERVICE_NAME: "meshwalk"}))

    return resource


def scope() -> InstrumentationScope:
    """
    Return the instrumentation scope of all spans.
    """
    return InstrumentationScope("meshwalk", version("meshwalk"))


def _for_endpoint(environment: Mapping[str, str]) -> list[SpanExporter | Sender]:
    if not _first(environment, _ENDPOINTS):
        return []
    try:
        return [_named("otlp", environment)]
    except SetupError as error:
        _log.warning("no spans are exported: %s", error)
        return []


def _named(name: str, environment: Mapping[str, str]) -> SpanExporter | Sender:
    entry_point, remedy = name, "use otlp, console or none, or install it"
    if name == "otlp":
        protocol = _first(environment, _PROTOCOLS) or "grpc"
        if protocol not in _OTLP:
            raise SetupError(f"{' or '.join(_PROTOCOLS)} is {protocol!r}, and spans travel by {' or '.join(_OTLP)}")
        entry_point, package = _OTLP[protocol]
        remedy = f"install {package}"
    if entry_point == _OTLP_GRPC:
        try:
            return _otlp_sender(environment)
        except ModuleNotFoundError as error:
            raise _not_installed(name, remedy) from error
    installed = entry_points(group="opentelemetry_traces_exporter", name=entry_point)
    if not installed:
        raise _not_installed(name, remedy)
    exporter: SpanExporter = next(iter(installed)).load()()

    return exporter


def _otlp_sender(environment: Mapping[str, str]) -> Sender:
    # Imported here, because the modules need the extra.
    from meshwalk.records.telemetry.collector import CollectorClient, Settings  # noqa: PLC0415
    from meshwalk.records.telemetry.otlp import OtlpSender  # noqa: PLC0415

    client = CollectorClient(Settings.from_environment(environment))

    return OtlpSender(client.post, client.close, resource(), scope())


def _not_installed(name: str, remedy: str) -> SetupError:
    return SetupError(f"OTEL_TRACES_EXPORTER asks for {name!r}, and no such exporter is installed; {remedy}")


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name].strip() for name in names if environment.get(name, "").strip()), "")
