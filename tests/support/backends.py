"""
Backends that answer as a test tells them, and a sink that keeps what they led to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from meshwalk.backends.base import ChatRequest
from meshwalk.plan import Plan
from meshwalk.trace import Reply, Traversal, Usage


class Scripted:
    """
    Answer with what *script* gives, and keep what was asked.
    """

    waits = True

    def __init__(self, script: Callable[[ChatRequest], Awaitable[Reply]]) -> None:
        self._script = script
        self.asked: list[ChatRequest] = []

    async def chat(self, request: ChatRequest) -> Reply:
        self.asked.append(request)
        return await self._script(request)

    async def aclose(self) -> None:
        pass


def saying(text: str, *, confidence: float | None = 0.9) -> Scripted:
    """
    Give the same answer always.
    """

    async def script(_: ChatRequest) -> Reply:
        return Reply(text, usage=Usage(10, 5), confidence=confidence, model="scripted")

    return Scripted(script)


def raising(error: Exception) -> Scripted:
    """
    Fail always.
    """

    async def script(_: ChatRequest) -> Reply:
        raise error

    return Scripted(script)


class Gate(Scripted):
    """
    Answer once `open` is set; `asked_for` is set when someone waits, `left` when a call was cancelled.
    """

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.asked_for = anyio.Event()
        self.open = anyio.Event()
        self.left = anyio.Event()

    async def _wait(self, _: ChatRequest) -> Reply:
        self.asked_for.set()
        try:
            await self.open.wait()
        except BaseException:
            self.left.set()
            raise

        return Reply("at last", usage=Usage(1, 2), confidence=0.9)


class Listing:
    """
    Keep every traversal.
    """

    def __init__(self) -> None:
        self.traversals: list[Traversal] = []
        self.recorded = anyio.Event()

    def record(self, traversal: Traversal, plan: Plan) -> None:
        assert plan.plan_digest == traversal.plan_digest
        self.traversals.append(traversal)
        self.recorded.set()
