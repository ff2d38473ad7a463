"""
What the `OTEL_*` variables ask for.

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

# The entry point of each protocol, and what brings it.
_OTLP: Mapping[str, tuple[str, str]] = {
    "grpc": ("otlp_proto_grpc", "meshwalk[otlp]"),
    "http/protobuf": ("otlp_proto_http", "opentelemetry-exporter-otlp-proto-http"),
}

_log = logging.getLogger(__name__)


def exporters(environment: Mapping[str, str]) -> list[SpanExporter]:
    """
    Open each exporter that *environment* asks for.

    Raises:
        SetupError: If one that is named is not installed, or cannot be opened.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    said = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    if not said:
        return _for_endpoint(environment)
    named = [name.strip() for name in said.split(",")]

    return [_named(name, environment) for name in named if name not in ("", "none")]


def resource() -> Resource:
    """
    Describe this service, as the environment calls it or else as `meshwalk`.
    """
    found = Resource.create()
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: "meshwalk"}))

    return found


def scope() -> InstrumentationScope:
    """
    Name what makes the spans.
    """
    return InstrumentationScope("meshwalk", version("meshwalk"))


def sender(exporter: SpanExporter) -> Sender | None:
    """
    Return what sends traversals through *exporter* without going through the SDK's spans; None if that only takes those.
    """
    if not type(exporter).__module__.startswith(_OTLP_OVER_GRPC):
        return None
    # What the extra brings, and there it is.
    from meshwalk.records.telemetry.otlp import Exporter, OtlpSender  # noqa: PLC0415

    exporter.shutdown()
    own = Exporter()

    return OtlpSender(own.post, own.shutdown, resource(), scope())


_OTLP_OVER_GRPC = "opentelemetry.exporter.otlp.proto.grpc."


def _for_endpoint(environment: Mapping[str, str]) -> list[SpanExporter]:
    if not _first(environment, _ENDPOINTS):
        return []
    try:
        return [_named("otlp", environment)]
    except SetupError as error:
        _log.warning("no spans are exported: %s", error)
        return []


def _named(name: str, environment: Mapping[str, str]) -> SpanExporter:
    entry_point, remedy = name, "use otlp, console or none, or install it"
    if name == "otlp":
        protocol = _first(environment, _PROTOCOLS) or "grpc"
        if protocol not in _OTLP:
            raise SetupError(f"{' or '.join(_PROTOCOLS)} is {protocol!r}, and spans travel by {' or '.join(_OTLP)}")
        entry_point, package = _OTLP[protocol]
        remedy = f"install {package}"
    found = entry_points(group="opentelemetry_traces_exporter", name=entry_point)
    if not found:
        raise SetupError(f"OTEL_TRACES_EXPORTER asks for {name!r}, and no such exporter is installed; {remedy}")
    exporter: SpanExporter = next(iter(found)).load()()

    return exporter


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name].strip() for name in names if environment.get(name, "").strip()), "")
