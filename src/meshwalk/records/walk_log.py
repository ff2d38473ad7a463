"""
The log of walks that had no answer: a line for each, at most so many a second, with the count of those in between.

A walk that failed, or that was refused after a call had failed, is a warning.  A refusal that the graph declared without one,
and a walk whose caller went away, is for `info`.  No line holds a prompt, an answer, a provider's words or an address.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from meshwalk.plan import Plan
from meshwalk.trace import Attempt, Outcome, Traversal


_log = logging.getLogger(__name__)

_ENDED = {
    Outcome.ANSWERED: "was answered",
    Outcome.REFUSED: "was refused",
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "was cancelled",
}

# The lines that come at once, and the lines a second from then on.
BURST = 100
PER_SECOND = 10.0


class WalkLog:
    """
    A sink that logs walks without an answer.

    Args:
        tenant: The tenant of walks that name none.
        clock: A clock in seconds that never goes back.
    """

    def __init__(self, tenant: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tenant = tenant
        self._clock = clock
        self._left = float(BURST)
        self._at = clock()
        self._unwritten = 0

    def record(self, traversal: Traversal, plan: Plan) -> None:
        """
        Log *traversal* if it had no answer.
        """
        del plan
        finish = traversal.trace.finish
        if finish.outcome is Outcome.ANSWERED:
            return
        at_fault = _last_failure(traversal)
        level = logging.INFO
        if finish.outcome is Outcome.FAILED or (finish.outcome is Outcome.REFUSED and at_fault is not None):
            level = logging.WARNING
        if not _log.isEnabledFor(level):
            return
        now = self._clock()
        self._left = min(float(BURST), self._left + (now - self._at) * PER_SECOND)
        self._at = now
        if self._left < 1:
            self._unwritten += 1
            return
        self._left -= 1
        self.close()
        _log.log(level, "a walk %s", _ENDED[finish.outcome], extra=self._about(traversal, at_fault))

    def close(self) -> None:
        """
        Log the count of walks that have no line, if there are any.
        """
        unwritten, self._unwritten = self._unwritten, 0
        if unwritten:
            _log.warning("%d walks without an answer have no line", unwritten, extra={"meshwalk.suppressed": unwritten})

    def _about(self, traversal: Traversal, at_fault: Attempt | None) -> dict[str, str]:
        finish, path = traversal.trace.finish, traversal.path
        about = {
            "traversal_id": traversal.traversal_id,
            "graph": traversal.graph,
            "outcome": finish.outcome.value,
            "class": finish.cause or ("" if at_fault is None else at_fault.error_class or at_fault.status),
            "node": finish.node or (path[-1] if path else ""),
            "backend": "" if at_fault is None else at_fault.backend,
            "endpoint": "" if at_fault is None else at_fault.endpoint,
            "tenant": traversal.facts.scopes.tenant or self._tenant,
        }

        return {f"meshwalk.{name}": value for name, value in about.items() if value}


def _last_failure(traversal: Traversal) -> Attempt | None:
    failed = [attempt for attempt in traversal.attempts() if attempt.status not in ("ok", "cancelled")]

    return failed[-1] if failed else None
