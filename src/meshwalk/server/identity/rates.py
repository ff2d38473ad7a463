"""
The requests a minute of each tenant.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from meshwalk.server.identity.caller import Caller
from meshwalk.wire.errors import TooManyRequests


class RequestRates:
    """
    The requests that tenants sent lately to this process.

    A tenant may send as many at once as it may send in a minute, and then one whenever its part of a minute has passed.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # For each tenant: the requests that it may send, and the second that this was so.
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, caller: Caller) -> None:
        """
        Count a request of *caller*.

        Raises:
            TooManyRequests: If its tenant has sent as many as it may.
        """
        most = caller.rules.requests_per_minute
        if most is None:
            return
        now = self._clock()
        left, before = self._left.get(caller.tenant, (float(most), now))
        left = min(float(most), left + (now - before) * most / 60)
        if left < 1:
            self._left[caller.tenant] = left, now
            error = TooManyRequests(f"this tenant may send {most} requests a minute, and has; send the request again later")
            error.retry_after = max((1 - left) * 60 / most, 0.001)
            raise error
        self._left[caller.tenant] = left - 1, now
