"""
The small words that every message shares: values, enums, tokens, limits, scopes, plans.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Generic, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.internal.containers import MessageMap
from google.protobuf.timestamp_pb2 import Timestamp

from meshwalk.budgets import Need
from meshwalk.model import Amount, Caps, Limits, Role, Sampling, Value
from meshwalk.model.problems import MeshwalkError, RequestError, Violation
from meshwalk.model.signals import Section
from meshwalk.plan import Plan
from meshwalk.records.results import PlanRef
from meshwalk.trace import Basis, Message, Outcome, Scopes, ToolCall, Traversal, Usage
from meshwalk.wire.gen.meshwalk.v1beta1 import common_pb2 as common
from meshwalk.wire.gen.meshwalk.v1beta1 import routing_pb2 as routing
from meshwalk.wire.types import Detail


_Word = TypeVar("_Word")
_Number = TypeVar("_Number", bound=int)

# What google.protobuf.Duration may hold: about ten thousand years.
_LONGEST_SECONDS = 315_576_000_000


class Words(Generic[_Word, _Number]):
    """
    Pair the words of the house with an enum's numbers.
    """

    def __init__(self, name: str, numbers: Mapping[_Word, _Number]) -> None:
        self._name = name
        self.number = dict(numbers)
        self._word = {number: word for word, number in numbers.items()}

    def word(self, number: int) -> _Word:
        """
        Return the word for *number*.

        Raises:
            MeshwalkError: If there is none, as from a peer of a later version.
        """
        try:
            return self._word[number]  # type: ignore[index]
        except KeyError:
            raise MeshwalkError(
                f"this meshwalk knows no {self._name} {number}; the other side may be a later version"
            ) from None


OUTCOMES: Words[Outcome, common.Outcome.ValueType] = Words(
    "Outcome",
    {
        Outcome.ANSWERED: common.OUTCOME_ANSWERED,
        Outcome.REFUSED: common.OUTCOME_REFUSED,
        Outcome.FAILED: common.OUTCOME_FAILED,
        Outcome.CANCELLED: common.OUTCOME_CANCELLED,
    },
)

ROLES: Words[Role, common.Role.ValueType] = Words(
    "Role",
    {
        "classifier": common.ROLE_CLASSIFIER,
        "prescreen": common.ROLE_PRESCREEN,
        "answer": common.ROLE_ANSWER,
        "primary": common.ROLE_PRIMARY,
        "verifier": common.ROLE_VERIFIER,
        "refusal": common.ROLE_REFUSAL,
    },
)

BASES: Words[Basis, common.CostBasis.ValueType] = Words(
    "CostBasis",
    {
        "none": common.COST_BASIS_NONE,
        "reported": common.COST_BASIS_REPORTED,
        "estimated": common.COST_BASIS_ESTIMATED,
        "assumed": common.COST_BASIS_ASSUMED,
        "unpriced": common.COST_BASIS_UNPRICED,
    },
)

# The verdicts in the words of `hops`.
VERDICTS: Words[str, common.Verdict.ValueType] = Words(
    "Verdict",
    {
        "held": common.VERDICT_HELD,
        "not held": common.VERDICT_NOT_HELD,
        "undetermined": common.VERDICT_UNDETERMINED,
        "visits spent": common.VERDICT_VISITS_SPENT,
        "another class": common.VERDICT_ANOTHER_CLASS,
        "not looked at": common.VERDICT_NOT_LOOKED_AT,
    },
)

SECTIONS: Words[Section, common.Section.ValueType] = Words(
    "Section", {"next": common.SECTION_NEXT, "on_error": common.SECTION_ON_ERROR}
)

DETAILS: Words[Detail, routing.Detail.ValueType] = Words(
    "Detail",
    {"NONE": routing.DETAIL_NONE, "HOPS": routing.DETAIL_HOPS, "FULL": routing.DETAIL_FULL},
)


def pack_value(value: Value) -> common.Value:
    """
    Make a message of *value*.
    """
    if isinstance(value, str):
        return common.Value(string=value)
    if isinstance(value, bool):
        return common.Value(bool=value)

    return common.Value(double=value)


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
    Make *messages* say what *values* do.
    """
    for name, value in values.items():
        if isinstance(value, str):
            messages[name].string = value
        elif isinstance(value, bool):
            messages[name].bool = value
        else:
            messages[name].double = value


def unpack_values(messages: Mapping[str, common.Value]) -> dict[str, Value]:
    """
    Read named values, in order of their names: a map of the wire has none.

    One without a kind, which only a request can have, is left out.
    """
    return {name: value for name, message in sorted(messages.items()) if (value := unpack_value(message)) is not None}


def pack_usage(usage: Usage) -> common.Usage:
    """
    Make a message of counted tokens.
    """
    return common.Usage(**usage._asdict())


def fill_usage(message: common.Usage, usage: tuple[int, int, int, int]) -> None:
    """
    Make *message* count the tokens of *usage*.
    """
    message.input_tokens, message.output_tokens, message.cached_input_tokens, message.reasoning_tokens = usage


def unpack_usage(message: common.Usage) -> Usage:
    """
    Read counted tokens.
    """
    return Usage(message.input_tokens, message.output_tokens, message.cached_input_tokens, message.reasoning_tokens)


def pack_amount(amount: Amount) -> common.Amount:
    """
    Make a message of counted use.
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


def pack_need(need: Need) -> common.Need:
    """
    Make a message of a worst case.
    """
    message = common.Need()
    fill_need(message, need)

    return message


def fill_need(message: common.Need, need: Need) -> None:
    """
    Make *message* say what *need* does.
    """
    cost_nano_usd, input_tokens, output_tokens, calls, hops = need
    message.input_tokens, message.calls, message.hops = input_tokens or 0, calls or 0, hops or 0
    if cost_nano_usd is not None:
        message.cost_nano_usd = cost_nano_usd
    if output_tokens is not None:
        message.output_tokens = output_tokens


def unpack_need(message: common.Need) -> Need:
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
    Make a message that names *plan*.
    """
    return common.PlanRef(
        graph=plan.name, version=plan.graph.version, shape_digest=plan.shape_digest, plan_digest=plan.plan_digest
    )


def pack_plan_of(traversal: Traversal) -> common.PlanRef:
    """
    Make a message that names the plan that *traversal* walked.
    """
    return common.PlanRef(
        graph=traversal.graph,
        version=traversal.version,
        shape_digest=traversal.shape_digest,
        plan_digest=traversal.plan_digest,
    )


def pack_plan_ref(plan: PlanRef) -> common.PlanRef:
    """
    Make a message of a plan's names.
    """
    return common.PlanRef(**plan._asdict())


def unpack_plan(message: common.PlanRef) -> PlanRef:
    """
    Read which plan decided.
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
        )
        for message in messages
    ]


def unpack_messages(messages: Iterable[common.Message]) -> tuple[Message, ...]:
    """
    Read a chat.
    """
    return tuple(
        [
            Message(message.role, message.content, message.name, unpack_tool_calls(message.tool_calls), message.tool_call_id)
            for message in messages
        ]
    )


def pack_tool_calls(calls: Iterable[ToolCall]) -> list[common.ToolCall]:
    """
    Make messages of wishes to call tools.
    """
    return [common.ToolCall(**call._asdict()) for call in calls]


def unpack_tool_calls(messages: Collection[common.ToolCall]) -> tuple[ToolCall, ...]:
    """
    Read wishes to call tools.
    """
    # Few messages wish for any, and asking is cheaper than making an empty list.
    return tuple([ToolCall(message.id, message.name, message.arguments) for message in messages]) if messages else ()


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


def pack_params(sampling: Sampling) -> common.Params:
    """
    Make a message of *sampling*.
    """
    return common.Params(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop=sampling.stop or (),
    )


def unpack_params(message: common.Params) -> Sampling:
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
    message = common.Limits(
        hops=limits.hops,
        cost_nano_usd=limits.cost_nano_usd,
        input_bytes=limits.input_bytes,
        output_tokens=limits.output_tokens,
        input_tokens=limits.input_tokens,
        calls=limits.calls,
    )
    if limits.deadline_us is not None:
        message.deadline.FromMicroseconds(limits.deadline_us)

    return message


def unpack_limits(message: common.Limits) -> Limits:
    """
    Read limits.

    Raises:
        RequestError: If the deadline is not a duration.
    """
    return Limits(
        hops=message.hops if message.HasField("hops") else None,
        deadline_us=unpack_duration("limits.deadline", message.deadline) if message.HasField("deadline") else None,
        cost_nano_usd=message.cost_nano_usd if message.HasField("cost_nano_usd") else None,
        input_bytes=message.input_bytes if message.HasField("input_bytes") else None,
        output_tokens=message.output_tokens if message.HasField("output_tokens") else None,
        input_tokens=message.input_tokens if message.HasField("input_tokens") else None,
        calls=message.calls if message.HasField("calls") else None,
    )


def unpack_duration(field: str, message: Duration) -> int:
    """
    Read a duration, in microseconds.

    Raises:
        RequestError: If it is none; *field* is named.
    """
    seconds, nanos = message.seconds, message.nanos
    if abs(seconds) > _LONGEST_SECONDS or abs(nanos) > 999_999_999 or seconds * nanos < 0:
        raise RequestError([Violation(field, "is no google.protobuf.Duration: its seconds or nanos are out of range")])

    return seconds * 1_000_000 + nanos // 1_000


def pack_time(unix_us: int) -> Timestamp:
    """
    Make a message of a wall-clock time.
    """
    return Timestamp(seconds=unix_us // 1_000_000, nanos=unix_us % 1_000_000 * 1_000)


def fill_time(message: Timestamp, unix_us: int) -> None:
    """
    Make *message* say a wall-clock time.
    """
    message.seconds, message.nanos = unix_us // 1_000_000, unix_us % 1_000_000 * 1_000


def unpack_time(message: Timestamp) -> int:
    """
    Read a wall-clock time.
    """
    return message.seconds * 1_000_000 + message.nanos // 1_000
