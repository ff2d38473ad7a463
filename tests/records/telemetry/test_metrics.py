"""
The export of metrics, as the environment asks for it.
"""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint, Sum

from meshwalk.model.problems import SetupError
from meshwalk.records.metrics import IN_FLIGHT, WALKS, Metrics, Reading
from meshwalk.records.telemetry import MetricsExport


pytestmark = pytest.mark.anyio


async def test_readings_are_exported_under_their_names_and_labels() -> None:
    """
    A reader of the SDK sees each reading, a counter as a sum that only grows.
    """
    metrics, reader = Metrics(), InMemoryMetricReader()
    metrics.add(lambda: [Reading(WALKS, 3, {"outcome": "answered"}), Reading(IN_FLIGHT, 2)])
    export = MetricsExport(metrics, [reader])
    data = reader.get_metrics_data()
    await export.aclose()

    assert data is not None
    found = {metric.name: metric.data for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    assert {WALKS.name, IN_FLIGHT.name} == found.keys()
    walks, in_flight = found[WALKS.name], found[IN_FLIGHT.name]
    assert isinstance(walks, Sum)
    assert walks.is_monotonic
    assert {"outcome": "answered"} == walks.data_points[0].attributes
    points = [*walks.data_points, *in_flight.data_points]
    assert [3, 2] == [point.value for point in points if isinstance(point, NumberDataPoint)]


@pytest.mark.parametrize(
    ("variables", "exporting"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, False),
        ({"OTEL_METRICS_EXPORTER": "none"}, False),
        ({"OTEL_METRICS_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_METRICS_EXPORTER": "console"}, True),
    ],
)
async def test_the_environment_says_where_metrics_go(
    variables: dict[str, str], exporting: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nothing is exported unless a variable for metrics asks for it.
    """
    export = MetricsExport.from_environment(Metrics(), variables)

    assert exporting == export.exporting
    await export.aclose()
    assert not export.exporting
    capsys.readouterr()


def test_an_exporter_that_is_not_installed_is_an_error() -> None:
    """
    The error names the variable, and the remedy.
    """
    with pytest.raises(SetupError, match=r"^OTEL_METRICS_EXPORTER asks for 'nothing', and no such exporter is installed"):
        MetricsExport.from_environment(Metrics(), {"OTEL_METRICS_EXPORTER": "nothing"})
