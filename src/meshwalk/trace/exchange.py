"""
What goes in and comes back: the request for a walk, and a backend's reply to one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meshwalk.model import Limits, Sampling, Value


class Message(NamedTuple):
    """
    Hold one chat message.
    """

    role: str
    content: str
    name: str = ""


class Scopes(NamedTuple):
    """
    Name what a request belongs to; the tenant comes from whoever answers for the caller, never from the caller's own words.
    """

    session: str = ""
    workflow: str = ""
    tenant: str = ""


class Request:
    """
    Ask for one walk.

    Args:
        attributes: Values for the graph's declared and built-in attributes; what is left out takes its default.
        limits: May only tighten the graph's; None fields leave them as they are.
        traceparent: A W3C trace context header to continue, or nothing.
        idempotency_key: Names this request among its retries, or nothing: a second one with the same key is given the
            first one's walk.
    """

    __slots__ = ("attributes", "idempotency_key", "limits", "messages", "sampling", "scopes", "traceparent")

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
    ) -> None:
        self.messages = messages
        self.attributes: Mapping[str, Value] = attributes or {}
        self.sampling = sampling
        self.scopes = scopes
        self.limits = limits
        self.traceparent = traceparent
        self.idempotency_key = idempotency_key


class Usage(NamedTuple):
    """
    Count tokens.
    """

    input_tokens: int = 0
    output_tokens: int = 0


class Timing(NamedTuple):
    """
    Split a call's latency: waiting for a slot, connecting, first byte after that; the rest is what remains.
    """

    queue_us: int = 0
    connect_us: int = 0
    first_byte_us: int = 0


class TokenProbabilities(NamedTuple):
    """
    Sum up the probabilities of the tokens a model chose, and the mean margin to its second choice where known.
    """

    mean: float
    minimum: float
    margin: float | None = None


class Reply:
    """
    Hold what a backend gave for one call.

    Args:
        usage: None if the backend did not say; the engine then estimates it.
        cost_nano_usd: None if the backend did not say; the declared price then gives it.
        confidence: A confidence the backend itself reports (recorded answers do).
        simulated: Whether no model made this text.
    """

    __slots__ = (
        "confidence", "cost_nano_usd", "finish_reason", "model", "probabilities", "simulated", "text", "timing", "usage",
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
