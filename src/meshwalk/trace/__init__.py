"""
Events, commands and the finished record of a walk; also the requests and replies that they are made of.

An entry is an event that a walk is fed, and a wish is a command that it answers with.  A `Traversal` is the record of a walk:
its `Trace` tells both in order, with the decisions between them, which is enough to decide everything again.  A trace has two
forms behind one interface: `CompactTrace` keeps one line a hop, and `FullTrace` keeps every entry.

Types that every walk makes are NamedTuples or have plain slots.  Times (`*_us`) are whole microseconds since the walk began,
beside one wall-clock time; money is whole nano-dollars.
"""

from __future__ import annotations

from meshwalk.trace.codec import FORMAT, decode, encode
from meshwalk.trace.compact import CompactCall, CompactHop, make_compact_call, make_compact_hop
from meshwalk.trace.compact_trace import CompactTrace, make_compact_trace
from meshwalk.trace.disclosure import disclosed_part, disclosed_record
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
    ScopeView,
    Stopped,
    TimedOut,
    calling_us,
    make_facts,
    make_view,
    total_usage,
    weakest,
)
from meshwalk.trace.exchange import (
    Image,
    Message,
    Piece,
    Reply,
    ReplyOptions,
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
from meshwalk.trace.full_trace import FullTrace
from meshwalk.trace.interface import HopBuilder, Step, TemplateKey, Trace
from meshwalk.trace.record import Content, Source, Traversal
from meshwalk.trace.wishes import Call, Commit, Decision, Finish, Outcome, Reserve, Settle, StopCall, Wish


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
    "FullTrace",
    "Granted",
    "HopBuilder",
    "Image",
    "Message",
    "Outcome",
    "Piece",
    "PrefixJudged",
    "Replied",
    "Reply",
    "ReplyOptions",
    "Request",
    "Reserve",
    "ResponseFormat",
    "ScopeView",
    "Scopes",
    "Settle",
    "Source",
    "Step",
    "StopCall",
    "Stopped",
    "TemplateKey",
    "TimedOut",
    "Timing",
    "TokenProbabilities",
    "Tool",
    "ToolCall",
    "Trace",
    "Traversal",
    "Usage",
    "Wish",
    "calling_us",
    "decode",
    "disclosed_part",
    "disclosed_record",
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
