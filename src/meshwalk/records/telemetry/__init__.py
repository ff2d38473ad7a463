"""
A sink that exports traversals as OpenTelemetry spans.

Each traversal is one tree: `meshwalk.route` for the walk, below it `meshwalk.hop` for each hop, and below that a CLIENT span
for each call.  Refused, failed and cancelled walks have trees too.  The trees are built from the finished record.  For a
collector over OTLP and gRPC a thread of its own (`export`) encodes them directly as messages (`otlp`) and sends them
(`collector`).  Any other processor or exporter gets ended spans of the SDK (`spans`); starting and ending them by the SDK would
cost about twenty times as much.

Design decisions:

- The span of a call has the id that its backend got in `traceparent`, so the callee's spans are its children.
- Sampling is decided once for each traversal, by the caller's flag and the sampler.  The flag passed to backends is the
  caller's, or set if the walk starts its trace, because the record is sampled after the calls.  A sampler by trace id decides
  the same everywhere.
- A call that the ledger denied was never sent, so it is an event of its hop and no span.
- Spans contain no text of prompts, answers or providers: neither text outputs nor error messages, in which a provider may quote
  the prompt.  An error is identified by its class and node; the message is in the trace store.
- Names are fixed in `names`, because the GenAI convention is not stable yet.
"""

from __future__ import annotations

from meshwalk.records.telemetry.metrics import MetricsExport
from meshwalk.records.telemetry.sink import Telemetry


__all__ = ["MetricsExport", "Telemetry"]
