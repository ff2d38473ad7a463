"""
The export of a process's metrics as the `OTEL_*` variables configure, by exporters of OpenTelemetry's SDK.

| variable | meaning here |
|---|---|
| `OTEL_SDK_DISABLED=true` | no metrics, whatever else is said |
| `OTEL_METRICS_EXPORTER` | `otlp`, `console`, `none` or any installed exporter, several with commas |
| `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` | with no exporter named, asks for `otlp` |
| `OTEL_EXPORTER_OTLP_PROTOCOL`, `…_METRICS_PROTOCOL` | `grpc` (if nothing is said) or `http/protobuf` |
| `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_EXPORTER_OTLP_*` | read by the SDK and the exporter themselves |

The endpoint of all signals alone asks for spans only: many collectors take nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING

from anyio import to_thread
from opentelemetry.metrics import CallbackOptions, Observation

from meshwalk.model.problems import SetupError
from meshwalk.records.metrics import METRICS, Metric, Metrics
from meshwalk.records.telemetry.environment import resource


if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader


# The exporter of each protocol, and the package that provides it.
_OTLP: Mapping[str, tuple[str, str]] = {
    "grpc": ("otlp_proto_grpc", "opentelemetry-exporter-otlp-proto-grpc"),
    "http/protobuf": ("otlp_proto_http", "opentelemetry-exporter-otlp-proto-http"),
}


class MetricsExport:
    """
    The export of *metrics* through *readers*.
    """

    def __init__(self, metrics: Metrics, readers: Sequence[MetricReader]) -> None:
        self._metrics = metrics
        self._provider = None
        if not readers:
            return
        # A server that exports no metrics does not wait for the SDK's half of them.
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415

        self._provider = MeterProvider(readers, resource(), shutdown_on_exit=False)
        meter = self._provider.get_meter("meshwalk", version("meshwalk"))
        for metric in METRICS:
            create = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
            create(metric.name, [self._observer(metric)], metric.unit, metric.description)

    def __repr__(self) -> str:
        return f"<MetricsExport: {'on' if self.exporting else 'off'}>"

    @classmethod
    def from_environment(cls, metrics: Metrics, environment: Mapping[str, str]) -> MetricsExport:
        """
        Export as *environment* asks; without a word in it, nowhere.

        Raises:
            SetupError: If an exporter that it names is not installed.
        """
        exporters = _exporters(environment)
        if not exporters:
            return cls(metrics, ())
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

        return cls(metrics, [PeriodicExportingMetricReader(exporter) for exporter in exporters])

    @property
    def exporting(self) -> bool:
        """
        Return whether metrics go anywhere.
        """
        return self._provider is not None

    async def aclose(self) -> None:
        """
        Export the last readings, and stop; closing twice is fine.
        """
        provider, self._provider = self._provider, None
        if provider is not None:
            await to_thread.run_sync(provider.shutdown)

    def _observer(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            del options
            return [Observation(read.value, dict(read.labels)) for read in self._metrics.read() if read.metric == metric]

        return observe


def _exporters(environment: Mapping[str, str]) -> list[MetricExporter]:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    names = [name.strip() for name in environment.get("OTEL_METRICS_EXPORTER", "").split(",")]
    if not any(names) and environment.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "").strip():
        names = ["otlp"]

    return [_named(name, environment) for name in names if name not in ("", "none")]


def _named(name: str, environment: Mapping[str, str]) -> MetricExporter:
    entry_point, remedy = name, "use otlp, console or none, or install it"
    if name == "otlp":
        variables = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
        protocol = next((environment[key].strip() for key in variables if environment.get(key, "").strip()), "grpc")
        if protocol not in _OTLP:
            raise SetupError(f"{' or '.join(variables)} is {protocol!r}, and metrics travel by {' or '.join(_OTLP)}")
        entry_point, package = _OTLP[protocol]
        remedy = f"install {package}"
    installed = entry_points(group="opentelemetry_metrics_exporter", name=entry_point)
    if not installed:
        raise SetupError(f"OTEL_METRICS_EXPORTER asks for {name!r}, and no such exporter is installed; {remedy}")
    exporter: MetricExporter = next(iter(installed)).load()()

    return exporter
