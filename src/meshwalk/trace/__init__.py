"""
What happened and what was wanted: requests, replies, entries, wishes, and the finished record of a walk.

Entries tell a walk what happened, wishes tell the engine what the walk wants; a `Traversal` holds both in the order they
came, with the decisions between them, so that the record is enough to decide everything again; where every hop went straight
it keeps less, from which all of that follows (`legs`).  What people ask for, a hop
with its latency split, tokens and cost, is derived from them in one place, `hops`.

What every walk makes is a NamedTuple or plain slots: a frozen slotted dataclass of eight fields takes five times as long to
make.  Times (`at`, `*_us`) are whole microseconds since the walk began, beside one wall-clock time; money is whole
nano-dollars.
"""

from __future__ import annotations

from meshwalk.trace.codec import FORMAT, decode, encode
from meshwalk.trace.compact import (
    CompactCall,
    CompactHop,
    CompactTrace,
    Step,
    TemplateKey,
    make_compact_call,
    make_compact_hop,
    make_compact_trace,
)
from meshwalk.trace.entries import (
    Attempt,
    AttemptStatus,
    Basis,
    Began,
    Cancelled,
    Closing,
    Denied,
    Entry,
    Facts,
    Failed,
    Granted,
    PrefixJudged,
    Replied,
    Stopped,
    TimedOut,
    View,
    calling_us,
    make_facts,
    make_view,
    total_usage,
    weakest,
)
from meshwalk.trace.exchange import (
    Form,
    Message,
    Piece,
    Reply,
    Request,
    ResponseFormat,
    Scopes,
    Timing,
    TokenProbabilities,
    Tool,
    ToolCall,
    Usage,
    make_scopes,
)
from meshwalk.trace.record import Content, FullTrace, Source, Traversal
from meshwalk.trace.wishes import Call, Commit, Decision, Finish, Outcome, Reserve, Settle, Stop, Wish


__all__ = [
    "FORMAT",
    "Attempt",
    "AttemptStatus",
    "Basis",
    "Began",
    "Call",
    "Cancelled",
    "Closing",
    "Commit",
    "CompactCall",
    "CompactHop",
    "CompactTrace",
    "Content",
    "Decision",
    "Denied",
    "Entry",
    "Facts",
    "Failed",
    "Finish",
    "Form",
    "FullTrace",
    "Granted",
    "Message",
    "Outcome",
    "Piece",
    "PrefixJudged",
    "Replied",
    "Reply",
    "Request",
    "Reserve",
    "ResponseFormat",
    "Scopes",
    "Settle",
    "Source",
    "Step",
    "Stop",
    "Stopped",
    "TemplateKey",
    "TimedOut",
    "Timing",
    "TokenProbabilities",
    "Tool",
    "ToolCall",
    "Traversal",
    "Usage",
    "View",
    "Wish",
    "calling_us",
    "decode",
    "encode",
    "make_compact_call",
    "make_compact_hop",
    "make_compact_trace",
    "make_facts",
    "make_scopes",
    "make_view",
    "total_usage",
    "weakest",
]
