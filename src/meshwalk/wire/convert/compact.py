"""
Replies about compact traces, to the wire, written as bytes by templates.

Replies about two such walks that took the same edges differ only in ids, times, tokens, costs and texts.  So the first reply
with its key, made field by field, becomes the template of those that follow.  There is one with the hops and one without.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshwalk.records.templates import Path, Template, Text, calls_of, open_outputs, summed, unpacked
from meshwalk.trace import CompactTrace, Traversal
from meshwalk.wire.convert.hops import Prototypes
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2 as routing
from meshwalk.wire.types import Detail


def keep_template(prototypes: Prototypes, traversal: Traversal, reply: routing.RouteResponse, detail: Detail) -> None:
    """
    Keep *reply*, which was made of *traversal* in *detail* (not FULL), as the template of its key, if there is room.
    """
    key, trace = traversal.template_key, traversal.trace
    if key is None or not prototypes.has_room_for_templates:
        return
    assert isinstance(trace, CompactTrace), "only compact traces share templates"
    latency_us = f"hop{len(trace.hops) - 1}_at_us" if trace.hops else "0"
    places: dict[Path, str | Text] = {
        ("traversal_id",): Text("traversal_id", 32),
        ("trace_id",): Text("trace_id", 32),
        **dict(_totals(trace, latency_us)),
    }
    if trace.answer_hop is not None:
        places["answer", "text"] = Text("answer.encode()")
        places["answer", "finish_reason"] = Text("finish_reason.encode()")
    if detail == "HOPS":
        places |= {("traversal", *path): value for path, value in _record(traversal, trace, latency_us)}
    setup = ["traversal_id, trace_id = traversal.traversal_id.encode(), traversal.trace_id.encode()", *unpacked(trace)]
    arguments = "traversal", "trace", "answer", "finish_reason"
    prototypes.keep_template(key, detail, Template(reply, places, arguments, setup))


def _record(traversal: Traversal, trace: CompactTrace, latency_us: str) -> Iterator[tuple[Path, str | Text]]:
    yield ("traversal_id",), Text("traversal_id", 32)
    yield ("trace_id",), Text("trace_id", 32)
    yield ("span_id",), Text("traversal.span_id.encode()", 16)
    yield ("start_time", "seconds"), "traversal.began_unix_us // 1000000"
    yield ("start_time", "nanos"), "traversal.began_unix_us % 1000000 * 1000"
    if traversal.parent_span_id:
        yield ("parent_span_id",), Text("traversal.parent_span_id.encode()", 16)
    yield from _totals(trace, latency_us)
    for hop in range(len(trace.hops)):
        for path, value in _hop(trace, hop):
            yield ("hops", hop, *path), value
    if trace.refused_by:
        yield ("hops", len(trace.hops), "started_us"), latency_us


_USAGE = ("input_tokens", "output_tokens"), ("cached_input_tokens", "reasoning_tokens")


def _counted(trace: CompactTrace, hop: int) -> Iterator[str]:
    """
    Name the token counts of a call; cached and reasoning tokens only where it has some.
    """
    call = trace.hops[hop].call
    if call is not None:
        for fields in _USAGE:
            for field in fields:
                if field in _USAGE[0] or getattr(call.usage, field):
                    yield field


def _totals(trace: CompactTrace, latency_us: str) -> Iterator[tuple[Path, str | Text]]:
    calls = calls_of(trace)
    yield ("latency_us",), latency_us
    yield ("engine_us",), " - ".join([latency_us, *[f"{call}latency_us" for call in calls]])
    yield ("cost_nano_usd",), summed(calls, "cost_nano_usd")
    counted = {field for hop in range(len(trace.hops)) for field in _counted(trace, hop)}
    for field in sorted(counted):
        yield ("usage", field), summed(calls, field)


def _hop(trace: CompactTrace, hop: int) -> Iterator[tuple[Path, str | Text]]:
    compact = trace.hops[hop]
    this, call = f"hop{hop}_", f"call{hop}_"
    duration = f"{this}at_us - {this}started_us"
    if hop:
        yield ("started_us",), f"{this}started_us"
    yield ("latency_us",), duration
    yield ("engine_us",), duration if compact.call is None else f"{duration} - {call}latency_us"
    for name, value in open_outputs(trace, compact):
        output = f"{this}outputs[{name!r}]"
        if isinstance(value, str):
            yield ("outputs", name, "string_value"), Text(f"{output}.encode()")
        else:
            yield ("outputs", name, "bool_value" if isinstance(value, bool) else "double_value"), output
    if compact.call is None:
        return
    yield ("cost_nano_usd",), f"{call}cost_nano_usd"
    for field in _counted(trace, hop):
        yield ("usage", field), f"{call}{field}"
    yield ("worst_case", "input_tokens"), f"{call}input_bound"
    if compact.call.cost_bound is not None:
        yield ("reserved_nano_usd",), f"{call}cost_bound"
        yield ("worst_case", "cost_nano_usd"), f"{call}cost_bound"
    if compact.call.output_bound is not None:
        yield ("worst_case", "output_tokens"), f"{call}output_bound"
    if any(compact.call.timing):
        for field in ("queue_us", "connect_us", "first_byte_us"):
            yield (field,), f"{call}{field}"


def write_compact(
    traversal: Traversal, answer: str, finish_reason: str, prototypes: Prototypes, detail: Detail
) -> bytes | None:
    """
    Write the reply to a request in *detail* (not FULL).

    None if there is no template of its key: then `pack_reply` makes it, and keeps one.
    """
    template = prototypes.template(traversal.template_key, detail)
    if template is None:
        return None
    try:
        return template.write(traversal, traversal.trace, answer, finish_reason)
    except (OverflowError, UnicodeEncodeError):
        return None
