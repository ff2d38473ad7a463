"""
The shape of each kind of backend: its keys, their types, and their descriptions in an editor.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from meshwalk.loader.schema.prices import PriceOrRow
from meshwalk.loader.schema.shape import Shape
from meshwalk.loader.schema.traffic import Endpoints, Sticky, TrafficShape
from meshwalk.loader.schema.values import (
    Fraction,
    FreeText,
    Function,
    Listed,
    Name,
    Size,
    Text,
    Time,
    TimeOrNone,
    Variable,
    Whole,
)
from meshwalk.model.problems import ErrorClass


class TemplateShape(Shape):
    """
    The tokens that a chat template may add.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"per_request": 0}

    per_request: Annotated[int, Field(ge=0, le=100_000), Whole] = Field(
        description="Once to a call, as the system text that a template writes where there is none."
    )
    per_message: Annotated[int, Field(ge=0, le=16), Whole] = Field(16, description="To each message.")


class _PricedShape(Shape):
    usd_per_mtok: PriceOrRow = Field(
        None, description="The price of a million tokens, or the name of a row of the graph's table of prices."
    )
    context_tokens: Annotated[int, Field(ge=1, le=1_000_000_000), Whole] | None = Field(
        None, description="The most tokens a call may have."
    )
    tokenizer: Text | None = Field(
        None, description="Its tokenizer.json; what that counts bounds the input more tightly than bytes do."
    )
    tokens_per_byte: Annotated[float, Field(ge=1, le=16, allow_inf_nan=False)] | None = Field(
        None, description="The most tokens that a byte of text becomes; 1 if nothing is said.", examples=[1, 5]
    )
    template: TemplateShape | None = Field(
        None,
        description="The tokens that its chat template may add.",
        examples=[{"per_request": 40, "per_message": 12}],
    )
    description: FreeText | None = Field(None, description="What the backend is.")


class _BackendShape(TrafficShape, _PricedShape):
    pass


class ThoughtsShape(Shape):
    """
    The tags round thoughts that stand in the content of an answer.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"close": "</think>"}

    open: Text | None = Field(
        None, description="What stands before them; without it, every answer begins with thoughts.", examples=["<think>"]
    )
    close: Text = Field(description="What stands behind them.", examples=["</think>"])


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
    endpoints: Endpoints | None = Field(None, description="Several places where the model can be called, in place of base_url.")
    sticky: Sticky | None = Field(
        None, description="Whose calls stay with one endpoint while that is well: those of a session, or of a workflow."
    )
    max_tokens_name: Variable | None = Field(
        None, description="What the server calls the limit on tokens.", examples=["max_completion_tokens"]
    )
    leave_out: Annotated[list[Variable], Field(min_length=1), Listed] | None = Field(
        None, description="Fields of the body that are never sent.", examples=[["temperature"]]
    )
    extra: dict[str, Any] | None = Field(
        None,
        description="Fields that are merged into the body of every call.",
        examples=[{"chat_template_kwargs": {"enable_thinking": False}}],
    )
    headers: dict[str, Text] | None = Field(
        None,
        description="Further headers of every call; ${NAME} in a value is read from the environment.",
        examples=[{"X-Org": "${ORG}"}],
    )
    key_header: Text | None = Field(
        None, description="The header that the key goes in as it is, in place of a bearer token.", examples=["api-key"]
    )
    roles: dict[str, Name] | None = Field(
        None, description="Roles by their names at the server.", examples=[{"developer": "system"}]
    )
    stream_options: bool = Field(True, description="Whether a stream is asked for its usage; false does not send the field.")
    thoughts: ThoughtsShape | None = Field(
        None,
        description="The tags round thoughts that stand in the content of an answer; they are paid for and not served.",
        examples=[{"open": "<think>", "close": "</think>"}],
    )
    takes: Annotated[list[Literal["text", "image"]], Field(min_length=1), Listed] | None = Field(
        None, description="The kinds of content that messages may have; without it, text alone.", examples=[["text", "image"]]
    )
    image_tokens: Annotated[int, Field(ge=1, le=10_000_000), Whole] | None = Field(
        None, description="The most tokens that one image counts for; it bounds what a call with images costs."
    )
    cost: Literal["reported"] | None = Field(
        None, description="'reported' settles a call at what the provider says that it costs; without it, at the price."
    )


class LocalShape(_BackendShape):
    """
    A small model in this process.
    """

    kind: Literal["local"]
    model: Text | None = Field(None, description="A GGUF file; without it, the packaged SmolLM2-135M.")
    threads: Annotated[int, Field(ge=1, le=1024), Whole] | None = Field(None, description="How many threads it may use.")


class RecordedShape(_BackendShape):
    """
    The recorded answers of an outcomes file.
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
    The rate and the class of failing calls.
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
    An async function of your own.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"function": "none:none"}

    kind: Literal["python"]
    function: Function = Field(description="Where it is, as package.module:function.")


class CacheShape(_PricedShape):
    """
    The kept replies of another backend; what bounds the traffic to that one bounds what is not kept.
    """

    stand_ins: ClassVar[dict[str, Any]] = {"of": "none"}

    kind: Literal["cache"]
    of: Text = Field(description="The backend whose replies are kept, and given again to the same request of the same tenant.")
    ttl: Time = Field(600_000_000, description="How long a reply is kept; 10m if nothing is said.")
    entries: Annotated[int, Field(ge=1, le=100_000_000), Whole] = Field(10_000, description="How many replies are kept.")
    size: Size = Field(64 << 20, description="How many bytes of text are kept; 64MiB if nothing is said.")


AnyBackendShape = OpenAIShape | LocalShape | RecordedShape | SimulatedShape | PythonShape | CacheShape
BACKEND_SHAPES: dict[str, type[AnyBackendShape]] = {
    "openai": OpenAIShape,
    "local": LocalShape,
    "recorded": RecordedShape,
    "simulated": SimulatedShape,
    "python": PythonShape,
    "cache": CacheShape,
}
BACKEND_KEYS = tuple(dict.fromkeys(key for shape in BACKEND_SHAPES.values() for key in shape.known_keys()))
