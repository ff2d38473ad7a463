"""
The sink: decides on sampling, has the spans made, and hands them to span processors.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Self

from anyio import CancelScope, to_thread
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanKind, set_span_in_context

from meshwalk.plan import Plan
from meshwalk.telemetry import environment, names
from meshwalk.telemetry.spans import Attributes, Tree, caller_of, route_attributes
from meshwalk.trace import Traversal


class Telemetry:
    """
    Hand each sampled traversal to *processors* as ended spans.

    Args:
        processors: Their `on_end` must not wait; a `BatchSpanProcessor` does not.  They are shut down by `aclose`.
        resource: What the spans come from; None is what the environment says.
        sampler: None is what the environment says.
    """

    def __init__(self, *processors: SpanProcessor, resource: Resource | None = None, sampler: Sampler | None = None) -> None:
        self._processors = processors
        self._resource = environment.resource() if resource is None else resource
        # The provider is the SDK's public way to read the sampler from the environment; no tracer is ever asked of it.
        self._sampler = TracerProvider(sampler, self._resource, shutdown_on_exit=False).sampler
        self._scope = InstrumentationScope("meshwalk", version("meshwalk"))

    @classmethod
    def from_environment(cls) -> Self:
        """
        Export as the `OTEL_*` variables ask; with nothing said, nowhere.

        Raises:
            SetupError: If an exporter they name is not installed.
        """
        return cls(*(BatchSpanProcessor(exporter) for exporter in environment.exporters(os.environ)))

    def record(self, traversal: Traversal, plan: Plan) -> None:
        """
        Pass on the spans of *traversal*, if it is sampled.
        """
        if not self._processors:
            return
        attributes = route_attributes(traversal)
        sampling = self._sample(traversal, attributes)
        if sampling.decision is not Decision.RECORD_AND_SAMPLE:
            return
        tree = Tree(
            traversal,
            plan,
            attributes=attributes | dict(sampling.attributes or {}),
            resource=self._resource,
            scope=self._scope,
            trace_state=sampling.trace_state,
        )
        for span in tree.spans():
            for processor in self._processors:
                processor.on_end(span)

    async def flush(self) -> None:
        """
        Export what waits.
        """
        for processor in self._processors:
            await to_thread.run_sync(processor.force_flush)

    async def aclose(self) -> None:
        """
        Export what waits and let go of the exporters; closing twice is fine.
        """
        processors, self._processors = self._processors, ()
        with CancelScope(shield=True):
            for processor in processors:
                await to_thread.run_sync(processor.shutdown)

    def _sample(self, traversal: Traversal, attributes: Attributes) -> SamplingResult:
        # An empty context, so that a span of the caller's own program, if one is open, is not taken for the parent.
        caller, context = caller_of(traversal), Context()
        if caller is not None:
            context = set_span_in_context(NonRecordingSpan(caller), context)

        return self._sampler.should_sample(
            context, int(traversal.trace_id, 16), names.ROUTE, kind=SpanKind.SERVER, attributes=attributes
        )
