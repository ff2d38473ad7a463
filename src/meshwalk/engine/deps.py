"""
What all walks of an engine share, and what a hop's calls ask of their walk.
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
from meshwalk.trace import Message, Source, Traversal, Wish


# What a classifier makes of messages, and a clock in nanoseconds.
Features = Callable[[Sequence[Message]], dict[str, Value]]
ClockNs = Callable[[], int]

# Told of each piece of an answer, and of its hop, from the moment the walk has committed to it.
OnDelta = Callable[[int, str], None]


class Sleep(Protocol):
    """
    Let some seconds pass.
    """

    async def __call__(self, seconds: float, /) -> None:
        """
        Wait.
        """
        ...


class EngineDeps(NamedTuple):
    """
    Hold what all walks of an engine share.

    Args:
        source: What is walked, as records say it.
        limiters: What stands before a backend, where its graph bounds the traffic to it.
        classifiers: What is asked for a classifier node that is no rule of the house, by the node's name.
        chance: Gives a number from 0 to below 1.
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


class HopContext(Protocol):
    """
    Be the walk that a hop's calls are made for.
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
        Take that something is reserved for *call*.
        """
        ...

    def chat_request(self, call: CallState) -> ChatRequest:
        """
        Return what is sent for *call*.
        """
        ...

    def stick_to(self, backend: str) -> str:
        """
        Return what keeps calls to *backend* at one endpoint, or nothing.
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
