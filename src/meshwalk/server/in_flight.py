"""
The walks in flight at a server: counted, and bounded before anything is spent.

A walk counts from its admission until its reply is made, and a stream's until its last event is written.  The walk of a request
with an idempotency key goes on when its caller goes away, and counts until its end.  Past a limit a request is refused at once,
so that those who were admitted keep the time and the memory that they need.  A tenant may have a limit of its own below the
server's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from meshwalk.model.problems import TooManyWalks
from meshwalk.model.rate_limited_log import RateLimitedLog


_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

# A walk takes some 20 KB besides its own texts, so these take 40 MB.  Two streams of `RouteMany` at their most fit in.
DEFAULT_WALKS_IN_FLIGHT = 2_000


class InFlightCounts(NamedTuple):
    """
    The walks in flight, and the counts since the start of those that were admitted, and refused by either limit.
    """

    in_flight: int
    admitted: int
    refused_by_server: int
    refused_by_tenant: int


class WalksInFlight:
    """
    The walks in flight at one server process, at most *limit* at a time.
    """

    def __init__(self, limit: int = DEFAULT_WALKS_IN_FLIGHT, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._count = self._admitted = self._refused = self._refused_by_tenant = 0
        # Only tenants with a limit of their own, and walks in flight, stand here.
        self._by_tenant: dict[str, int] = {}
        self._refusals = RateLimitedLog(_log, clock=clock)
        # The tasks of walks that end with their callers.
        self.tasks: set[asyncio.Task[object]] = set()
        # Set by the last walk to end; there while somebody waits for that.
        self._idle: asyncio.Event | None = None
        self.cutting = False

    def __repr__(self) -> str:
        return f"<WalksInFlight: {self._count} of {self.limit}>"

    @property
    def counts(self) -> InFlightCounts:
        """
        Return how many walks are in flight, and how many were admitted and refused.
        """
        return InFlightCounts(self._count, self._admitted, self._refused, self._refused_by_tenant)

    def enter(self, tenant: str = "", tenant_limit: int | None = None) -> None:
        """
        Count a walk more, which `leave` is to be called for with the same tenant.

        Args:
            tenant: The name that *tenant_limit* counts by; empty counts for the server alone.

        Raises:
            TooManyWalks: If there are as many as may be; nothing is counted then.
        """
        if self._count >= self.limit:
            self._refused += 1
            self._refuse(f"this server has {self._count} walks in flight, as many as it may")
        if tenant and tenant_limit is not None:
            of_tenant = self._by_tenant.get(tenant, 0)
            if of_tenant >= tenant_limit:
                self._refused_by_tenant += 1
                self._refuse(f"this tenant has {of_tenant} walks in flight, as many as it may")
            self._by_tenant[tenant] = of_tenant + 1
        self._count += 1
        self._admitted += 1

    def leave(self, tenant: str = "") -> None:
        """
        Count a walk less.
        """
        self._count -= 1
        if self._idle is not None and not self._count:
            self._idle.set()
        of_tenant = self._by_tenant.get(tenant)
        if of_tenant is not None:
            if of_tenant > 1:
                self._by_tenant[tenant] = of_tenant - 1
            else:
                del self._by_tenant[tenant]

    async def all_ended(self) -> None:
        """
        Wait until no walk is in flight.
        """
        if self._count:
            self._idle = asyncio.Event()
            await self._idle.wait()

    def cut(self) -> None:
        """
        Cancel the walks that end with their callers, who are told so.
        """
        self.cutting = True
        for task in self.tasks:
            task.cancel()

    async def run_to_the_end(self, walk: Awaitable[_Result], tenant: str = "") -> _Result:
        """
        Await *walk*, which was counted by `enter`, and count it less when it ends, even if the caller goes away before.
        """
        task = asyncio.ensure_future(walk)
        task.add_done_callback(lambda ended: self._ended(ended, tenant))

        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Future[_Result], tenant: str) -> None:
        self.leave(tenant)
        # Nobody else may be there to look at its error, and asyncio would log that.
        if not task.cancelled():
            task.exception()

    def _refuse(self, reason: str) -> None:
        self._refusals.warning(f"requests are refused: {reason}")

        raise TooManyWalks(f"{reason}; send the request again a little later")
