"""
What a span costs, from a finished walk to OTLP's bytes, beside the SDK's own way there.

The SDK's arm starts and ends the spans of a three-hop walk, six of them with the attributes that ours have, and encodes them
with the stock encoder; ours makes the same bytes of the walk's record.  CPU time of the whole process counts, wherever it is
spent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import repeat

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import Span, Tracer, set_span_in_context

from harness import Arm, Compare, at_most
from meshwalk.mesh import Mesh
from meshwalk.plan import Plan
from meshwalk.records.telemetry import environment
from meshwalk.records.telemetry.export import Sampled
from meshwalk.records.telemetry.otlp import Encoder
from meshwalk.records.telemetry.spans import SpanTree, route_attributes
from meshwalk.trace import Traversal
from three_hops import GREAT, LITTLE, REQUEST, plan


BATCH = 128


class Keep(SpanProcessor):
    """
    Keep ended spans until there is a batch of them.
    """

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class Listing:
    """
    Keep finished walks.
    """

    def __init__(self) -> None:
        self.traversals: list[Traversal] = []

    def record(self, traversal: Traversal, plan: Plan) -> None:  # noqa: ARG002
        self.traversals.append(traversal)


def in_batches(work: Callable[[], object]) -> Arm:
    """
    Do *work* on batches of walks, and count the CPU time of the process for each walk.
    """

    def arm(n: int) -> float:
        batches = -(-n // BATCH)
        began = time.process_time_ns()
        for _ in repeat(None, batches):
            work()

        return (time.process_time_ns() - began) / (batches * BATCH)

    return arm


def starting_and_ending(tracer: Tracer, keep: Keep, told: list[ReadableSpan]) -> None:
    """
    Make the spans *told* by the SDK's own means, a batch of them, and encode them.
    """
    for _ in repeat(None, BATCH):
        parents: dict[int, Span] = {}
        for span in told:
            parent = parents.get(span.parent.span_id) if span.parent is not None else None
            context = None if parent is None else set_span_in_context(parent)
            mine = tracer.start_span(span.name, context, span.kind, span.attributes, start_time=span.start_time)
            assert span.context is not None
            parents[span.context.span_id] = mine
        for mine in parents.values():
            mine.end()
    encode_spans(keep.spans).SerializeToString()
    keep.spans.clear()


def test_spans(compare: Compare) -> None:
    """
    How much CPU time does a walk's span take, encoded for OTLP, of what the SDK's start, end and stock encoder take for it?
    """
    walked, listing = plan(), Listing()

    async def walk() -> None:
        async with Mesh(walked, backends={"little": LITTLE, "great": GREAT}, sinks=[listing]) as mesh:
            for _ in repeat(None, BATCH):
                await mesh.walk(REQUEST)

    compare.run(walk())
    resource, scope = environment.resource(), environment.scope()
    first = listing.traversals[0]
    told = list(SpanTree(first, walked, attributes=route_attributes(first), resource=resource, scope=scope).spans())
    assert 6 == len(told)
    keep, encoder = Keep(), Encoder(resource, scope)
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(keep)
    tracer = provider.get_tracer("meshwalk")
    batch = [Sampled(traversal, walked) for traversal in listing.traversals]

    def encoding() -> None:
        for traversal in listing.traversals:
            # Worked out once on a record, and each of these stands for one that is new.
            traversal._template_key = None  # noqa: SLF001
        encoder.encode(batch)

    compare(
        in_batches(encoding),
        in_batches(lambda: starting_and_ending(tracer, keep, told)),
        at_most(0.25),
        seconds=0.2,
    )
