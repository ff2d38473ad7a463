"""
The shape of each part of a file of cases; editors show the descriptions.
"""

from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from meshwalk.loader.casebook import CaseOutcome, Cause, RefusingScope, ScriptedError
from meshwalk.loader.messages.faults import worded
from meshwalk.loader.schema.budgets import LimitsShape
from meshwalk.loader.schema.shape import Shape
from meshwalk.loader.schema.values import (
    Fraction,
    Identifier,
    Money,
    Pattern,
    ScalarValue,
    SharedMoney,
    Text,
    TimeOrNone,
    Verbatims,
    Whole,
    fault,
)


def _any_text(value: Any) -> str:
    if not isinstance(value, str):
        raise fault("wrong-type", f"is {worded(value)}, and takes text", "put it in quotes")

    return value


# An empty prompt is a case worth having.
AnyText = Annotated[str, PlainValidator(_any_text), WithJsonSchema({"type": "string"})]


class MessageShape(Shape):
    """
    One chat message.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"role": "user", "content": ""}

    role: Text = Field(description="Who says it.", examples=["user", "system", "assistant"])
    content: AnyText = Field(description="What is said.")
    name: Text | None = Field(None, description="The speaker's name.")


class UsageShape(Shape):
    """
    The tokens of one call.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"input": 0, "output": 0}

    input: Annotated[int, Field(ge=0, le=1_000_000_000), Whole] = Field(description="Tokens of input.")
    output: Annotated[int, Field(ge=0, le=1_000_000_000), Whole] = Field(description="Tokens of output.")
    cached_input: Annotated[int, Field(ge=0, le=1_000_000_000), Whole] = Field(
        0, description="Those of the input that the provider had in a cache."
    )
    reasoning: Annotated[int, Field(ge=0, le=1_000_000_000), Whole] = Field(
        0, description="Those of the output that the caller does not see."
    )


class ReplyShape(Shape):
    """
    The reply of a call.
    """

    text: AnyText = Field("", description="What the model says.")
    confidence: Fraction | None = Field(
        None, description="What the node reads as its confidence; without it, the reply has none."
    )
    samples: Annotated[list[AnyText], Field(min_length=2, max_length=32)] | None = Field(
        None, description="What it says each time, where the node asks for several answers; in place of `text`."
    )
    finish_reason: Text = Field("stop", description="Why the reply ends.", examples=["stop", "length"])
    usage: UsageShape | None = Field(None, description="The tokens counted; without it, they are estimated.")
    cost_usd: Money | None = Field(None, description="What the call costs; without it, the declared price says so.")
    latency: TimeOrNone = Field(0, description="How long the call is pretended to take.")


class FailedReplyShape(Shape):
    """
    The failure of a call.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"error": "overloaded"}

    error: ScriptedError = Field(description="The class it fails with.")
    latency: TimeOrNone = Field(0, description="How long the call is pretended to take.")


_OneReply = Text | ReplyShape | FailedReplyShape


# As much as a cap can be.
_Count = Annotated[int, Field(ge=0, le=10**15), Whole]


class AmountShape(Shape):
    """
    The amount that others have spent of one scope.
    """

    cost_usd: SharedMoney = Field(0, description="What it cost, in USD.")
    input_tokens: _Count = Field(0, description="The tokens sent.")
    output_tokens: _Count = Field(0, description="The tokens sent back.")
    calls: _Count = Field(0, description="The model calls made.")
    hops: _Count = Field(0, description="The nodes visited.")


class SpentShape(Shape):
    """
    The amounts that others have spent before this request, by scope.
    """

    session: AmountShape | None = Field(None, description="What its session has spent.")
    workflow: AmountShape | None = Field(None, description="What its workflow has spent.")
    tenant: AmountShape | None = Field(None, description="What its tenant has spent.")


class GivenShape(Shape):
    """
    The request, and what the models reply to it.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"messages": "none"}

    messages: AnyText | Annotated[list[MessageShape], Field(min_length=1)] = Field(
        description="The prompt, or a list of messages."
    )
    attributes: dict[Identifier, ScalarValue] | None = Field(None, description="What the caller sends beside the messages.")
    limits: LimitsShape | None = Field(None, description="What the caller limits this walk to.")
    session: Text | None = Field(None, description="The session it names; `spent` names one by itself.")
    workflow: Text | None = Field(None, description="The workflow it names; `spent` names one by itself.")
    spent: SpentShape | None = Field(None, description="What was spent before, by scope.")
    signals: dict[Identifier, ScalarValue] | None = Field(
        None, description="What classifiers say; of features, what is left out is computed from the messages."
    )
    replies: dict[Identifier, _OneReply | Annotated[list[_OneReply], Field(min_length=1)]] | None = Field(
        None, description="By node: one reply (or its text) for all of its calls, or a list with one for each call in turn."
    )


class AnswerTextShape(Shape):
    """
    The text of an answer.
    """

    contains: Text | None = Field(None, description="A text that the answer holds, in the same case.")
    matches: Pattern | None = Field(None, description="A regular expression that matches somewhere in the answer.")


class ExpectShape(Shape):
    """
    The expected result.
    """

    path: Annotated[list[Text], Field(min_length=1)] | None = Field(
        None, description="The nodes visited, in order; a last `done` says that an answer is served."
    )
    takes: Annotated[list[Text], Field(min_length=1), Verbatims] | None = Field(
        None,
        description="Edges that are taken: by ends, by position, or by id.",
        examples=["screen -> done", "edge 2 of screen", "error edge 1 of primary"],
    )
    outcome: CaseOutcome | None = Field(None, description="How the walk ends; `rejected` is a request that begins none.")
    served: Text | None = Field(None, description="The node whose reply is served.")
    answer: AnswerTextShape | None = Field(None, description="What the answer's text holds.")
    reason: Text | None = Field(None, description="What the reason for giving no answer holds.")
    cause: Cause | None = Field(None, description="What the walk failed of.")
    scope: RefusingScope | None = Field(None, description="The scope that refused a call.")
    max_cost_usd: Money | None = Field(None, alias="cost_usd_at_most", description="The most that all calls may cost, in USD.")


class CaseShape(Shape):
    """
    One request and what must come of it.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"name": "none", "given": {"messages": "none"}, "expect": {}}

    name: Text = Field(description="What the case shows, in words.")
    given: GivenShape = Field(description="The request, and what the models reply to it.")
    expect: ExpectShape = Field(description="The expected result.")


class CasesShape(Shape):
    """
    The cases of a meshwalk graph; the file stands beside it as <graph>.cases.yaml.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"cases": [CaseShape.stand_ins]}

    cases: Annotated[list[CaseShape], Field(min_length=1)] = Field(description="The cases, in any order.")
