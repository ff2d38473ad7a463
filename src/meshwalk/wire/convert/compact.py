"""
Replies about walks that went straight, to the wire: what most callers are told, written quickly.

Two such walks that were left by the same edges differ in little but times, tokens and costs.  So the first reply of its kind,
made as any other is, becomes the template of those that follow, and they are written as bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshwalk.records.templates import Path, Template, Text, calls_of, open_outputs, summed, unpacked
from meshwalk.trace import CompactTrace, Traversal
from meshwalk.wire.convert.hops import Prototypes
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2 as routing


def keep_template(prototypes: Prototypes, traversal: Traversal, reply: routing.RouteResponse) -> None:
    """
    Keep *reply*, which tells of *traversal* and its hops, as the template of its kind, if there is room.
    """
    key, trace = traversal.template_key, traversal.trace
    if key is None or not prototypes.has_room_for_templates:
        return
    assert isinstance(trace, CompactTrace), "only compact traces share templates"
    latency_us = f"hop{len(trace.hops) - 1}_at_us" if trace.hops else "0"
    places: dict[Path, str | Text] = {
        ("traversal_id",): Text("traversal_id", 32),
        ("trace_id",): Text("trace_id", 32),
        ("traversal", "traversal_id"): Text("traversal_id", 32),
        ("traversal", "trace_id"): Text("trace_id", 32),
        ("traversal", "span_id"): Text("traversal.span_id.encode()", 16),
        ("traversal", "start_time", "seconds"): "traversal.began_unix_us // 1000000",
        ("traversal", "start_time", "nanos"): "traversal.began_unix_us % 1000000 * 1000",
    }
    if traversal.parent_span_id:
        places["traversal", "parent_span_id"] = Text("traversal.parent_span_id.encode()", 16)
    if trace.answer_hop is not None:
        places["answer", "text"] = Text("answer.encode()")
        places["answer", "finish_reason"] = Text("finish_reason.encode()")
    for told in ((), ("traversal",)):
        for place, said in _totals(trace, latency_us):
            places[*told, *place] = said
    for hop in range(len(trace.hops)):
        for place, said in _hop(trace, hop):
            places["traversal", "hops", hop, *place] = said
    if trace.refused_by:
        places["traversal", "hops", len(trace.hops), "started_us"] = latency_us
    setup = ["traversal_id, trace_id = traversal.traversal_id.encode(), traversal.trace_id.encode()", *unpacked(trace)]
    arguments = "traversal", "trace", "answer", "finish_reason"
    prototypes.keep_template(key, Template(reply, places, arguments, setup))


_USAGE = ("input_tokens", "output_tokens"), ("cached_input_tokens", "reasoning_tokens")


def _counted(trace: CompactTrace, hop: int) -> Iterator[str]:
    """
    Name the tokens that a call counted; those that most have none of only where it has some.
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
    line = trace.hops[hop]
    own, call = f"hop{hop}_", f"call{hop}_"
    lasted = f"{own}at_us - {own}started_us"
    if hop:
        yield ("started_us",), f"{own}started_us"
    yield ("latency_us",), lasted
    yield ("engine_us",), lasted if line.call is None else f"{lasted} - {call}latency_us"
    for name, value in open_outputs(trace, line):
        said = f"{own}outputs[{name!r}]"
        if isinstance(value, str):
            yield ("outputs", name, "string_value"), Text(f"{said}.encode()")
        else:
            yield ("outputs", name, "bool_value" if isinstance(value, bool) else "double_value"), said
    if line.call is None:
        return
    yield ("cost_nano_usd",), f"{call}cost_nano_usd"
    for field in _counted(trace, hop):
        yield ("usage", field), f"{call}{field}"
    yield ("worst_case", "input_tokens"), f"{call}input_bound"
    if line.call.cost_bound is not None:
        yield ("reserved_nano_usd",), f"{call}cost_bound"
        yield ("worst_case", "cost_nano_usd"), f"{call}cost_bound"
    if line.call.output_bound is not None:
        yield ("worst_case", "output_tokens"), f"{call}output_bound"
    if any(line.call.timing):
        for field in ("queue_us", "connect_us", "first_byte_us"):
            yield (field,), f"{call}{field}"


def write_compact(traversal: Traversal, answer: str, finish_reason: str, prototypes: Prototypes) -> bytes | None:
    """
    Write the reply to a request whose walk went straight, with its hops.

    None if there is no template of its kind: then `pack_reply` makes it, and keeps one.
    """
    template = prototypes.template(traversal.template_key)
    if template is None:
        return None
    try:
        return template.write(traversal, traversal.trace, answer, finish_reason)
    except (OverflowError, UnicodeEncodeError):
        return None
