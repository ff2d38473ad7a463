"""
What a backend is: one coroutine that answers a chat request, and a way to close.

A backend makes one call and says what it saw; it knows nothing of graphs, budgets or retries.  Whatever a provider or a
library raises is mapped here or in the backend's own file to a `BackendError`, so that the walk sees classes, not libraries.
A deadline reaches a backend as cancellation: the engine cancels the call, and the backend lets go of its connection.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from meshwalk.model import Sampling
from meshwalk.trace import Message, Reply


class ChatRequest(NamedTuple):
    """
    Ask a backend for one reply.

    Args:
        sampling: What is set is sent; None leaves it to the provider.
        probabilities: Whether the reply must carry token probabilities if the backend can give them.
        traceparent: The W3C header to pass on, so that the callee's spans hang under this attempt.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    probabilities: bool = False
    traceparent: str = ""

    @property
    def prompt(self) -> str:
        """
        Return the last user message, or the last message if there is none.
        """
        asked = (message.content for message in reversed(self.messages) if message.role == "user")

        return next(asked, self.messages[-1].content)


class Backend(Protocol):
    """
    Answer chat requests.

    Attributes:
        waits: Whether a call may wait for anything, so that it needs a time limit.
    """

    waits: bool

    async def chat(self, request: ChatRequest) -> Reply:
        """
        Make one call.

        Raises:
            BackendError: With the class of what went wrong.
        """
        ...

    async def aclose(self) -> None:
        """
        Let go of connections, threads and models; calling it twice is fine.
        """
        ...
