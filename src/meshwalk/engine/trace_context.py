"""
The ids a walk runs under: the caller's W3C trace context continued, or a trace of its own.
"""

from __future__ import annotations

import random
from typing import NamedTuple


_HEX = frozenset("0123456789abcdef")


class TraceContext(NamedTuple):
    """
    A trace context; *parent_span_id* is empty if the walk starts its trace.
    """

    trace_id: str
    parent_span_id: str
    flags: int

    @property
    def sampled(self) -> bool:
        """
        Tell whether the trace is recorded.
        """
        return bool(self.flags & 1)


def random_hex(bits: int) -> str:
    """
    Make an id of *bits* random bits, as hexadecimal digits.
    """
    # Never all zeros: a zero id is no id in a trace context.
    return (random.getrandbits(bits) or 1).to_bytes(bits // 8, "big").hex()


def trace_context(traceparent: str) -> TraceContext:
    """
    Read a W3C trace context, or start a trace of our own if there is none to read.

    A header that is not well formed is ignored, as the recommendation says (W3C Trace Context, §3.2).
    """
    parts = traceparent.strip().split("-")
    if len(parts) >= 4 and len(parts[0]) == 2 and parts[0] != "ff" and (parts[0] != "00" or len(parts) == 4):
        version, trace_id, span_id, flags = parts[:4]
        well_formed = (len(trace_id), len(span_id), len(flags)) == (32, 16, 2)
        if well_formed and _HEX.issuperset(version + trace_id + span_id + flags) and trace_id.strip("0") and span_id.strip("0"):
            return TraceContext(trace_id, span_id, int(flags, 16))

    return TraceContext(random_hex(128), "", 1)
