"""
The shape of each part of a graph: its keys, what they take, and what an editor says of them.

One class a part.  The loader fits the parts one by one, so that a fault in one hides no fault in another, and cuts the
edges out of their node for the same reason; the JSON Schema is made of the same classes put together.  Only shapes stand
here: what needs two values to judge (`the last edge has no guard`) is said by `nodes` and `backends`, which know the places.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from meshwalk.loader.budget_shapes import BudgetsShape, WalkLimitsShape
from meshwalk.loader.shape import Shape
from meshwalk.loader.values import (
    Classes,
    Fraction,
    FreeText,
    Function,
    Identifier,
    Interval,
    Money,
    Name,
    Number,
    ScalarValue,
    Text,
    Time,
    TimeOrNone,
    Variable,
    Verbatim,
    Verbatims,
    Version,
    Whole,
)
from meshwalk.model import ConfidenceSource, Extractor, ValueType
from meshwalk.problems import ErrorClass


# ---- edges ----------------------------------------------------------------------------------------------------------


class EdgeShape(Shape):
    """
    An edge of `next`.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"to": "done"}

    to: Text = Field(description="The next node, or done to serve an answer.")
    when: Text | None = Field(
        None, description="A guard in CEL; the last edge has none.", examples=["output.confidence >= 0.8"]
    )
    answer: Text | None = Field(
        None, description="With `to: done`, the node whose reply is served instead of the latest answer."
    )
    id: Name | None = Field(None, description="A name for the edge in traces, digests and dashboards.")


class ErrorEdgeShape(Shape):
    """
    An edge of `on_error`.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"to": "done"}

    class_: Annotated[list[ErrorClass], Field(min_length=1), Classes] | None = Field(
        None, alias="class", description="The error classes that take this edge; without it, all."
    )
    to: Text = Field(description="The next node, or done to serve an answer.")
    answer: Text | None = Field(None, description="With `to: done`, the node whose reply is served.")
    else_: Text | None = Field(None, alias="else", description="Where to go if the node of `answer` gave no reply.")
    id: Name | None = Field(None, description="A name for the edge in traces, digests and dashboards.")


def _one_edge(value: Any) -> Any:
    return [{"to": value}] if isinstance(value, str) else value


_Next = Annotated[list[EdgeShape], BeforeValidator(_one_edge, json_schema_input_type=Text | list[EdgeShape])]
_OnError = Annotated[list[ErrorEdgeShape], BeforeValidator(_one_edge, json_schema_input_type=Text | list[ErrorEdgeShape])]


# ---- nodes ----------------------------------------------------------------------------------------------------------


class ConfidenceShape(Shape):
    """
    Where a reply's confidence comes from.
    """

    from_: ConfidenceSource = Field(alias="from", description="What the confidence is read from.")
    pattern: Text | None = Field(None, description="For `stated`: a regular expression with one group, the number.")
    missing: Fraction | None = Field(
        None, description="The confidence of a reply that has none; without it, it is undetermined."
    )


class QualifiedShape(Shape):
    """
    What makes a request qualified.
    """

    matches: Text = Field(description="A regular expression that a qualifying reply matches, ignoring case.")


class _NodeShape(Shape):
    stand_ins: ClassVar[dict[str, Any]] = {"next": "done"}

    description: FreeText | None = Field(None, description="What the node is for.")


class _HoppingShape(_NodeShape):
    visits: Annotated[int, Field(ge=1, le=1000), Whole] = Field(
        1, description="How often one walk may come here; cycles need 2 or more."
    )
    next: _Next = Field(description="The node that follows, or edges in order: the first whose guard holds is taken.")


class _AskingShape(_HoppingShape):
    prompt: Text | None = Field(
        None,
        description=(
            "What is sent instead of the caller's messages; "
            "{{ prompt }}, {{ conversation }} and {{ request.<attribute> }} are filled in."
        ),
    )
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000), Whole] | None = Field(
        None, description="The longest reply, in tokens."
    )
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = Field(
        None, description="Sampling temperature."
    )
    top_p: Fraction | None = Field(None, description="Nucleus sampling.")
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1), Whole] | None = Field(None, description="The sampling seed.")
    stop: Annotated[list[Verbatim], Field(min_length=1, max_length=16), Verbatims] | None = Field(
        None, description="Texts that end a reply."
    )
    deadline: Time | None = Field(None, description="The time for all attempts together.")
    attempt_timeout: Time | None = Field(None, description="The time for one attempt.")
    min_time: TimeOrNone = Field(0, description="A call that has less time left is not started.")
    retries: Annotated[int, Field(ge=0, le=10), Whole] = Field(
        0, description="How many further attempts a failed one may have."
    )
    confidence: ConfidenceShape | None = Field(None, description="Where the reply's confidence comes from.")
    on_error: _OnError | None = Field(None, description="Edges taken when the call failed, by error class, in order.")


class _CallingShape(_AskingShape):
    stand_ins: ClassVar[dict[str, Any]] = {"next": "done", "backend": "none"}

    backend: Text = Field(description="The backend that is called.")


class SignalShape(Shape):
    """
    A signal that a classifier gives and guards may read.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"type": "string"}

    type: ValueType = Field(description="What kind of value it is.")
    enum: Annotated[list[Text], Field(min_length=1)] | None = Field(None, description="For text: every value it may have.")
    range: Interval | None = Field(None, description="For a number: the lowest and the highest.")
    description: FreeText | None = Field(None, description="What it means.")


class ClassifierShape(_AskingShape):
    """
    A node that writes signals.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"next": "done", "use": "features"}

    role: Literal["classifier"]
    use: Literal["features", "weights", "model", "http", "python"] = Field(
        description=(
            "What gives the signals: features of the wording, trained weights, a model that answers with a label, "
            "a service, or your own function."
        )
    )
    weights: Text | None = Field(None, description="For `weights`: the file that `meshwalk train-classifier` wrote.")
    backend: Text | None = Field(None, description="For `model`: the backend that is called.")
    labels: Annotated[list[Text], Field(min_length=2, max_length=64)] | None = Field(
        None, description="For `model`: what it may answer; its reply becomes signals.label."
    )
    url: Text | None = Field(None, description="For `http`: the address that is asked; ${NAME} is read from the environment.")
    key_env: Variable | None = Field(None, description="For `http`: the environment variable that holds the key.")
    function: Function | None = Field(None, description="For `python`: your async function, as package.module:function.")
    writes: Annotated[dict[Identifier, SignalShape], Field(min_length=1)] | None = Field(
        None, description="For `http` and `python`: the signals it gives, by name."
    )


class PrescreenShape(_CallingShape):
    """
    A node whose verdict filters or qualifies a request.
    """

    stand_ins: ClassVar[dict[str, Any]] = {**_CallingShape.stand_ins, "qualified": {"matches": "none"}}

    role: Literal["prescreen"]
    qualified: QualifiedShape = Field(description="What makes a request qualified.")


class AnswerShape(_CallingShape):
    """
    A node whose reply may be served.
    """

    role: Literal["answer"]


class PrimaryShape(_CallingShape):
    """
    An answer that reports compare with.
    """

    role: Literal["primary"]


class VerifierShape(_HoppingShape):
    """
    A node that judges the replies of earlier ones.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"next": "done", "use": "agreement", "of": ["none", "none"]}

    role: Literal["verifier"]
    use: Literal["agreement"] = Field(description="How the replies are judged.")
    of: list[Text] = Field(min_length=2, max_length=64, description="The nodes whose replies are compared.")
    extract: Extractor = Field(
        "text", description="What of a reply is compared: its final number, its choice, or all of its text."
    )


class RefusalShape(_NodeShape):
    """
    A node that ends the walk with a reason.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"reason": "none"}

    role: Literal["refusal"]
    reason: Text = Field(description="What the caller is told.")


AnyNodeShape = ClassifierShape | PrescreenShape | AnswerShape | PrimaryShape | VerifierShape | RefusalShape
NODE_SHAPES: dict[str, type[AnyNodeShape]] = {
    "classifier": ClassifierShape,
    "prescreen": PrescreenShape,
    "answer": AnswerShape,
    "primary": PrimaryShape,
    "verifier": VerifierShape,
    "refusal": RefusalShape,
}


# ---- backends -------------------------------------------------------------------------------------------------------


class PriceShape(Shape):
    """
    The price of a million tokens, in USD.
    """

    input: Money = Field(description="USD for a million tokens of input.")
    output: Money = Field(description="USD for a million tokens of output.")


class _BackendShape(Shape):
    usd_per_mtok: PriceShape | None = Field(None, description="The price of a million tokens.")
    context_tokens: Annotated[int, Field(ge=1, le=1_000_000_000), Whole] | None = Field(
        None, description="The most tokens a call may have."
    )
    tokenizer: Text | None = Field(
        None, description="Its tokenizer.json; what that counts bounds the input more tightly than bytes do."
    )
    description: FreeText | None = Field(None, description="What the backend is.")


class OpenAIShape(_BackendShape):
    """
    An OpenAI-compatible chat endpoint.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"model": "none"}

    kind: Literal["openai"]
    model: Text = Field(description="The model's name at the endpoint.")
    base_url: Text | None = Field(
        None, description="Where the endpoint is, up to and with /v1; ${NAME} is read from the environment."
    )
    key_env: Variable | None = Field(None, description="The environment variable that holds the key.")


class LocalShape(_BackendShape):
    """
    A small model in this process.
    """

    kind: Literal["local"]
    model: Text | None = Field(None, description="A GGUF file; without it, the packaged SmolLM2-135M.")
    threads: Annotated[int, Field(ge=1, le=1024), Whole] | None = Field(None, description="How many threads it may use.")


class RecordedShape(_BackendShape):
    """
    Recorded answers from an outcomes file.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"model": "none"}

    kind: Literal["recorded"]
    model: Text = Field(description="The model's name in the file.")
    data: Text | None = Field(None, description="The outcomes file; without it, one is given at the command line.")


class LatencyShape(Shape):
    """
    A latency by two of its quantiles.
    """

    p50: TimeOrNone = Field(0, description="Half of the calls take at most this long.")
    p99: TimeOrNone | None = Field(None, description="99 of 100 calls take at most this long.")


class FailureShape(Shape):
    """
    How often and how a call fails.
    """

    rate: Fraction = Field(0.0, description="The share of calls that fail.")
    class_: ErrorClass = Field("overloaded", alias="class", description="The class they fail with.")


class SimulatedShape(_BackendShape):
    """
    A pretended model.
    """

    kind: Literal["simulated"]
    latency: LatencyShape | None = Field(None, description="How long calls take.")
    output_tokens: Annotated[int, Field(ge=1, le=10_000_000), Whole] = Field(32, description="How long replies are.")
    failure: FailureShape | None = Field(None, description="How often and how calls fail.")
    confidence: Fraction | None = Field(None, description="The confidence replies report.")
    seed: Annotated[int, Field(ge=0, le=2**63 - 1), Whole] = Field(0, description="Where its chance starts.")


class PythonShape(_BackendShape):
    """
    Your own async function.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"function": "none:none"}

    kind: Literal["python"]
    function: Function = Field(description="Where it is, as package.module:function.")


AnyBackendShape = OpenAIShape | LocalShape | RecordedShape | SimulatedShape | PythonShape
BACKEND_SHAPES: dict[str, type[AnyBackendShape]] = {
    "openai": OpenAIShape,
    "local": LocalShape,
    "recorded": RecordedShape,
    "simulated": SimulatedShape,
    "python": PythonShape,
}


# ---- the rest -------------------------------------------------------------------------------------------------------


class AttributeShape(Shape):
    """
    A value that callers may send and guards may read.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"type": "string"}

    type: ValueType = Field(description="What kind of value it is.")
    enum: Annotated[list[Text], Field(min_length=1)] | None = Field(None, description="For text: every value it may have.")
    range: Interval | None = Field(None, description="For a number: the lowest and the highest.")
    default: ScalarValue | None = Field(None, description="Its value where the caller sends none.")
    description: FreeText | None = Field(None, description="What it means.")


class ThresholdShape(Shape):
    """
    A named tunable number.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"value": 0}

    value: Number = Field(description="Its value.")
    range: Interval | None = Field(None, description="The lowest and the highest value that make sense.")
    description: FreeText | None = Field(None, description="What it decides.")


class RecordShape(Shape):
    """
    What of a walk's words is recorded.
    """

    content: bool = Field(False, description="Whether prompts and answers are recorded.")
    redact: list[Function] = Field([], description="Functions that redact them first, as package.module:function.")


Parameter = Literal["max_tokens", "temperature", "top_p", "seed", "stop"]


class HeaderShape(Shape):
    """
    The keys of a graph that are not sections.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"meshwalk": 1, "name": "none", "start": "none"}

    meshwalk: Version = Field(description="The version of this language.")
    name: Name = Field(description="The graph's name; callers ask for it.")
    description: FreeText | None = Field(None, description="What the graph is for.")
    version: FreeText | None = Field(None, description="Your own name for this version of the graph.")
    start: Text = Field(description="The node where every walk starts.")
    sampling: list[Parameter] | None = Field(None, description="The sampling parameters that callers may set; without it, all.")


def _threshold(value: Any) -> Any:
    return {"value": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class GraphShape(HeaderShape):
    """
    A meshwalk graph.
    """

    request: dict[Identifier, AttributeShape] | None = Field(
        None, description="Values that callers may send beside urgency and correctness."
    )
    thresholds: (
        dict[Identifier, Annotated[ThresholdShape, BeforeValidator(_threshold, json_schema_input_type=Number | ThresholdShape)]]
        | None
    ) = Field(None, description="Tunable numbers, by name.")
    limits: WalkLimitsShape | None = Field(None, description="What bounds one walk.")
    budgets: BudgetsShape | None = Field(None, description="What many walks share, by scope.")
    record: RecordShape | None = Field(None, description="What of a walk's words is recorded.")
    backends: dict[Identifier, Annotated[AnyBackendShape, Field(discriminator="kind")]] | None = Field(
        None, description="What nodes call, by name."
    )
    nodes: dict[Identifier, Annotated[AnyNodeShape, Field(discriminator="role")]] = Field(description="The steps, by name.")
