"""
Health as gRPC knows it, with watchers that do not hold up a stop.

The library's `Watch` runs until its caller goes away, and a graceful stop waits for every call: one watcher would make it last
the whole grace period.  Here a watcher is told NOT_SERVING and its call ends.  The library lacks `List`, which is added here.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio

from meshwalk.server.calls import Context


class Health(aio.HealthServicer):  # type: ignore[misc]  # the library ships no types
    """
    The health of the whole server and of each service.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopping = False
        self._services: tuple[str, ...] = ("",)

    async def start(self, services: tuple[str, ...]) -> None:
        """
        Report the server and each of *services* as serving.
        """
        self._services = ("", *services)
        for service in self._services:
            await self.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """
        Report everything as not serving, and end the calls of watchers.
        """
        self.stopping = True
        await self.enter_graceful_shutdown()

    async def List(self, request: health_pb2.HealthListRequest, context: Context) -> health_pb2.HealthListResponse:  # noqa: N802
        """
        Return the health of every service; the empty name is the whole server.
        """
        del request, context
        response = health_pb2.HealthCheckResponse
        status = response(status=response.NOT_SERVING if self.stopping else response.SERVING)

        return health_pb2.HealthListResponse(statuses=dict.fromkeys(self._services, status))

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802
        """
        Report each change until the caller, or the server, stops.
        """
        with suppress(_LastChange):
            await super().Watch(request, _Watcher(context, self))


class _LastChange(Exception):
    """
    The end of a watch: its last change is written.
    """


class _Watcher:
    """
    A call's context that raises `_LastChange` once the server's stop is written to it.
    """

    def __init__(self, context: Context, health: Health) -> None:
        self._context = context
        self._health = health

    async def write(self, change: Any) -> None:
        await self._context.write(change)
        # A stop may begin while an earlier change is on its way; that change is not the last.
        if self._health.stopping and change.status != health_pb2.HealthCheckResponse.SERVING:
            raise _LastChange
