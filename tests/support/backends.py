"""
Scripted backends that tests have in common.
"""

from __future__ import annotations

import anyio

from meshwalk.backends.base import ChatRequest
from meshwalk.testing import ScriptedBackend
from meshwalk.trace import Reply, Usage


def saying(text: str, *, confidence: float | None = 0.9) -> ScriptedBackend:
    """
    Return a backend that always gives the same answer.
    """

    return ScriptedBackend.replying(Reply(text, usage=Usage(10, 5), confidence=confidence, model="scripted"))


def raising(error: Exception) -> ScriptedBackend:
    """
    Return a backend that always fails.
    """

    return ScriptedBackend.replying(error)


class Gate(ScriptedBackend):
    """
    A backend that answers once `open` is set; `asked_for` is set when someone waits, `left` when a call was cancelled.
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
