"""
Traversals become OpenTelemetry spans: a sink.

Each traversal is one tree: `meshwalk.route` for the walk, under it `meshwalk.hop` for each hop, under that a CLIENT span
for each call.  Refused, failed and cancelled walks have theirs too.  The trees are built from the finished record.  For a
collector over OTLP and gRPC that is done in a thread of its own (`export`), straight into the messages it is sent (`otlp`); any
other processor or exporter is handed the SDK's ended spans (`spans`), whose own start and end would cost about twenty times
as much.

What decided this room:

- A call's span has the very id that its backend was told in `traceparent`, so that the callee's spans hang under it.
- Sampling is decided once a traversal, by the caller's flag and the sampler.  The flag passed on to backends is the caller's,
  or set where the walk starts its trace: the record is sampled after the calls were made.  A sampler that goes by the trace
  id decides alike everywhere.
- A call that the ledger denied was never sent, so it is an event of its hop and no span.
- No words of prompts, answers or providers come in: not the text outputs, and not the messages of errors, in which a
  provider may quote the prompt.  An error is told by its class and its node; the sentence stands in the trace store.
- Names are pinned in `names`, because the GenAI convention still moves.
"""

from __future__ import annotations

from meshwalk.records.telemetry.sink import Telemetry


__all__ = ["Telemetry"]
