"""
The calls that `Mesh` and `Client` have in common, for code that does not care where its walks are made.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

from meshwalk.model import Limits, Sampling, Value
from meshwalk.records.events import Event
from meshwalk.records.previews import Preview
from meshwalk.records.results import RouteResult
from meshwalk.trace import Request, ResponseFormat, Tool
from meshwalk.trace.requests import Prompt


@runtime_checkable
class Router(Protocol):
    """
    A way to have requests routed: in this process (`Mesh`) or by a server (`Client`).
    """

    async def route(
        self,
        prompt: Prompt,
        *,
        attributes: Mapping[str, Value] = {},
        session: str = "",
        workflow: str = "",
        limits: Limits = Limits(),
        sampling: Sampling = Sampling(),
        tools: Sequence[Tool] = (),
        tool_choice: str = "",
        response_format: ResponseFormat | None = None,
        traceparent: str = "",
        idempotency_key: str = "",
        timeout: timedelta | float | None = None,
    ) -> RouteResult:
        """
        Route one prompt, or one conversation, to its answer or its declared refusal.

        Raises:
            RequestError: If the request cannot begin a walk; each field is named.
            WalkStopped: If the walk failed; its children name the cause.
        """
        ...

    async def send(self, request: Request) -> RouteResult:
        """
        Route *request*, as `route` does.
        """
        ...

    def stream(
        self,
        prompt: Prompt,
        *,
        attributes: Mapping[str, Value] = {},
        session: str = "",
        workflow: str = "",
        limits: Limits = Limits(),
        sampling: Sampling = Sampling(),
        tools: Sequence[Tool] = (),
        tool_choice: str = "",
        response_format: ResponseFormat | None = None,
        traceparent: str = "",
        idempotency_key: str = "",
        timeout: timedelta | float | None = None,
    ) -> AsyncGenerator[Event, None]:
        """
        Route as `route` does, and yield each hop as it starts and ends; the last event is the result.
        """
        ...

    async def decide(
        self,
        prompt: Prompt,
        *,
        attributes: Mapping[str, Value] = {},
        session: str = "",
        workflow: str = "",
        limits: Limits = Limits(),
        sampling: Sampling = Sampling(),
        tools: Sequence[Tool] = (),
        tool_choice: str = "",
        response_format: ResponseFormat | None = None,
        timeout: timedelta | float | None = None,
    ) -> Preview:
        """
        Return the way that a prompt would go, without calling a model.
        """
        ...
