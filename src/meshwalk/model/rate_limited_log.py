"""
A log line that many requests have reason for at once: written once in a while, with the count of those in between.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable


DEFAULT_SECONDS = 10.0


class RateLimitedLog:
    """
    One kind of warning in *log*, written at most once in *seconds*.

    Args:
        clock: A clock in seconds that never goes back.
    """

    def __init__(
        self, log: logging.Logger, *, seconds: float = DEFAULT_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._seconds = seconds
        self._clock = clock
        self._unwritten = 0
        self._next_at = 0.0

    def warning(self, message: str) -> None:
        """
        Write *message*, with the number of those that were not written since the last one, or count it.
        """
        now = self._clock()
        if now < self._next_at:
            self._unwritten += 1
            return
        more = f" ({self._unwritten} more since the last such line)" if self._unwritten else ""
        self._log.warning("%s%s", message, more)
        self._unwritten, self._next_at = 0, now + self._seconds
