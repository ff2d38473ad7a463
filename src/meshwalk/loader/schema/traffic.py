"""
The shapes of how a backend may be called: its endpoints, how much they are asked for, and when they are left alone.
"""

from typing import Annotated, Literal

from pydantic import Field

from meshwalk.loader.schema.shape import Shape
from meshwalk.loader.schema.values import Name, Text, Time, TimeOrNone, Variable, Whole


_Requests = Annotated[
    int, Field(ge=1, le=1_000_000_000, description="The most calls a minute that one endpoint is asked for."), Whole
]
_Tokens = Annotated[
    int, Field(ge=1, le=1_000_000_000_000, description="The most tokens a minute, sent and received, for one endpoint."), Whole
]
_Concurrency = Annotated[
    int,
    Field(ge=1, le=1_000_000, description="The most calls that one endpoint has at once.  Over a network 100 if unsaid."),
    Whole,
]


class BackoffShape(Shape):
    """
    The wait before a retry.
    """

    first: TimeOrNone | None = Field(
        None, description="The most before the first retry; it doubles with each. 100ms if unsaid."
    )
    max: TimeOrNone | None = Field(None, alias="most", description="The most before any retry. 2s if unsaid.")


class QueueShape(Shape):
    """
    The queue of waiting calls.
    """

    length: Annotated[int, Field(ge=0, le=1_000_000), Whole] = Field(100, description="How many calls may wait.")
    wait: Time | None = Field(
        None,
        description="How long one may wait; without it, as long as its node has (5s over a network if no traffic is declared).",
    )


class BreakerShape(Shape):
    """
    A circuit breaker.
    """

    failures: Annotated[int, Field(ge=1, le=1_000_000), Whole] = Field(5, description="After so many failures in a row.")
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        0.5, description="Or when more than this share of the window's calls failed."
    )
    window: Time | None = Field(None, description="How far back the share looks. 30s if unsaid.")
    calls: Annotated[int, Field(ge=1, le=1_000_000), Whole] = Field(
        10, description="How many calls in the window the share needs to count."
    )
    open: Time | None = Field(None, description="How long it is left alone before it is probed. 10s if unsaid.")


class TrafficShape(Shape):
    """
    The bounds of one process's calls to a backend.
    """

    requests_per_minute: _Requests | None = None
    tokens_per_minute: _Tokens | None = None
    concurrency: _Concurrency | None = None
    queue: QueueShape | None = Field(
        None,
        description="Who may wait for a place; a backend over a network has 100 waiting for at most 5s if nothing is said.",
    )
    breaker: BreakerShape | None = Field(
        None, description="When an endpoint is left alone for a while; several endpoints have one unasked."
    )


class EndpointShape(Shape):
    """
    One of several places where a backend's model can be called.
    """

    name: Name | None = Field(None, description="Its name in records; without it e1, e2, … by its place in the list.")
    base_url: Text | None = Field(None, description="Where it is, up to and with /v1; ${NAME} is read from the environment.")
    key_env: Variable | None = Field(None, description="The environment variable that holds its key.")
    weight: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = Field(
        1.0, description="Its share of the calls, beside those of the others."
    )
    requests_per_minute: _Requests | None = None
    tokens_per_minute: _Tokens | None = None
    concurrency: _Concurrency | None = None


Endpoints = Annotated[list[EndpointShape], Field(min_length=1, max_length=64)]
Sticky = Literal["session", "workflow"]
