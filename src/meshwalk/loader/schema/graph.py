"""
The shape of each part of a graph: its keys, their types, and their descriptions in an editor.

One class a part.  The loader fits the parts one by one, so that a fault in one hides no fault in another, and cuts the
edges out of their node for the same reason; the JSON Schema is made of the same classes put together.  A check of two values
(`the last edge has no guard`) stands in `build`, which knows the places.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from meshwalk.loader.schema.backends import AnyBackendShape
from meshwalk.loader.schema.budgets import BudgetsShape, WalkLimitsShape
from meshwalk.loader.schema.edges import Next, OnError
from meshwalk.loader.schema.prices import PricesOrFile
from meshwalk.loader.schema.shape import Shape
from meshwalk.loader.schema.traffic import BackoffShape
from meshwalk.loader.schema.values import (
    Fraction,
    FreeText,
    Function,
    Identifier,
    Interval,
    Name,
    Number,
    ScalarValue,
    StreamMode,
    Text,
    Time,
    TimeOrNone,
    Variable,
    Verbatim,
    Verbatims,
    Version,
    Whole,
)
from meshwalk.model import ConfidenceSource, Extractor, ScoreSource, ValueType


# ---- nodes ----------------------------------------------------------------------------------------------------------


class ConfidenceShape(Shape):
    """
    The source of a reply's confidence.
    """

    from_: ConfidenceSource = Field(alias="from", description="What the confidence is read from.")
    pattern: Text | None = Field(None, description="For `stated`: a regular expression with one group, the number.")
    missing: Fraction | None = Field(
        None, description="The confidence of a reply that has none; without it, it is undetermined."
    )
    samples: Annotated[int, Field(ge=2, le=32), Whole] | None = Field(
        None, description="For `agreement`: how many answers one call asks for."
    )
    extract: Extractor | None = Field(
        None, description="For `agreement`: what of an answer is compared: its final number, its choice, or all of its text."
    )


class ScoreShape(Shape):
    """
    The source of a verifier's score.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"from": "recorded"}

    from_: ScoreSource = Field(alias="from", description="What the score is read from.")
    pattern: Text | None = Field(None, description="For `stated`: a regular expression with one group, the number.")
    missing: Fraction | None = Field(None, description="The score of a reply that has none; without it, it is undetermined.")


class QualifiedShape(Shape):
    """
    The condition that qualifies a request.
    """

    matches: Text = Field(description="A regular expression that a qualifying reply matches, ignoring case.")


class _NodeShape(Shape):
    stand_ins: ClassVar[dict[str, Any]] = {"next": "done"}

    description: FreeText | None = Field(None, description="What the node is for.")


class _HoppingShape(_NodeShape):
    visits: Annotated[int, Field(ge=1, le=1000), Whole] = Field(
        1, description="How often one walk may come here; cycles need 2 or more."
    )
    next: Next = Field(description="The node that follows, or edges in order: the first whose guard holds is taken.")


class _AskingShape(_HoppingShape):
    system: Text | None = Field(
        None, description="A system message, sent before the caller's messages or the prompt as it stands here."
    )
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
    min_time: TimeOrNone = Field(
        0,
        description="A call that has less time left is not started.  If unsaid, calls over a network learn it: three of four "
        "recent ones took longer.",
    )
    retries: Annotated[int, Field(ge=0, le=10), Whole] = Field(
        0, description="How many further attempts a failed one may have."
    )
    backoff: BackoffShape | None = Field(None, description="How long a further attempt waits, at most.")
    hedge: Time | None = Field(
        None, description="After how long without a reply a second call is made beside the first; without it, never."
    )
    on_error: OnError | None = Field(None, description="Edges taken when the call failed, by error class, in order.")


class _BackedShape(_AskingShape):
    stand_ins: ClassVar[dict[str, Any]] = {"next": "done", "backend": "none"}

    backend: Text = Field(description="The backend that is called.")


class _CallingShape(_BackedShape):
    confidence: ConfidenceShape | None = Field(None, description="Where the reply's confidence comes from.")


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
    confidence: ConfidenceShape | None = Field(None, description="For `model`: where the confidence of a label comes from.")
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
    qualified: QualifiedShape = Field(description="The condition that qualifies a request.")


class _ServingShape(_CallingShape):
    first_token: Time | None = Field(
        None, description="The longest wait for the first token of a streamed reply, thoughts included."
    )
    between_tokens: Time | None = Field(None, description="The longest wait between two tokens of a streamed reply.")
    stream: StreamMode = Field(
        None,
        description=(
            "When a reply is passed on: hold (whole, once it is judged), live (as it comes, and nobody else is asked), "
            "or {hold_first: N}."
        ),
    )


class AnswerShape(_ServingShape):
    """
    A node whose reply may be served.
    """

    role: Literal["answer"]


class PrimaryShape(_ServingShape):
    """
    An answer that reports compare with.
    """

    role: Literal["primary"]


class VerifierShape(_HoppingShape):
    """
    A node that compares the replies of earlier ones.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"next": "done", "use": "agreement", "of": ["none", "none"]}

    role: Literal["verifier"]
    use: Literal["agreement"] = Field(description="How the replies are judged.")
    of: list[Text] = Field(min_length=2, max_length=64, description="The nodes whose replies are compared.")
    extract: Extractor = Field(
        "text", description="What of a reply is compared: its final number, its choice, or all of its text."
    )


class JudgeShape(_BackedShape):
    """
    A node whose model judges the replies of earlier ones.
    """

    stand_ins: ClassVar[dict[str, Any]] = {
        **_BackedShape.stand_ins, "use": "model", "of": ["none"], "prompt": "none", "score": {"from": "recorded"},
    }  # fmt: skip

    role: Literal["verifier"]
    use: Literal["model"] = Field(description="How the replies are judged.")
    of: list[Text] = Field(min_length=1, max_length=64, description="The nodes whose replies are judged.")
    prompt: Text = Field(
        description=(
            "What is sent instead of the caller's messages; {{ answer.<node> }}, {{ prompt }}, {{ conversation }} and "
            "{{ request.<attribute> }} are filled in."
        ),
    )
    score: ScoreShape = Field(description="Where the score comes from.")


class RefusalShape(_NodeShape):
    """
    A node that ends the walk with a reason.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"reason": "none"}

    role: Literal["refusal"]
    reason: Text = Field(description="What the caller is told.")


_AnyVerifierShape = Annotated[VerifierShape | JudgeShape, Field(discriminator="use")]
AnyNodeShape = ClassifierShape | PrescreenShape | AnswerShape | PrimaryShape | VerifierShape | JudgeShape | RefusalShape
NODE_SHAPES: dict[str, type[AnyNodeShape]] = {
    "classifier": ClassifierShape,
    "prescreen": PrescreenShape,
    "answer": AnswerShape,
    "primary": PrimaryShape,
    "verifier": VerifierShape,
    "refusal": RefusalShape,
}
# Shapes by `use`, for roles that it splits; the row above stands for a node without it.
USE_SHAPES: dict[str, dict[str, type[AnyNodeShape]]] = {"verifier": {"agreement": VerifierShape, "model": JudgeShape}}
NODE_KEYS = tuple(
    dict.fromkeys(
        key
        for shape in (*NODE_SHAPES.values(), *(shape for uses in USE_SHAPES.values() for shape in uses.values()))
        for key in shape.known_keys()
    )
)
_AnyNode = ClassifierShape | PrescreenShape | AnswerShape | PrimaryShape | _AnyVerifierShape | RefusalShape


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
    The recording of prompts and answers.
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
    record: RecordShape | None = Field(None, description="The recording of prompts and answers.")
    prices: PricesOrFile = Field(None, description="A table of prices, or what the prices in this graph are called.")
    backends: dict[Identifier, Annotated[AnyBackendShape, Field(discriminator="kind")]] | None = Field(
        None, description="What nodes call, by name."
    )
    nodes: dict[Identifier, Annotated[_AnyNode, Field(discriminator="role")]] = Field(description="The steps, by name.")
