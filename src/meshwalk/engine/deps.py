"""
The dependencies that all walks of an engine share, and the part of a walk that a hop's calls need.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from meshwalk.backends.base import Backend, ChatRequest, Classifier
from meshwalk.budgets.vaults.base import Vault
from meshwalk.engine.call_state import CallState
from meshwalk.engine.limiter import BackendLimiter
from meshwalk.model import Value
from meshwalk.model.rate_limited_log import RateLimitedLog
from meshwalk.trace import Message, Source, Traversal, Wish


# The features of messages, and a clock in nanoseconds.
Features = Callable[[Sequence[Message]], dict[str, Value]]
ClockNs = Callable[[], int]

# Called with the hop and the text of each piece of an answer, once the walk has committed to it.
OnDelta = Callable[[int, str], None]


class Sleep(Protocol):
    """
    A function that lets some seconds pass.
    """

    async def __call__(self, seconds: float, /) -> None:
        """
        Wait.
        """
        ...


class EngineDeps(NamedTuple):
    """
    The dependencies that all walks of an engine share.

    Args:
        source: The plan that is walked, as records name it.
        limiters: By backend, if the graph bounds the traffic to it.
        classifiers: By node, unless its classifier is built in.
        chance: Gives a number from 0 to below 1.
        unsettled: The log of walks whose spending the vault does not learn; None writes a line for each.
    """

    source: Source
    backends: Mapping[str, Backend]
    limiters: Mapping[str, BackendLimiter]
    classifiers: Mapping[str, Classifier]
    features: Features
    vault: Vault
    record: Callable[[Traversal], None]
    clock_ns: ClockNs
    sleep: Sleep
    chance: Callable[[], float]
    unix_ns: ClockNs = time.time_ns
    unsettled: RateLimitedLog | None = None


class HopContext(Protocol):
    """
    The part of a walk that `Calls` needs.
    """

    def now(self) -> int:
        """
        Return the time since the walk began, in microseconds.
        """
        ...

    def call_span_id(self) -> str:
        """
        Name the span of one more call.
        """
        ...

    def settle(self) -> None:
        """
        Settle whatever has ended.
        """
        ...

    def open(self, call: CallState) -> None:
        """
        Register *call*, which has a reservation now.
        """
        ...

    def chat_request(self, call: CallState) -> ChatRequest:
        """
        Return the request to send for *call*.
        """
        ...

    def stick_to(self, backend: str) -> str:
        """
        Return the key that keeps calls to *backend* at one endpoint, or nothing.
        """
        ...

    def judge_prefix(self, call: CallState, outputs: Mapping[str, Value]) -> tuple[Wish, ...]:
        """
        Let the walk judge what was seen of a reply.
        """
        ...

    def emit(self, text: str) -> None:
        """
        Pass a piece of the answer on.
        """
        ...
