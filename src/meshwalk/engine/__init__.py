"""
Drive walks: make the calls they wish for, and tell them what happened.

Here data turns round: the walk decides and the engine acts, and neither does the other's work.  A decision is one synchronous
`feed`; I/O comes after it.  The engine owns the clock, the walk's own ledger, cancellation, and the ids under which
spans will stand; when a walk is over it hands the finished traversal to whoever records it and forgets it.

Time limits cost about ten microseconds each to open, so one is opened only round a call that may wait (`Backend.waits`).
Cancelling needs no shield: what has to be done on the way out (settle, close the record) never awaits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from meshwalk import roles
from meshwalk.admission import Admission
from meshwalk.backends.base import Backend
from meshwalk.engine.drive import Clock, Drive, Features, Observer
from meshwalk.engine.preview import preview
from meshwalk.engine.results import Preview, PreviewEdge, Walked
from meshwalk.plan import Plan
from meshwalk.trace import Request, Traversal


class Engine:
    """
    Walk requests over *plan*.

    Args:
        backends: An open backend for each that the plan's nodes name.
        record: Takes each finished traversal; it must not block and must not raise.
        features: What classifiers make of messages.
        clock_ns: What walks are timed by; it never goes back.
    """

    def __init__(
        self,
        plan: Plan,
        backends: Mapping[str, Backend],
        record: Callable[[Traversal], None],
        *,
        features: Features = roles.features,
        clock_ns: Clock = time.perf_counter_ns,
    ) -> None:
        self.plan = plan
        self.backends = backends
        self.record = record
        self.features = features
        self.clock_ns = clock_ns
        self.admission = Admission(plan)

    async def walk(self, request: Request, observe: Observer | None = None) -> Walked:
        """
        Walk *request* to its end, and record it whatever that end is.

        Args:
            observe: Told of every entry, the wishes it led to and the walk that made them, as they come.

        Raises:
            RequestError: If the request cannot begin a walk.
        """
        facts, limits = self.admission.admit(request)

        return await Drive(
            self.plan,
            self.backends,
            self.record,
            request,
            facts,
            limits,
            observe,
            features=self.features,
            clock_ns=self.clock_ns,
        ).run()

    def decide(self, request: Request) -> Preview:
        """
        Go as far as the first call and say what would follow; nothing is called, spent or recorded.

        Raises:
            RequestError: If the request cannot begin a walk.
        """
        facts, limits = self.admission.admit(request)

        return preview(self.plan, request, facts, limits, self.features)


__all__ = ["Clock", "Engine", "Features", "Observer", "Preview", "PreviewEdge", "Walked"]
