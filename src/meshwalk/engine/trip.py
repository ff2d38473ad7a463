"""
What a walk is called and when it began: its ids, its clock, and its record when it is over.
"""

from __future__ import annotations

import random
import time

from meshwalk.engine.context import trace_context
from meshwalk.engine.workshop import Clock
from meshwalk.model import Limits
from meshwalk.trace import AtLength, Content, Facts, Request, Source, Straight, Traversal


_TRACE_BITS, _SPAN_BITS, _OWN_BITS = 128, 64, 80
# A zero id is no id in a trace context, so one bit of each is set.
_NOT_ZERO = 1 << (_SPAN_BITS + _OWN_BITS) | 1 << _OWN_BITS | 1


class Trip:
    """
    Name the walk of *request*, which begins now.
    """

    __slots__ = (
        "_began_ns", "_clock_ns", "_flags", "began_unix_us", "facts", "limits", "parent_span_id", "request", "span_id",
        "trace_id", "traversal_id",
    )  # fmt: skip

    def __init__(self, request: Request, facts: Facts, limits: Limits, clock_ns: Clock) -> None:
        self.request = request
        self.facts = facts
        self.limits = limits
        self._clock_ns = clock_ns
        self._began_ns = clock_ns()
        self.began_unix_us = unix_us = time.time_ns() // 1000
        # The ids are drawn together, which is cheaper than one after the other.
        digits = f"{random.getrandbits(_TRACE_BITS + _SPAN_BITS + _OWN_BITS) | _NOT_ZERO:068x}"
        self.span_id = digits[32:48]
        # An id begins with the time, so that ids sort by it.
        self.traversal_id = f"{unix_us // 1000:012x}{digits[48:]}"
        if request.traceparent:
            self.trace_id, self.parent_span_id, self._flags = trace_context(request.traceparent)
        else:
            self.trace_id, self.parent_span_id, self._flags = digits[:32], "", 1

    def now(self) -> int:
        """
        Return the time since the walk began, in microseconds.
        """
        return (self._clock_ns() - self._began_ns) // 1000

    def traceparent(self, span_id: str) -> str:
        """
        Write the header for a call made under *span_id*.
        """
        return f"00-{self.trace_id}-{span_id}-{self._flags:02x}"

    def record(self, source: Source, told: Straight | AtLength, content: Content | None) -> Traversal:
        """
        Make the record of the walk, which is over.
        """
        return Traversal(
            source,
            self.traversal_id,
            self.trace_id,
            self.span_id,
            self.parent_span_id,
            bool(self._flags & 1),
            self.began_unix_us,
            told,
            content,
        )


def call_span_id() -> str:
    """
    Name the span of a call.
    """
    return f"{random.getrandbits(_SPAN_BITS) | 1:016x}"
