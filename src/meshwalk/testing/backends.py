"""
A backend that answers as a test tells it.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Self

from meshwalk.backends.base import ChatRequest
from meshwalk.model.resource import AsyncResource
from meshwalk.trace import Reply, Usage


class ScriptedBackend(AsyncResource):
    """
    A backend for `Mesh(backends=…)` that answers with the results of *script*, and keeps the requests it was sent.

    Args:
        script: Called with each request: an exception is raised, a text is a reply of ten tokens in and five out.

    Attributes:
        requests: Every request, in order.
        closed: Whether it was closed.
    """

    waits = True

    def __init__(self, script: Callable[[ChatRequest], Reply | str | Exception | Awaitable[Reply | str | Exception]]) -> None:
        self.requests: list[ChatRequest] = []
        self.closed = False
        self._script = script

    @classmethod
    def replying(cls, *answers: Reply | str | Exception) -> Self:
        """
        Make a backend that gives *answers* one after the other, and the last one from then on.
        """
        left = list(answers)

        return cls(lambda _: left.pop(0) if len(left) > 1 else left[0])

    async def chat(self, request: ChatRequest) -> Reply:
        """
        Answer *request*.
        """
        self.requests.append(request)
        answer = self._script(request)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer

        return Reply(answer, usage=Usage(10, 5), model="scripted") if isinstance(answer, str) else answer

    async def aclose(self) -> None:
        """
        Note that it was closed.
        """
        self.closed = True

    def __repr__(self) -> str:
        return f"<ScriptedBackend: {len(self.requests)} requests{', closed' if self.closed else ''}>"
