"""
The small types that every message shares: values, tokens, limits, scopes, plans.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from google.protobuf.internal.containers import MessageMap
from google.protobuf.timestamp_pb2 import Timestamp

from meshwalk.budgets import Need
from meshwalk.model import Amount, Caps, Limits, Sampling, Value
from meshwalk.plan import Plan
from meshwalk.records.results import PlanRef
from meshwalk.trace import Image, Message, Scopes, ToolCall, Traversal, Usage
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2 as common


def pack_value(value: Value) -> common.Value:
    """
    Make a message of *value*.
    """
    if isinstance(value, str):
        return common.Value(string_value=value)
    if isinstance(value, bool):
        return common.Value(bool_value=value)

    return common.Value(double_value=value)


def unpack_value(message: common.Value) -> Value | None:
    """
    Read a value; None if it has none.
    """
    kind = message.WhichOneof("kind")

    return None if kind is None else getattr(message, kind)


def pack_values(values: Mapping[str, Value]) -> dict[str, common.Value]:
    """
    Make messages of named values.
    """
    return {name: pack_value(value) for name, value in values.items()}


def fill_values(messages: MessageMap[str, common.Value], values: Mapping[str, Value]) -> None:
    """
    Set *messages* to *values*.
    """
    for name, value in values.items():
        if isinstance(value, str):
            messages[name].string_value = value
        elif isinstance(value, bool):
            messages[name].bool_value = value
        else:
            messages[name].double_value = value


def unpack_values(messages: Mapping[str, common.Value]) -> dict[str, Value]:
    """
    Read named values, in order of their names: a map of the wire has none.

    A value without a kind, which only a request can have, is left out.
    """
    return {name: value for name, message in sorted(messages.items()) if (value := unpack_value(message)) is not None}


def pack_usage(usage: Usage) -> common.Usage:
    """
    Make a message of counted tokens.
    """
    message = common.Usage()
    fill_usage(message, usage)

    return message


def fill_usage(message: common.Usage, usage: tuple[int, int, int, int, int]) -> None:
    """
    Set *message* to *usage*.
    """
    message.input_tokens, message.output_tokens, message.cached_input_tokens, message.reasoning_tokens, stored = usage
    if stored:
        message.cache_write_tokens = stored


def unpack_usage(message: common.Usage) -> Usage:
    """
    Read counted tokens.
    """
    return Usage(
        message.input_tokens,
        message.output_tokens,
        message.cached_input_tokens,
        message.reasoning_tokens,
        message.cache_write_tokens,
    )


def pack_amount(amount: Amount) -> common.Amount:
    """
    Make a message of *amount*.
    """
    return common.Amount(**amount._asdict())


def unpack_amount(message: common.Amount) -> Amount:
    """
    Read counted use.
    """
    return Amount(message.cost_nano_usd, message.input_tokens, message.output_tokens, message.calls, message.hops)


def pack_caps(caps: Caps) -> common.Caps:
    """
    Make a message of *caps*.
    """
    return common.Caps(**caps._asdict())


def unpack_caps(message: common.Caps) -> Caps:
    """
    Read caps.
    """
    return Caps(
        message.cost_nano_usd if message.HasField("cost_nano_usd") else None,
        message.input_tokens if message.HasField("input_tokens") else None,
        message.output_tokens if message.HasField("output_tokens") else None,
        message.calls if message.HasField("calls") else None,
        message.hops if message.HasField("hops") else None,
    )


def pack_worst_case(need: Need) -> common.WorstCase:
    """
    Make a message of a worst case.
    """
    message = common.WorstCase()
    fill_worst_case(message, need)

    return message


def fill_worst_case(message: common.WorstCase, need: Need) -> None:
    """
    Set *message* to *need*.
    """
    cost_nano_usd, input_tokens, output_tokens, calls, hops = need
    message.input_tokens, message.calls, message.hops = input_tokens or 0, calls or 0, hops or 0
    if cost_nano_usd is not None:
        message.cost_nano_usd = cost_nano_usd
    if output_tokens is not None:
        message.output_tokens = output_tokens


def unpack_worst_case(message: common.WorstCase) -> Need:
    """
    Read a worst case.
    """
    return Need(
        message.cost_nano_usd if message.HasField("cost_nano_usd") else None,
        message.input_tokens,
        message.output_tokens if message.HasField("output_tokens") else None,
        message.calls,
        message.hops,
    )


def pack_plan(plan: Plan) -> common.PlanRef:
    """
    Make a reference to *plan*.
    """
    return common.PlanRef(
        graph=plan.name, version=plan.graph.version, shape_digest=plan.shape_digest, plan_digest=plan.plan_digest
    )


def pack_plan_of(traversal: Traversal) -> common.PlanRef:
    """
    Make a reference to the plan that *traversal* walked.
    """
    return common.PlanRef(
        graph=traversal.graph,
        version=traversal.version,
        shape_digest=traversal.shape_digest,
        plan_digest=traversal.plan_digest,
    )


def pack_plan_ref(plan: PlanRef) -> common.PlanRef:
    """
    Make a message of *plan*.
    """
    return common.PlanRef(**plan._asdict())


def unpack_plan(message: common.PlanRef) -> PlanRef:
    """
    Read the plan that decided.
    """
    return PlanRef(message.graph, message.version, message.shape_digest, message.plan_digest)


def pack_messages(messages: Iterable[Message]) -> list[common.Message]:
    """
    Make messages of a chat.
    """
    return [
        common.Message(
            role=message.role,
            content=message.content,
            name=message.name,
            tool_calls=pack_tool_calls(message.tool_calls),
            tool_call_id=message.tool_call_id,
            carried=message.carried,
            parts=map(_pack_part, message.parts),
        )
        for message in messages
    ]


def unpack_messages(messages: Iterable[common.Message]) -> tuple[Message, ...]:
    """
    Read a chat.
    """
    return tuple(
        [
            Message(
                message.role,
                message.content,
                message.name,
                unpack_tool_calls(message.tool_calls),
                message.tool_call_id,
                message.carried,
                tuple(map(_unpack_part, message.parts)) if message.parts else (),
            )
            for message in messages
        ]
    )


def _pack_part(part: str | Image) -> common.ContentPart:
    if isinstance(part, str):
        return common.ContentPart(text=part)

    return common.ContentPart(image=common.Image(url=part.url, detail=part.detail))


def _unpack_part(message: common.ContentPart) -> str | Image:
    return Image(message.image.url, message.image.detail) if message.HasField("image") else message.text


def pack_tool_calls(calls: Iterable[ToolCall]) -> list[common.ToolCall]:
    """
    Make messages of tool calls.
    """
    return [common.ToolCall(**call._asdict()) for call in calls]


def unpack_tool_calls(messages: Collection[common.ToolCall]) -> tuple[ToolCall, ...]:
    """
    Read tool calls.
    """
    # Few messages have any, and the test is cheaper than an empty list.
    return (
        tuple([ToolCall(message.id, message.name, message.arguments, message.carried) for message in messages])
        if messages
        else ()
    )


def pack_scopes(scopes: Scopes) -> common.Scopes:
    """
    Make a message of *scopes*.
    """
    return common.Scopes(session=scopes.session, workflow=scopes.workflow)


def unpack_scopes(message: common.Scopes) -> Scopes:
    """
    Read scopes.
    """
    return Scopes(message.session, message.workflow)


def pack_sampling(sampling: Sampling) -> common.Sampling:
    """
    Make a message of *sampling*.
    """
    return common.Sampling(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop=sampling.stop or (),
    )


def unpack_sampling(message: common.Sampling) -> Sampling:
    """
    Read sampling parameters.
    """
    return Sampling(
        max_tokens=message.max_tokens if message.HasField("max_tokens") else None,
        temperature=message.temperature if message.HasField("temperature") else None,
        top_p=message.top_p if message.HasField("top_p") else None,
        seed=message.seed if message.HasField("seed") else None,
        stop=tuple(message.stop) or None,
    )


def pack_limits(limits: Limits) -> common.Limits:
    """
    Make a message of *limits*.
    """
    return common.Limits(
        hops=limits.hops,
        deadline_us=limits.deadline_us,
        cost_nano_usd=limits.cost_nano_usd,
        input_bytes=limits.input_bytes,
        output_tokens=limits.output_tokens,
        input_tokens=limits.input_tokens,
        calls=limits.calls,
    )


def unpack_limits(message: common.Limits) -> Limits:
    """
    Read limits.
    """
    return Limits(
        hops=message.hops if message.HasField("hops") else None,
        deadline_us=message.deadline_us if message.HasField("deadline_us") else None,
        cost_nano_usd=message.cost_nano_usd if message.HasField("cost_nano_usd") else None,
        input_bytes=message.input_bytes if message.HasField("input_bytes") else None,
        output_tokens=message.output_tokens if message.HasField("output_tokens") else None,
        input_tokens=message.input_tokens if message.HasField("input_tokens") else None,
        calls=message.calls if message.HasField("calls") else None,
    )


def pack_time(unix_us: int) -> Timestamp:
    """
    Make a message of a wall-clock time.
    """
    return Timestamp(seconds=unix_us // 1_000_000, nanos=unix_us % 1_000_000 * 1_000)


def fill_time(message: Timestamp, unix_us: int) -> None:
    """
    Set *message* to a wall-clock time.
    """
    message.seconds, message.nanos = unix_us // 1_000_000, unix_us % 1_000_000 * 1_000


def unpack_time(message: Timestamp) -> int:
    """
    Read a wall-clock time.
    """
    return message.seconds * 1_000_000 + message.nanos // 1_000
