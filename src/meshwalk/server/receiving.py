"""
The calls that a server has accepted: how many there may be, and how long a request may take to arrive.

gRPC holds what has come of a request until its last byte is there, and waits for that as long as the connection lives.  So each
call is read here, by a handler of a stream, and one whose request does not arrive in time is ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
from grpc_status import rpc_status

from meshwalk.model.problems import MeshwalkError, RequestError, TooManyWalks, Violation
from meshwalk.model.rate_limited_log import RateLimitedLog
from meshwalk.server.transport import descriptors_left
from meshwalk.wire import errors


_log = logging.getLogger(__name__)

_Handler = Callable[[Any, Any], Awaitable[Any]]

# Beside the walks in flight: requests that arrive, calls that are refused, replies that are read.
DEFAULT_CALLS = 8_000

# The calls of reflection, which tools make one at a time.
MAX_GENERATORS = 64

# The time that a request has to arrive whole, and the most of those that take longer than `_USUAL_SECONDS`.
ARRIVAL_SECONDS = 30.0
MAX_SLOW_ARRIVALS = 64
_USUAL_SECONDS = 1.0

_SWEEP_SECONDS = 0.25
_CANCELLATION_SECONDS = 0.1

_PROBE_SECONDS = 1.0
_NO_DESCRIPTORS = (
    "this process has no file descriptor left, so neither callers nor models can be connected to; raise its limit of open "
    "files (`ulimit -n`, LimitNOFILE)"
)


class Receiving:
    """
    The calls of one server process.

    Args:
        limit: The most calls at a time; a further one is refused before its request is read.
        arrival_seconds: The time that a request has to arrive whole.
        max_slow: The most requests that take longer than a second to arrive; past these the oldest are ended.
    """

    def __init__(
        self, limit: int = DEFAULT_CALLS, *, arrival_seconds: float = ARRIVAL_SECONDS, max_slow: int = MAX_SLOW_ARRIVALS
    ) -> None:
        self.limit = limit
        self._max_slow = max_slow
        self._arrival_seconds = arrival_seconds
        self._calls = self._generators = 0
        # The contexts of requests that have not arrived, oldest first, with the times at which they began.
        self._arriving: dict[Any, float] = {}
        self._aborts: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._swept_at = self._probe_at = self._loop.time()
        self._late = RateLimitedLog(_log)
        self._no_descriptors = RateLimitedLog(_log)

    def __repr__(self) -> str:
        return f"<Receiving: {self._calls} calls, {len(self._arriving)} of them arriving>"

    def start(self) -> None:
        """
        Begin to look for requests that do not arrive.
        """
        self._sweep()

    def stop(self) -> None:
        """
        Look no more.
        """
        if self._sweeping is not None:
            self._sweeping.cancel()

    def unary(self, handle: _Handler, *, bounded: bool = True) -> _Handler:
        """
        Return a handler of a stream of requests that calls *handle* with the first.

        Args:
            bounded: Refuse the call if there are too many.
        """

        async def received(requests: object, context: Any) -> Any:
            del requests  # the context reads them
            if bounded and self._calls >= self.limit:
                await self._refuse(context)
            self._calls += 1
            try:
                self._arriving[context] = self._loop.time()
                try:
                    request = await context.read()
                finally:
                    self._arriving.pop(context, None)
                if request is grpc.aio.EOF:
                    # A caller that cancelled looks like this, too, and its cancellation comes next.
                    await asyncio.sleep(_CANCELLATION_SECONDS)
                    await _abort(context, RequestError([Violation("request", "is missing; send one message")]))
                return await handle(request, context)
            finally:
                self._calls -= 1

        return received

    def stream(self, handle: _Handler) -> _Handler:
        """
        Return a handler of a stream of requests that calls *handle*, if there are not too many calls.
        """

        async def received(requests: object, context: Any) -> Any:
            if self._calls >= self.limit:
                await self._refuse(context)
            self._calls += 1
            try:
                return await handle(requests, context)
            finally:
                self._calls -= 1

        return received

    def generator(self, handle: Callable[[Any, Any], AsyncIterator[Any]]) -> Callable[[Any, Any], AsyncIterator[Any]]:
        """
        Return a generator over the replies of *handle*, if there are not too many calls of generators.
        """

        async def received(requests: object, context: Any) -> AsyncIterator[Any]:
            if self._generators >= MAX_GENERATORS:
                await self._refuse(context)
            self._generators += 1
            try:
                async for reply in handle(requests, context):
                    yield reply
            finally:
                self._generators -= 1

        return received

    async def _refuse(self, context: Any) -> None:
        why = f"this server has {self._calls} calls in flight, as many as it may; send the request again a little later"
        await _abort(context, TooManyWalks(why))

    # ---- requests that do not arrive ------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        now = self._loop.time()
        # After the event loop was held up, requests that are there may not have been read yet.
        if now - self._swept_at < 2 * _SWEEP_SECONDS:
            self._end_late(now)
        self._swept_at = now
        if now >= self._probe_at:
            self._probe_at = now + _PROBE_SECONDS
            if not descriptors_left():
                self._no_descriptors.warning(_NO_DESCRIPTORS)
        self._sweeping = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _end_late(self, now: float) -> None:
        slow = [context for context, began in self._arriving.items() if now - began > _USUAL_SECONDS]
        if not slow:
            return
        most = len(slow) - self._max_slow
        late = [
            context
            for position, context in enumerate(slow)
            if position < most or now - self._arriving[context] > self._arrival_seconds
        ]
        for context in late:
            del self._arriving[context]
            task = asyncio.create_task(self._end(context))
            self._aborts.add(task)
            task.add_done_callback(self._aborts.discard)
        if late:
            self._late.warning(f"{len(late)} calls are ended: their requests did not arrive whole in time")

    async def _end(self, context: Any) -> None:
        why = "did not arrive whole in time; send it again over a faster connection, or a smaller one"
        # The core has no calls of a server that stops meanwhile.
        with suppress(Exception):
            await _abort(context, RequestError([Violation("request", why)]))


async def _abort(context: Any, error: MeshwalkError) -> None:
    status = rpc_status.to_status(errors.pack_error(error))
    await context.abort(status.code, status.details, status.trailing_metadata)
