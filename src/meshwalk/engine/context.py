"""
The ids and the clock of one walk, and its record when it is over.
"""

from __future__ import annotations

import random
from operator import itemgetter

from meshwalk.engine.deps import ClockNs
from meshwalk.engine.trace_context import trace_context
from meshwalk.model import Limits
from meshwalk.trace import Content, Facts, Request, Source, Trace, Traversal


# The ends of a walk's ids in the digits drawn for it: its trace, its span, itself, and its first calls.
_TRACE, _SPAN, _OWN, _CALLS = 32, 48, 68, 132
_BITS = 4 * _CALLS
_DIGITS = f"0{_CALLS}x"
_SPAN_DIGITS = _SPAN - _TRACE
# A zero id is no id in a trace context, so the last bit of each is set.
_ENDS = (_TRACE, _SPAN, _OWN, *range(_OWN + _SPAN_DIGITS, _CALLS + 1, _SPAN_DIGITS))
_NOT_ZERO = sum(1 << 4 * (_CALLS - end) for end in _ENDS)
_cut = itemgetter(*map(slice, (0, *_ENDS), _ENDS))


class WalkContext:
    """
    The ids and the clock of the walk of *request*, which begins now.

    Attributes:
        span_ids: Ids for the spans of its next calls; `call_span_id` draws more when they are used up.
    """

    __slots__ = (
        "_flags",
        "began_ns",
        "began_unix_us",
        "clock_ns",
        "facts",
        "limits",
        "parent_span_id",
        "recorded",
        "request",
        "span_id",
        "span_ids",
        "trace_id",
        "traversal_id",
    )  # fmt: skip

    def __init__(self, request: Request, facts: Facts, limits: Limits, clock_ns: ClockNs, unix_ns: ClockNs) -> None:
        self.request = request
        self.recorded: Traversal | None = None
        self.facts = facts
        self.limits = limits
        self.clock_ns = clock_ns
        self.began_ns = clock_ns()
        self.began_unix_us = unix_us = unix_ns() // 1000
        # The ids are drawn together, in one call of the generator.
        trace_id, self.span_id, own, *self.span_ids = _cut(format(random.getrandbits(_BITS) | _NOT_ZERO, _DIGITS))
        # An id begins with the time, so that ids sort by it.
        self.traversal_id = f"{unix_us // 1000:012x}{own}"
        if request.traceparent:
            self.trace_id, self.parent_span_id, self._flags = trace_context(request.traceparent)
        else:
            self.trace_id = trace_id
            self.parent_span_id = ""
            self._flags = 1

    def now(self) -> int:
        """
        Return the time since the walk began, in microseconds.
        """
        return (self.clock_ns() - self.began_ns) // 1000

    def call_span_id(self) -> str:
        """
        Name the span of one more call.
        """
        span_ids = self.span_ids

        return span_ids.pop() if span_ids else format(random.getrandbits(4 * _SPAN_DIGITS) | 1, f"0{_SPAN_DIGITS}x")

    def traceparent(self, span_id: str) -> str:
        """
        Write the header for a call made under *span_id*.
        """
        return f"00-{self.trace_id}-{span_id}-{self._flags:02x}"

    def record(self, source: Source, trace: Trace, content: Content | None) -> Traversal:
        """
        Make the record of the walk, which is over.
        """
        self.recorded = Traversal(
            source,
            self.traversal_id,
            self.trace_id,
            self.span_id,
            self.parent_span_id,
            self._flags & 1 == 1,
            self.began_unix_us,
            trace,
            content,
        )

        return self.recorded
