"""
Drive walks: make the calls they wish for, and tell them what happened.

Here data turns round: the walk decides and the engine acts, and neither does the other's work.  A decision is one synchronous
`feed`; I/O comes after it.  The engine owns the clock, the walk's budget, cancellation, and the ids under which spans
will stand; when a walk is over it hands the finished traversal to whoever records it and forgets it.

A time limit is opened only round a call that may wait (`Backend.waits`).
What has to be done on the way out awaits nothing but the vault, and talking to a vault is shielded and bounded (`walk_budget`).
"""

from meshwalk.engine.cut import CutWalk, closed_error, cut_of
from meshwalk.engine.deps import ClockNs, Features, OnDelta, Sleep
from meshwalk.engine.driver import OnEvent
from meshwalk.engine.engine import Engine
from meshwalk.engine.events import EventFeed
from meshwalk.engine.limiter import BackendStatus, limited, limiters


__all__ = [
    "BackendStatus",
    "ClockNs",
    "CutWalk",
    "Engine",
    "EventFeed",
    "Features",
    "OnDelta",
    "OnEvent",
    "Sleep",
    "closed_error",
    "cut_of",
    "limited",
    "limiters",
]
