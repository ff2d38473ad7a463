"""
The telemetry sink: decides on sampling, and passes traversals to exports and span processors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Self

from anyio import CancelScope, to_thread
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Decision, Sampler
from opentelemetry.trace import NonRecordingSpan, SpanKind, set_span_in_context

from meshwalk.model.resource import AsyncResource
from meshwalk.plan import Plan
from meshwalk.records.metrics import RECORDS_LOST, Reading
from meshwalk.records.telemetry import environment, names
from meshwalk.records.telemetry.export import Export, Pace, Sampled
from meshwalk.records.telemetry.spans import caller_of, route_attributes
from meshwalk.trace import Traversal


class Telemetry(AsyncResource):
    """
    A sink that exports each sampled traversal as spans.

    Args:
        processors: Get ended spans as walks end.  Their `on_end` must not wait; a `BatchSpanProcessor` does not.  `aclose`
            shuts them down.
        exports: Encode traversals themselves, each in a thread of its own; `aclose` closes them.
        resource: The source of the spans; None for the one of the environment.
        sampler: None for the one of the environment.
    """

    def __init__(
        self,
        *processors: SpanProcessor,
        exports: Sequence[Export] = (),
        resource: Resource | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        self._processors = processors
        self._exports = tuple(exports)
        self._resource = environment.resource() if resource is None else resource
        # The provider is the SDK's public way to read the sampler from the environment; no tracer is ever asked of it.
        self._sampler = TracerProvider(sampler, self._resource, shutdown_on_exit=False).sampler
        self._scope = environment.scope()

    def __repr__(self) -> str:
        outputs = len(self._processors) + len(self._exports)

        return f"<Telemetry to {outputs} outputs: {self.dropped} dropped, {self.failed} failed, {self.rejected} rejected>"

    @property
    def exporting(self) -> bool:
        """
        Return whether spans go anywhere.
        """
        return bool(self._processors or self._exports)

    @property
    def dropped(self) -> int:
        """
        Return the number of traversals lost because a queue was full.
        """
        return sum(export.dropped for export in self._exports)

    @property
    def failed(self) -> int:
        """
        Return the number of traversals whose spans could not be exported.
        """
        return sum(export.failed for export in self._exports)

    @property
    def rejected(self) -> int:
        """
        Return the number of spans that a collector left out of batches that it took otherwise.
        """
        return sum(export.rejected for export in self._exports)

    def readings(self) -> Iterator[Reading]:
        """
        Return its losses as readings.
        """
        yield Reading(RECORDS_LOST, self.dropped + self.failed, {"of": "spans"})

    @classmethod
    def from_environment(cls) -> Self:
        """
        Export as the `OTEL_*` variables configure; without any, export nothing.

        Raises:
            SetupError: If an exporter they name is not installed.
        """
        processors: list[SpanProcessor] = []
        exports: list[Export] = []
        for exporter in environment.exporters(os.environ):
            if isinstance(exporter, SpanExporter):
                processors.append(BatchSpanProcessor(exporter))
            else:
                exports.append(Export(exporter, Pace.from_environment(os.environ)))

        return cls(*processors, exports=exports)

    def record(self, traversal: Traversal, plan: Plan) -> None:
        """
        Export the spans of *traversal* if it is sampled.
        """
        if not self.exporting:
            return
        item = self._sampled(traversal, plan)
        if item is None:
            return
        for export in self._exports:
            export.put(item)
        if self._processors:
            self._end(item)

    def _end(self, item: Sampled) -> None:
        for span in item.spans(self._resource, self._scope):
            for processor in self._processors:
                processor.on_end(span)

    async def flush(self) -> None:
        """
        Export what waits.
        """
        for export in self._exports:
            await to_thread.run_sync(export.flush)
        for processor in self._processors:
            await to_thread.run_sync(processor.force_flush)

    async def aclose(self) -> None:
        """
        Export the queued traversals and close the exporters; closing twice is fine.
        """
        processors, self._processors = self._processors, ()
        with CancelScope(shield=True):
            for export in self._exports:
                await to_thread.run_sync(export.close)
            for processor in processors:
                await to_thread.run_sync(processor.shutdown)

    def _sampled(self, traversal: Traversal, plan: Plan) -> Sampled | None:
        """
        Return *traversal* if it is sampled; the decision holds for all its spans.
        """
        if self._sampler is DEFAULT_ON:
            # This sampler depends on the caller's flag only, so it needs no attributes.
            return Sampled(traversal, plan) if traversal.sampled or not traversal.parent_span_id else None
        # An empty context, so that an open span of the surrounding program is not taken for the parent.
        caller, context = caller_of(traversal), Context()
        if caller is not None:
            context = set_span_in_context(NonRecordingSpan(caller), context)
        attributes = route_attributes(traversal)
        sampling = self._sampler.should_sample(
            context, int(traversal.trace_id, 16), names.ROUTE, kind=SpanKind.SERVER, attributes=attributes
        )
        if sampling.decision is not Decision.RECORD_AND_SAMPLE:
            return None
        # Most samplers add nothing to the attributes they get.
        plain = (sampling.attributes or attributes) == attributes and not sampling.trace_state

        return Sampled(traversal, plan, None if plain else sampling)
