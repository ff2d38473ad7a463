"""
The request for a walk, and a backend's reply to one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from meshwalk.model import Limits, Sampling, Value
from meshwalk.model.constructors import fast_constructor


class ToolCall(NamedTuple):
    """
    A model's wish to call a tool.

    Args:
        arguments: JSON text, as the model wrote it.
        carried: What the model's provider needs back, as opaque text.
    """

    id: str
    name: str
    arguments: str
    carried: str = ""


class Image(NamedTuple):
    """
    An image among the content of a message.

    Args:
        url: Where it is; or `data:` with the image itself.
        detail: How closely it is looked at, in the provider's word; empty leaves it to the provider.
    """

    url: str
    detail: str = ""


class Message(NamedTuple):
    """
    One chat message.

    Args:
        tool_calls: For an assistant's message: the tools it wished to call.
        tool_call_id: For a tool's message: the call that it answers.
        carried: For an assistant's message: what its provider needs back, as opaque text.
        parts: The texts and images of a content that has more than one text; *content* is its text then.
    """

    role: str
    content: str
    name: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    carried: str = ""
    parts: tuple[str | Image, ...] = ()

    @property
    def images(self) -> int:
        """
        Count the images among its content.
        """
        return sum([isinstance(part, Image) for part in self.parts])


class Tool(NamedTuple):
    """
    A function that a model may wish to call.

    Args:
        parameters: A JSON Schema, as JSON text; empty takes none.
    """

    name: str
    description: str = ""
    parameters: str = ""


class ResponseFormat(NamedTuple):
    """
    A format of replies: any JSON object, or one that fits *schema* (JSON text).
    """

    kind: Literal["json_object", "json_schema"]
    name: str = ""
    schema: str = ""
    strict: bool = False


class ReplyOptions(NamedTuple):
    """
    The tools that the model which answers may wish to call, and the format of its reply.

    It goes with the caller's own messages; a node with a `prompt:` of its own asks something else, and leaves it out.

    Args:
        tool_choice: `auto`, `none`, `required`, or the name of a tool; empty leaves it to the provider.
    """

    tools: tuple[Tool, ...] = ()
    tool_choice: str = ""
    response_format: ResponseFormat | None = None


class Scopes(NamedTuple):
    """
    The names of what a request belongs to; the tenant comes from the caller's credentials, never from its own words.
    """

    session: str = ""
    workflow: str = ""
    tenant: str = ""


make_scopes = fast_constructor(Scopes)


class Request:
    """
    A request for one walk.

    Args:
        attributes: Values for the graph's declared and built-in attributes; what is left out takes its default.
        limits: May only tighten the graph's; None fields leave them as they are.
        traceparent: A W3C trace context header to continue, or nothing.
        idempotency_key: Names this request among its retries, or nothing: a second one with the same key is given the
            first one's walk.
    """

    __slots__ = ("attributes", "form", "idempotency_key", "limits", "messages", "sampling", "scopes", "traceparent")

    def __init__(
        self,
        messages: tuple[Message, ...],
        *,
        attributes: Mapping[str, Value] | None = None,
        sampling: Sampling = Sampling(),
        scopes: Scopes = Scopes(),
        limits: Limits = Limits(),
        traceparent: str = "",
        idempotency_key: str = "",
        form: ReplyOptions = ReplyOptions(),
    ) -> None:
        self.messages = messages
        self.form = form
        self.attributes: Mapping[str, Value] = attributes or {}
        self.sampling = sampling
        self.scopes = scopes
        self.limits = limits
        self.traceparent = traceparent
        self.idempotency_key = idempotency_key

    def _values(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self.__slots__])

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Request) else NotImplemented

    # Its attributes are a mapping, which may change.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        # Prompts are the caller's own, so only their number is shown.
        count = f"{len(self.messages)} message{'' if len(self.messages) == 1 else 's'}"
        named = [f"{name}={getattr(self, name)!r}" for name in ("attributes", "idempotency_key") if getattr(self, name)]
        named += [f"{scope}={name!r}" for scope, name in zip(Scopes._fields, self.scopes, strict=True) if name]

        return f"<Request: {', '.join([count, *named])}>"


class Usage(NamedTuple):
    """
    Count tokens.

    Args:
        cached_input_tokens: Those of the input that the provider had in a cache.
        reasoning_tokens: Those of the output that the caller does not see.
        cache_write_tokens: Those of the input that the provider wrote to a cache.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0

    def plus(self, other: Usage) -> Usage:
        """
        Add *other*, part by part.
        """
        return Usage(self[0] + other[0], self[1] + other[1], self[2] + other[2], self[3] + other[3], self[4] + other[4])


class Timing(NamedTuple):
    """
    The split of a call's latency: waiting for a slot, connecting, first byte after that; the rest is what remains.
    """

    queue_us: int = 0
    connect_us: int = 0
    first_byte_us: int = 0


class TokenProbabilities(NamedTuple):
    """
    A summary of the probabilities of the tokens a model chose, and the mean margin to its second choice where known.
    """

    mean: float
    minimum: float
    margin: float | None = None


class Reply:
    """
    A backend's reply to one call.

    Args:
        usage: None if the backend did not say; the engine then estimates it.
        cost_nano_usd: None if the backend did not say; the declared price then gives it.
        confidence: A confidence the backend itself reports (recorded answers do).
        simulated: Whether no model made this text.
        tool_calls: The tools that the model wishes to call.
        samples: The texts of all samples, where several were asked for; *text* is the first.
        cache_age_us: How old the reply is that a cache gave; None if it was made for this call.
        estimated: Whether a part of *usage* is an estimate.
        carried: What the model's provider needs back with this reply, as opaque text.
        mended: What the backend had to mend to read the answer.
    """

    __slots__ = (
        "cache_age_us", "carried", "confidence", "cost_nano_usd", "estimated", "finish_reason", "mended", "model",
        "probabilities", "samples", "simulated", "text", "timing", "tool_calls", "usage",
    )  # fmt: skip

    def __init__(
        self,
        text: str,
        *,
        finish_reason: str = "stop",
        usage: Usage | None = None,
        cost_nano_usd: int | None = None,
        confidence: float | None = None,
        probabilities: TokenProbabilities | None = None,
        timing: Timing = Timing(),
        model: str = "",
        simulated: bool = False,
        tool_calls: tuple[ToolCall, ...] = (),
        samples: tuple[str, ...] = (),
        cache_age_us: int | None = None,
        estimated: bool = False,
        carried: str = "",
        mended: tuple[str, ...] = (),
    ) -> None:
        self.text = text
        self.finish_reason = finish_reason
        self.usage = usage
        self.cost_nano_usd = cost_nano_usd
        self.confidence = confidence
        self.probabilities = probabilities
        self.timing = timing
        self.model = model
        self.simulated = simulated
        self.tool_calls = tool_calls
        self.samples = samples
        self.cache_age_us = cache_age_us
        self.estimated = estimated
        self.carried = carried
        self.mended = mended

    def _values(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self.__slots__])

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Reply) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        # Answers are as private as prompts, so only their length is shown.
        usage = "" if self.usage is None else f", {self.usage.input_tokens} + {self.usage.output_tokens} tokens"

        return f"<Reply{f' of {self.model}' if self.model else ''}: {len(self.text)} characters, {self.finish_reason}{usage}>"

    def saying(self, text: str) -> Reply:
        """
        Return the same reply with another *text*.
        """
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "text"}

        return Reply(text, **fields)


class Piece(NamedTuple):
    """
    A part of a reply that is still being made.

    Args:
        tokens: How many tokens it has, as far as the endpoint tells them apart.
        chances: The probability of each of its tokens, where the backend was asked for it and gives it.
        margins: The margin of each of its tokens to the second choice, where known.
    """

    text: str
    tokens: int = 1
    probabilities: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()
