"""
What happened and what was wanted: requests, replies, entries, wishes, and the finished record of a walk.

Entries tell a walk what happened, wishes tell the engine what the walk wants; a `Traversal` holds both in the order they
came, with the decisions between them, so that the record is enough to decide everything again.  What people ask for, a hop
with its latency split, tokens and cost, is derived from them in one place, `hops`.

What every walk makes is a NamedTuple or plain slots: a frozen slotted dataclass of eight fields takes five times as long to
make.  Times (`at`, `*_us`) are whole microseconds since the walk began, beside one wall-clock time; money is whole
nano-dollars.
"""

from __future__ import annotations

from meshwalk.trace.codec import FORMAT, decode, encode
from meshwalk.trace.entries import (
    Attempt,
    AttemptStatus,
    Basis,
    Began,
    Cancelled,
    Denied,
    Entry,
    Facts,
    Failed,
    Granted,
    Replied,
    TimedOut,
    View,
    total_usage,
    weakest,
)
from meshwalk.trace.exchange import Message, Reply, Request, Scopes, Timing, TokenProbabilities, Usage
from meshwalk.trace.record import Content, Traversal
from meshwalk.trace.wishes import Call, Decision, Finish, Outcome, Reserve, Settle, Wish


__all__ = [
    "FORMAT",
    "Attempt",
    "AttemptStatus",
    "Basis",
    "Began",
    "Call",
    "Cancelled",
    "Content",
    "Decision",
    "Denied",
    "Entry",
    "Facts",
    "Failed",
    "Finish",
    "Granted",
    "Message",
    "Outcome",
    "Replied",
    "Reply",
    "Request",
    "Reserve",
    "Scopes",
    "Settle",
    "TimedOut",
    "Timing",
    "TokenProbabilities",
    "Traversal",
    "Usage",
    "View",
    "Wish",
    "decode",
    "encode",
    "total_usage",
    "weakest",
]
